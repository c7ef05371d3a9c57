from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.cli.text import clean, coloured, cut, fill, lines_of, width, wrap
from wcwidth import wcwidth  # comes with pyte, and knows what terminals do

CLEAN = {
    "plain": ("tests/test_api.py:41  test_refund", "tests/test_api.py:41  test_refund"),
    "colours": ("\x1b[1;31mE   assert\x1b[0m 1", "E   assert 1"),
    "clear the screen": ("a\x1b[2J\x1b[Hb", "ab"),
    "title, ended by BEL": ("a\x1b]0;title\x07b", "ab"),
    "clipboard, ended by ST": ("a\x1b]52;c;eA==\x1b\\b", "ab"),
    "link": ("\x1b]8;;https://evil.example\x1b\\text\x1b]8;;\x1b\\", "text"),
    "a title that never ends": ("a\x1b]0;title", "a"),
    "device control": ("a\x1bPq#0\x1b\\b", "ab"),
    "one byte for two": ("a\x9b2Jb", "ab"),
    "reset": ("a\x1bcb", "ab"),
    "alone": ("a\x1b", "a\\x1b"),
    "bell and backspace": ("a\x07\x08b", "a\\x07\\x08b"),
    "line ends": ("a\nb\rc", "a\\x0ab\\x0dc"),
    "tab": ("a\tb", "a   b"),
    "turned around": ("user\u202etxt.exe", "user\\u202etxt.exe"),
    "no Unicode": ("a\udcffb", "a\\udcffb"),
    "other scripts": ("日本語 é ñ Ω 👩‍👧 ✌️", "日本語 é ñ Ω 👩‍👧 ✌️"),
    "line separator": ("a\u2028b", "a\\u2028b"),
}


@pytest.mark.parametrize(("text", "shown"), CLEAN.values(), ids=CLEAN)
def test_what_a_terminal_would_act_on_is_left_out_or_spelled(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(st.characters(codec=None) | st.sampled_from("\x1b[]0;?hlmJ\x07\x9b\\ \t\r\n")))
def test_nothing_clean_acts_on_a_terminal_and_it_stays_as_it_is(text: str) -> None:
    shown = clean(text)

    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200f")
    assert clean(shown) == shown


def test_of_a_line_that_was_written_over_the_last_is_shown() -> None:
    assert (
        lines_of("a\r\nb 10%\rb 100%\n\nc\r")
        == [
            "a",
            "b 100%",
            "",
            "c",
        ][:4]
    )


def test_a_steps_own_output_keeps_its_colours_and_nothing_else() -> None:
    assert coloured("\x1b[31mred\x1b[0m\x1b[2J\r\nnext\x1b]0;x\x07\n") == "\x1b[31mred\x1b[0m\nnext\n"


@given(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"]))
def test_no_character_is_taken_to_be_narrower_than_terminals_show_it(character: str) -> None:
    if unicodedata.east_asian_width(character) == "N" and unicodedata.category(character) in ("So", "No"):
        return  # newer versions of Unicode make some of these wide
    assert width(character) >= wcwidth(character)


WIDTHS = {"": 0, "abc": 3, "é": 1, "e\u0301": 1, "日本": 4, "👧": 2, "✌\ufe0f": 2, "a\u200db": 2, "✓ – …": 5}


@pytest.mark.parametrize(("text", "columns"), WIDTHS.items(), ids=repr)
def test_how_many_columns_a_text_takes(text: str, columns: int) -> None:
    assert width(text) == columns


texts = st.text("ab \u65e5\U0001f467\u0301-", max_size=60).map(lambda text: " ".join(text.split()))


@given(texts, st.integers(8, 40))
def test_wrapped_text_fits_and_is_whole(text: str, columns: int) -> None:
    lines = wrap(text, columns)

    assert all(width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(texts, st.integers(0, 40))
def test_a_text_that_is_cut_fits_and_shows_that_it_was_cut(text: str, columns: int) -> None:
    short = cut(text, columns)

    assert width(short) <= columns
    assert short == text or columns == 0 or (short.endswith("…") and text.startswith(short[:-1]))


@given(texts, st.integers(60, 200))
def test_a_filled_column_is_as_wide_as_it_says(text: str, columns: int) -> None:
    assert width(fill(text, columns)) == max(columns, width(text))


def test_words_stay_whole_where_they_can() -> None:
    assert wrap("one two three four", 9) == ["one two", "three", "four"]
    assert wrap("x" * 20, 8) == ["x" * 8, "x" * 8, "x" * 4]
