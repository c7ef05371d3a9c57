from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.globs import chosen

NAMES = ["a.py", "src/a.py", "src/b/c.py", "src/.h", "docs/x", "srcx/y", "we[i]rd", "src/b/d\ne.txt", "x-y"]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["src/**"], ["src/a.py", "src/b/c.py", "src/.h", "src/b/d\ne.txt"]),
        (["src"], ["src/a.py", "src/b/c.py", "src/.h", "src/b/d\ne.txt"]),
        (["./src/"], ["src/a.py", "src/b/c.py", "src/.h", "src/b/d\ne.txt"]),
        (["*"], ["a.py", "we[i]rd", "x-y"]),
        (["**/*.py"], ["a.py", "src/a.py", "src/b/c.py"]),
        (["src/**/c.py"], ["src/b/c.py"]),
        (["src/*/c.py"], ["src/b/c.py"]),
        (["**/b/**"], ["src/b/c.py", "src/b/d\ne.txt"]),
        (["**", "!src", "!*.py"], ["docs/x", "srcx/y", "we[i]rd", "x-y"]),
        (["[!s]*.py"], ["a.py"]),
        (["we[[]i]rd"], ["we[i]rd"]),
        (["x[-]y"], ["x-y"]),
        (["src?a.py", "?.py"], ["a.py"]),
        (["*/b"], ["src/b/c.py", "src/b/d\ne.txt"]),
        (["*/b/"], ["src/b/c.py", "src/b/d\ne.txt"]),
        ([".", "!src"], ["a.py", "docs/x", "srcx/y", "we[i]rd", "x-y"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0] not in NAMES else "",
)
def test_names_count_as_a_reader_expects(patterns: list[str], names: list[str]) -> None:
    assert chosen(NAMES, patterns)[0] == names


def test_a_pattern_that_matches_nothing_is_named() -> None:
    assert chosen(NAMES, ["src/**", "srcc/**", "we[i]rd", "!nothing"])[1] == ["srcc/**", "we[i]rd"]


NAME = st.text(st.sampled_from("ab*?[]!-/.\\^$&~|\udc80"), min_size=1, max_size=8)


@given(NAME, st.lists(NAME, max_size=4))
def test_no_pattern_fails_and_a_star_stops_at_a_slash(pattern: str, names: list[str]) -> None:
    found, idle = chosen(names, [pattern])

    assert set(found) <= set(names)
    assert not (pattern.startswith("!") and (found or idle))


@given(st.lists(st.text(st.characters(exclude_characters="/"), min_size=1), min_size=1, max_size=4))
def test_two_stars_match_every_name_and_a_plain_name_itself(parts: list[str]) -> None:
    name = "/".join(parts)

    assert chosen([name], ["**"])[0] == [name]
    if not re.search(r"[*?\[]", name) and not name.startswith("!") and not {".", ""} & set(parts):
        assert chosen([name], [name])[0] == [name]
