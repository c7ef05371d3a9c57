"""An image's history, as builders write it down, and as Trivy can read it: no program is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_trivy.history import one_line, readable

NOP = "/bin/sh -c #(nop)"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", ""),
        ("RUN /bin/sh -c apt-get update # buildkit", "RUN /bin/sh -c apt-get update # buildkit"),
        ("RUN /bin/sh -c a\n# b\nc <<E\n # buildkit", "RUN /bin/sh -c a; c < <E # buildkit"),
        ("/bin/sh -c a # trivy:ignore:DS-0017", "/bin/sh -c a # trivy_ignore:DS-0017"),
        ("COPY a b # buildkit", "COPY a b # buildkit"),
        (f"{NOP} COPY dir:0123 in /app ", f"{NOP} COPY dir:0123 in /app"),
        # By these two Trivy knows where another image ends, and takes no secrets from below.
        (f'{NOP}  CMD ["sh" "-c"]', f'{NOP} CMD ["sh" "-c"]'),
        ('CMD ["sh" "-c"]', f'{NOP} CMD ["sh" "-c"]'),
        ("USER ", ""),
        ("WORKDIR /a b", f"{NOP} WORKDIR /a b"),
        ("ENV A=hello world B=c", f'{NOP} ENV A="hello world" B="c"'),
        (f"{NOP}  ARG TOKEN", f"{NOP} ARG TOKEN"),
        ("ARG V=1 2", f'{NOP} ARG V="1 2"'),
        ("ENV", ""),
        ("EXPOSE map[22/tcp:{} 80/udp:{}]", f"{NOP} EXPOSE 22/tcp 80/udp"),
        ("EXPOSE [22/tcp]", f"{NOP} EXPOSE 22/tcp"),
        (f"{NOP}  EXPOSE 22", f"{NOP} EXPOSE 22"),
        ("EXPOSE map[]", ""),
        (f'{NOP}  HEALTHCHECK &{{["CMD-SHELL" "true"] "0s"}}', "HEALTHCHECK"),
        (f"{NOP}  LABEL a=hello world", ""),
        ("SHELL [/bin/bash -c]", ""),
        ("bazel build //x", "bazel build //x"),
    ],
)
def test_an_entry_is_made_readable(said: str, expected: str) -> None:
    entry = {"created": "now", "created_by": said, "empty_layer": True}
    assert readable(entry) == {**entry, "created_by": expected}


def test_an_entry_that_says_nothing_stays_so() -> None:
    assert readable({"comment": "Imported from -"}) == {"comment": "Imported from -", "created_by": ""}


@given(st.text())
def test_every_script_comes_to_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert "<<" not in one_line(text)
    assert readable({"created_by": text})["created_by"].count("\n") == 0
