"""Whatever is done to one event of a chain is found, where it was done."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.chain import Break, New, Row, RunLine, link, walk, wrong_lines
from penstock.journal import Journal

COUNT = 1000
Rows = list[Row]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """A thousand events of ten runs, as a journal has written them."""
    journal = Journal(tmp_path_factory.mktemp("chain") / "journal.db")
    for run in range(1, 11):
        journal.begin([New("run.started", None, {"plan": "sha256:plan"}, 1.5)])
        journal.append(
            run, [New("step.finished", f"test.{n}", {"state": "passed", "n": n}, n + 0.5) for n in range(98)]
        )
        journal.append(run, [New("run.finished", None, {"state": "passed"}, 1000.0)])
    rows = list(journal.rows())
    journal.close()
    assert len(rows) == COUNT
    assert walk(rows).broken is None
    return rows


def renumbered(rows: Rows) -> Rows:
    return [row._replace(id=number) for number, row in enumerate(rows, 1)]


def chained_anew(rows: Rows, number: int) -> Rows:
    """Only the hash of one event made anew: of all behind it, it would be `made anew`, which seals show."""
    row, previous = rows[number - 1], rows[number - 2].hash if number > 1 else b""
    return [*rows[: number - 1], row._replace(hash=link(previous, *row[:-1])), *rows[number:]]


def changed(rows: Rows, number: int) -> Rows:
    field, value = [
        ("run", 99),
        ("time", 77.25),
        ("type", "step.started"),
        ("step", "test.other"),
        ("data", '{"state":"failed"}'),
        ("hash", b"\0" * 32),
        ("data", "{"),
        ("step", None),
        ("hash", "text"),
    ][number % 9]
    row = rows[number - 1]._replace(**{field: value})
    if row == rows[number - 1]:  # it was so before
        row = row._replace(time=0.25)
    return [*rows[: number - 1], row, *rows[number:]]


def changed_and_hashed(rows: Rows, number: int) -> Rows:
    row = rows[number - 1]._replace(time=77.25)
    return chained_anew([*rows[: number - 1], row, *rows[number:]], number)


def taken_out(rows: Rows, number: int) -> Rows:
    return [*rows[: number - 1], *rows[number:]]


def taken_out_and_numbered(rows: Rows, number: int) -> Rows:
    return renumbered(taken_out(rows, number))


def put_in(rows: Rows, number: int) -> Rows:
    row = Row(0, 1, 2.0, "step.finished", "test.more", "{}", b"\1" * 32)
    return renumbered([*rows[: number - 1], row, *rows[number - 1 :]])


def put_in_and_hashed(rows: Rows, number: int) -> Rows:
    return chained_anew(put_in(rows, number), number)


def swapped(rows: Rows, number: int) -> Rows:
    other = random.Random(number).randrange(number, COUNT) if number < COUNT else number - 2
    made = list(rows)
    made[number - 1], made[other] = made[other], made[number - 1]
    return renumbered(made)


def contents_swapped(rows: Rows, number: int) -> Rows:
    """Each hash stays where it was."""
    made = swapped(rows, number)
    return [row._replace(hash=was.hash) for row, was in zip(made, rows, strict=True)]


DEEDS: dict[Callable[[Rows, int], Rows], tuple[str, ...]] = {
    changed: ("changed",),
    changed_and_hashed: ("changed",),
    taken_out: ("missing",),
    taken_out_and_numbered: ("missing", "changed"),
    put_in: ("inserted",),
    put_in_and_hashed: ("inserted",),
    swapped: ("reordered",),
    contents_swapped: ("reordered",),
}


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_what_was_done_to_any_event_is_found_and_said(
    deed: Callable[[Rows, int], Rows], intact: Rows
) -> None:
    numbers = (
        range(1, COUNT + 1) if deed is changed else sorted(random.Random(5).sample(range(2, COUNT), 120))
    )
    for number in numbers:
        begin = max(0, number - 3)  # what stands before is known to hold
        rows = deed(intact, number)
        before = intact[begin - 1].hash if begin else b""

        found = walk(rows[begin:], before, begin).broken

        assert found is not None, number
        near = {number, number + 1} if deed in (changed, changed_and_hashed) else {number}
        assert found.event in near, (number, found)
        assert found.kind in DEEDS[deed], (number, found)


def at_the_end(found: Break | None) -> tuple[str, int] | None:
    return (found.kind, found.event) if found else None


def test_the_first_and_the_last_event_are_no_exception(intact: Rows) -> None:
    assert at_the_end(walk(taken_out(intact, 1)).broken) == ("missing", 1)
    assert at_the_end(walk(swapped(intact, 1)).broken) == ("reordered", 1)
    assert at_the_end(walk(put_in(intact, 1)).broken) == ("inserted", 1)
    assert at_the_end(walk(swapped(intact, COUNT)).broken) == ("reordered", COUNT - 1)
    assert at_the_end(walk(put_in(intact, COUNT)).broken) == ("inserted", COUNT)
    assert at_the_end(walk(changed(intact, COUNT)).broken) == ("changed", COUNT)


@given(st.integers(1, 900), st.integers(1, 90), st.booleans())
@settings(deadline=None, max_examples=40)
def test_several_that_are_taken_out_or_put_in_are_counted(
    intact: Rows, first: int, count: int, out: bool
) -> None:
    if out:
        rows = renumbered([*intact[: first - 1], *intact[first - 1 + count :]])
        words, kind = ("taken out", "missing")
    else:
        more = [Row(0, 1, 2.0, "note", None, f'{{"n":{n}}}', bytes([n]) * 32) for n in range(count)]
        rows = renumbered([*intact[: first - 1], *more, *intact[first - 1 :]])
        words, kind = ("put in", "inserted")

    found = walk(rows).broken

    assert found is not None
    assert (found.kind, found.event) == (kind, first)
    those = f"event {first} was" if count == 1 else f"events {first} to {first + count - 1} were"
    assert found.detail.startswith(f"{those} {words}, and those behind it numbered anew")


def test_a_list_of_runs_that_says_more_or_less_is_found(intact: Rows) -> None:
    walked = walk(intact)
    right = [line for line, _ in walked.lines.values()]
    assert wrong_lines(walked, right) == []

    [less] = wrong_lines(walked, right[1:])
    [more] = wrong_lines(walked, [*right, RunLine(11, "sha256:plan", 1.0, "passed", 2.0, None)])
    [other] = wrong_lines(walked, [right[0]._replace(state="failed"), *right[1:]])

    assert (less.kind, less.event, less.run) == ("run line", 100, 1)
    assert (more.kind, more.detail) == ("truncated", "run 11 is in the list of runs and has no event")
    assert other.detail == "the line of run 1 in the list of runs says state failed, its events say passed"


def test_rows_that_can_t_be_read_count_as_changed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.begin([New("run.started", None, {}, 1.0)])
    journal._db.execute("UPDATE events SET step = CAST(x'fffe' AS TEXT)")

    assert walk(journal.rows()).broken == Break("changed", 1, "it can't be read")
