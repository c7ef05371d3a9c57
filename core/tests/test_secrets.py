from __future__ import annotations

import base64
import itertools
import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from penstock.errors import ConfigError
from penstock.secrets import MASK, Masker, forms, masked, plain, resolve

PEM = "-----BEGIN KEY-----\n" + "\n".join("kLm9+/Qz" * 8 for _ in range(4)) + "\n-----END KEY-----\n"
SECRETS = ["s3cr3t-tok€n", "a/b c+d=e?f&g", 'quo"te\\and\ttab', PEM, "ünïcödé", "p4ss"]
secrets = st.one_of(
    st.sampled_from(SECRETS),
    st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4, max_size=20),
    st.text("ab", min_size=4, max_size=7),
)


def nobody(_: str) -> str | None:
    return None


def in_pieces(masker: Masker, pieces: list[bytes]) -> bytes:
    return b"".join([*(masker.feed(piece) for piece in pieces), masker.close()])


def whole(values: list[str], text: bytes) -> bytes:
    return in_pieces(Masker(values), [text])


# --- a stream ---


@given(values=st.lists(secrets, min_size=1, max_size=3), data=st.data())
@settings(deadline=None, max_examples=200)
def test_a_secret_never_shows_however_the_stream_is_cut(values: list[str], data: st.DataObject) -> None:
    parts = st.sampled_from(
        [*(value.encode() for value in values), *(form for v in values for form in forms(v))]
    )
    text = b"".join(data.draw(st.lists(st.one_of(parts, st.binary(max_size=4), st.just(b"ab")), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))

    shown = in_pieces(Masker(values), [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])])

    assert shown == whole(values, text), "the same as if it had come at once"
    for value in values:
        if len(value.encode()) >= 4 and value.encode() not in MASK * 3:
            assert value.encode() not in shown


@pytest.mark.parametrize("secret", SECRETS, ids=repr)
def test_a_secret_that_is_cut_at_any_place_is_masked(secret: str) -> None:
    raw = secret.encode()
    text = b"before " + raw + b" after"
    for cut in range(len(text) + 1):
        assert in_pieces(Masker([secret]), [text[:cut], text[cut:]]) == b"before *** after"
    assert in_pieces(Masker([secret]), [text[at : at + 1] for at in range(len(text))]) == b"before *** after"


@given(text=st.binary(max_size=200), cut=st.integers(0, 200))
@settings(max_examples=100)
def test_a_text_without_secrets_is_unchanged(text: bytes, cut: int) -> None:
    values = ["s3cr3t-that-nobody-guesses", "an0ther-such-secret\nof two lines"]

    assert in_pieces(Masker(values), [text[:cut], text[cut:]]) == text


@given(
    values=st.lists(st.text("ab", min_size=4, max_size=6), min_size=1, max_size=3),
    text=st.text("abc", max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_each_byte_of_a_secret_is_masked_and_no_other(values: list[str], text: str) -> None:
    raw = text.encode()
    covered = bytearray(len(raw))
    for form in {form for value in values for form in forms(value)}:
        for match in re.finditer(b"(?=" + re.escape(form) + b")", raw):
            covered[match.start() : match.start() + len(form)] = b"\1" * len(form)
    wanted = b""
    for is_secret, run in itertools.groupby(range(len(raw)), key=lambda at: covered[at]):
        wanted += MASK if is_secret else bytes(raw[at] for at in run)

    assert whole(values, raw) == wanted


# --- forms ---


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:"], ids=repr)
@pytest.mark.parametrize("after", [b"", b"!", b"!!", b"\n"], ids=repr)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
@pytest.mark.parametrize("secret", ["p4ss", "p4ssw", "p4sswo", "s3cr3t-token" * 9], ids=len)
def test_base64_of_a_text_with_a_secret_shows_none_of_it(
    before: bytes, after: bytes, encode, secret: str
) -> None:  # type: ignore[no-untyped-def]  # three signatures
    text = encode(before + secret.encode() + after)

    shown = whole([secret], text)

    assert MASK in shown
    inside = encode(b"\0" * len(before) + secret.encode()).replace(b"\n", b"")[len(before) * 4 // 3 + 2 : -4]
    assert not inside or inside not in shown.replace(b"\n", b"")
    assert len(shown.replace(MASK, b"").strip(b"=\n")) <= 2 + (len(before) + len(after)) * 4 // 3 + 2


@pytest.mark.parametrize("width", [20, 64, 76])
@pytest.mark.parametrize("before", range(0, 30, 7))
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=repr)
def test_base64_that_is_broken_into_lines_is_masked(width: int, before: int, ending: bytes) -> None:
    secret = "a-long-t0ken-" * 12
    text = base64.b64encode(b"x" * before + secret.encode())
    lines = ending.join(text[at : at + width] for at in range(0, len(text), width))

    for cut in range(0, len(lines), 5):
        shown = in_pieces(Masker([secret]), [lines[:cut], lines[cut:]])
        assert len(shown) <= before * 4 // 3 + 3 + len(ending) * 2 + len(MASK) + 4, shown


@pytest.mark.parametrize(
    "shown",
    [
        quote("a/b c+d=e?f&g", safe=""),
        quote_plus("a/b c+d=e?f&g"),
        quote("a/b c+d=e?f&g"),
        "a%2fb%20c%2bd%3de%3ff%26g",
    ],
)
def test_url_encoded_secrets_are_masked(shown: str) -> None:
    assert Masker(["a/b c+d=e?f&g"]).text(f"GET /?token={shown} HTTP") == "GET /?token=*** HTTP"


def test_secrets_in_json_are_masked() -> None:
    secret = 'pa"ss\\wörd'

    assert Masker([secret]).text(json.dumps({"token": secret})) == '{"token": "***"}'
    assert Masker([secret]).text(json.dumps({"token": secret}, ensure_ascii=False)) == '{"token": "***"}'


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n    ", " | "])
def test_each_line_of_a_secret_is_masked_however_they_are_joined(ending: str) -> None:
    shown = Masker([PEM]).text(ending.join(PEM.splitlines()))

    assert not any(line in shown for line in PEM.splitlines())


def test_a_secret_that_begins_another_does_not_show_the_other_s_end() -> None:
    values = ["password", "password-of-production", "production-database"]

    for cut in range(30):
        text = b"it is password-of-production-database."
        assert in_pieces(Masker(values), [text[:cut], text[cut:]]) == b"it is ***."


@pytest.mark.parametrize("value", ["", "a", "abc", "\n\n", "a\nb"])
def test_what_is_too_short_is_not_masked(value: str) -> None:
    assert Masker([value]).text("abc a b") == "abc a b"


def test_a_secret_that_is_not_utf8_is_masked() -> None:
    value = b"caf\xe9-s3cr3t".decode(errors="surrogateescape")

    assert whole([value], b"it is caf\xe9-s3cr3t!") == b"it is ***!"


@given(text=st.text(st.characters(), max_size=20))
def test_any_text_can_be_masked(text: str) -> None:
    assume("s3cr3t" not in text)

    assert Masker(["s3cr3t"]).text(text) == text
    plain(text).encode()


def test_one_masker_serves_many_streams() -> None:
    masker = Masker(["s3cr3t"])
    first, second = masker.again(), masker.again()

    assert first.feed(b"s3c") == b""
    assert second.feed(b"r3t") == b"r3t"
    assert first.feed(b"r3t ") == b"*** "
    assert masker.text("s3cr3t") == "***"


def test_a_mask_goes_through_json_and_leaves_digests_alone() -> None:
    digest = "sha256:" + "abcd" + "0123" * 15
    value = {"a": ["xabcdx", {"b": digest}], "n": 5, "none": None, "commit": "0abcd" + "e" * 35}

    assert masked(value, Masker(["abcd"]).text) == {
        "a": ["x***x", {"b": digest}],
        "n": 5,
        "none": None,
        "commit": "0abcd" + "e" * 35,
    }


@pytest.mark.parametrize("before", ["", "sha256:", "0123456789abcdef01234567"])
def test_a_secret_that_looks_like_a_digest_is_masked_all_the_same(before: str) -> None:
    secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567"

    assert masked({"name": before + secret}, Masker([secret]).text) == {"name": f"{before}***"}


def test_names_in_a_record_are_masked_where_they_are_none_of_ours() -> None:
    value = {"name": "passed", "to-ken": {"name": 1}, "outcome": "name, passed"}

    assert masked(value, Masker(["name", "passed", "to-ken"]).text) == {
        "name": "passed",
        "***": {"name": 1},
        "outcome": "***, ***",
    }


def test_much_output_is_masked_quickly() -> None:
    masker = Masker([PEM, "s3cr3t"])
    line = b"the quick brown fox jumps over the lazy dog, and is s3cr3t\n" * 1000

    shown = in_pieces(masker, [line] * 20)

    assert shown.count(MASK) == 20_000


# --- references ---


def test_env_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t")

    assert resolve("env:TOKEN", nobody) == "s3cr3t"


def test_file_is_a_file_without_its_last_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("two\nlines\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert resolve(f"file:{tmp_path}/secret", nobody) == "two\nlines"
    assert resolve("file:~/secret", nobody) == "two\nlines"


def test_the_rest_is_for_plugins() -> None:
    assert resolve("vault:kv/token#key", {"vault:kv/token#key": "s3cr3t"}.get) == "s3cr3t"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:NEVER_SET", 'the secret "env:NEVER_SET" is not there: the variable NEVER_SET is not set'),
        ("file:/never/there", 'the secret "file:/never/there" can\'t be read: No such file'),
        ("file:/proc", 'the secret "file:/proc" can\'t be read: Is a directory'),
        ("file:~nobody-of-that-name/x", 'the secret "file:~nobody-of-that-name/x" can\'t be read: Could not'),
        ("file:a\0b", 'the secret "file:a\0b" can\'t be read: embedded null byte'),
        (
            "vault:x",
            'the secret "vault:x" is not there: no enabled plugin knows "vault:". References are such as',
        ),
        ("plain", 'the secret "plain" is not there: no enabled plugin knows "plain:".'),
    ],
    ids=lambda value: value[:12],
)
def test_a_reference_that_names_nothing_says_what_was_looked_for(
    reference: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEVER_SET", raising=False)

    with pytest.raises(ConfigError, match=re.escape(says)):
        resolve(reference, nobody)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"is no UTF-8 text\. Keep it in base64, say"):
        resolve(f"file:{tmp_path}/secret", nobody)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        ("abc", "is shorter than 4 bytes, and could not be kept out of logs"),
    ],
)
def test_a_secret_that_could_not_be_masked_is_refused(value: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{value}\n")

    for reference in (f"file:{tmp_path}/secret", "vault:x"):
        with pytest.raises(ConfigError) as caught:
            resolve(reference, lambda _: value)
        assert str(caught.value) == f'the secret "{reference}" {says}. Set it to another'
    assert resolve("vault:x", lambda _: "né!") == "né!"  # four bytes


def test_a_secret_that_no_variable_can_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("to\0ken")

    with pytest.raises(ConfigError) as caught:
        resolve(f"file:{tmp_path}/secret", nobody)

    assert str(caught.value) == (
        f'the secret "file:{tmp_path}/secret" holds a NUL character, which no environment variable can. '
        "Keep it in base64, say"
    )
