from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.retention import USUAL, Line, Retention, old

DAY = 86400.0
NOW = 1000 * DAY


def runs(*ages: float) -> list[Line]:
    """Runs that ended so many days ago, the newest first."""
    return [Line(len(ages) - at, NOW - age * DAY) for at, age in enumerate(ages)]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Retention(keep=2), [3, 2, 1]),
        (Retention(keep=9), []),
        (Retention(older_than=20 * DAY), [2, 1]),
        (Retention(keep=4, older_than=20 * DAY), [1]),
        (Retention(older_than=0), [4, 3, 2, 1]),
        (USUAL, []),
    ],
    ids=str,
)
def test_a_run_stays_where_any_part_of_the_rule_says_so(rule: Retention, wanted: list[int]) -> None:
    assert old(runs(1, 5, 10, 30, 60), rule, (), NOW) == wanted


def test_usually_fifty_runs_stay_and_those_of_thirty_days() -> None:
    many = runs(*range(100))
    assert old(many, USUAL, (), NOW) == list(range(50, 0, -1))
    assert old(runs(*(day / 10 for day in range(100))), USUAL, (), NOW) == []


@given(
    st.lists(st.floats(0, 90), max_size=60).map(sorted),
    st.builds(
        Retention,
        keep=st.none() | st.integers(1, 70),
        older_than=st.none() | st.floats(0, 100 * DAY),
    ),
    st.sets(st.integers(1, 60)),
)
def test_neither_the_newest_run_nor_one_that_is_needed_ever_goes(
    ages: list[float], rule: Retention, needed: set[int]
) -> None:
    gone = old(runs(*ages), rule, needed, NOW)
    assert needed.isdisjoint(gone)
    assert len(ages) not in gone
    assert len(ages) - len(gone) >= min(rule.keep or 1, len(ages))
