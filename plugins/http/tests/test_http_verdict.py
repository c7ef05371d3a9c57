from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_http import verdict
from penstock_http.ask import Answer
from penstock_http.settings import Http
from penstock_http.verdict import Tally

ANSWERS = st.builds(
    Answer,
    seconds=st.sampled_from([0.1, 0.9]),
    status=st.sampled_from([200, 500]),
    body=st.sampled_from(["up", "down"]),
    problem=st.sampled_from([None, None, "refused"]),
)


def tally(allowed: float, planned: int | None) -> Tally:
    settings = Http(url="http://x", body="up", max_latency=0.5, allowed_failures=allowed)
    return Tally(verdict.questions(settings, str), allowed, planned)


@given(st.lists(ANSWERS, min_size=1, max_size=30), st.sampled_from([0, 0.1, 0.5, 0.9]))
def test_giving_up_early_never_changes_the_outcome(answers: list[Answer], allowed: float) -> None:
    whole, cut = tally(allowed, len(answers)), tally(allowed, len(answers))
    for answer in answers:
        whole.add(answer)
        if not cut.hopeless:
            cut.add(answer)
    assert all(c.passed for c in cut.checks()) == all(c.passed for c in whole.checks())


@given(st.lists(ANSWERS, min_size=1, max_size=30))
def test_without_allowed_failures_all_pass_only_if_every_answer_is_good(answers: list[Answer]) -> None:
    found = tally(0, len(answers))
    problems = [found.add(answer) for answer in answers]
    assert all(check.passed for check in found.checks()) == (problems == [None] * len(problems))


def test_nothing_asked_passes_nothing() -> None:
    assert not any(check.passed for check in tally(0.5, 3).checks())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 ms"), (0.0144, "14 ms"), (1, "1 s"), (1.26, "1.3 s"), (90, "90 s")]
)
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    assert verdict.took(seconds) == text


@given(st.text())
def test_snippets_are_one_short_printable_line(text: str) -> None:
    shown = verdict.snippet(text, str)
    assert len(shown) <= 121
    assert shown.isprintable()
