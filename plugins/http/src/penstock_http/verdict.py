"""Answers → checks. Pure: what is asked of each answer, and what is said about all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from penstock import Check

from penstock_http.ask import Answer
from penstock_http.settings import Http

_SNIPPET = 120  # characters of what a server sent
_PROBLEM = 240
_GIVE_UP = 5  # bad answers in a row, once it can't pass any more

Mask = Callable[[str], str]
Judge = Callable[[Answer], str | None]


@dataclass
class Question:
    """One thing that is asked of every answer, and how they did so far."""

    name: str
    judge: Judge
    """What is wrong with an answer; None: nothing."""
    good: int = 0
    first_problem: str = ""


@dataclass
class Tally:
    """All questions over all answers."""

    questions: list[Question]
    allowed: float
    planned: int | None
    """How many answers there will be; None: nobody knows."""
    asked: int = 0
    bad: int = 0
    bad_in_a_row: int = 0
    slowest: float = 0.0
    total: float = 0.0

    def add(self, answer: Answer) -> str | None:
        """Count an answer; what is wrong with it, if anything is."""
        self.asked += 1
        self.slowest = max(self.slowest, answer.seconds)
        self.total += answer.seconds
        found = None
        for question in self.questions:
            problem = question.judge(answer)
            if problem is None:
                question.good += 1
            elif not question.first_problem:
                question.first_problem = f"request {self.asked}: {problem}"
            found = found or problem
        self.bad += found is not None
        self.bad_in_a_row = 0 if found is None else self.bad_in_a_row + 1
        return found

    @property
    def hopeless(self) -> bool:
        """Whether asking on can't change the outcome, and the service does not come back either."""
        if self.bad_in_a_row < _GIVE_UP or (self.allowed and self.planned is None):
            return False
        # By question, as the checks judge: answers may be bad in different respects.
        worst = self.asked - min(question.good for question in self.questions)
        return worst > self.allowed * (self.planned or 0)

    def checks(self) -> tuple[Check, ...]:
        """One check a question."""
        return tuple(self._check(question) for question in self.questions)

    def _check(self, question: Question) -> Check:
        failed = self.asked - question.good
        parts = [f"{question.good} of {self.asked}"]
        if self.planned is not None and self.asked < self.planned:
            parts[0] += f", {self.planned - self.asked} more not asked"
        if question.first_problem:
            parts.append(question.first_problem)
        return Check(
            name=question.name,
            passed=self.asked > 0 and failed / self.asked <= self.allowed,
            detail="; ".join(parts),
            seconds=self.total,
        )


def questions(settings: Http, mask: Mask) -> list[Question]:
    """What the settings ask of every answer."""
    statuses = " or ".join(str(status) for status in settings.statuses)
    found = [Question(f"HTTP {statuses}", lambda answer: _wrong_status(answer, settings, mask))]
    if settings.body is not None:
        pattern = re.compile(settings.body)
        found.append(Question("body", lambda answer: _wrong_body(answer, pattern, mask)))
    if settings.max_latency is not None:
        limit = settings.max_latency
        found.append(Question(f"within {took(limit)}", lambda answer: _too_late(answer, limit)))
    return found


def problem(asked: list[Question], answer: Answer) -> str | None:
    """What is wrong with one answer; None: nothing."""
    return next((found for question in asked if (found := question.judge(answer)) is not None), None)


def never_good(question: str, wait: float, tries: int, last: str) -> Check:
    """The check of a service that did not answer well while it was waited for."""
    counted = "1 try" if tries == 1 else f"{tries} tries"
    detail = f"no good answer within {took(wait)}, {counted}; the last: {last}"
    return Check(name=question, passed=False, detail=detail)


def took(seconds: float) -> str:
    """A time as people read it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s".replace(".0 s", " s")


def _wrong_status(answer: Answer, settings: Http, mask: Mask) -> str | None:
    if answer.problem is not None:
        return f"{snippet(answer.problem, mask, _PROBLEM)}, after {took(answer.seconds)}"
    if answer.status in settings.statuses:
        return None
    to = f" to {snippet(answer.location, mask)}" if answer.location else ""
    hint = " (follow_redirects = true follows it)" if to and not settings.follow_redirects else ""
    said = f"; body: {snippet(answer.body, mask)}" if answer.body.strip() else ""
    return f"{answer.status}{to}{hint} after {took(answer.seconds)}{said}"


def _wrong_body(answer: Answer, pattern: re.Pattern[str], mask: Mask) -> str | None:
    if answer.problem is not None:
        return "there is no body"
    if pattern.search(answer.body):
        return None
    return f'"{pattern.pattern}" is not in it: {snippet(answer.body, mask) or "it is empty"}'


def _too_late(answer: Answer, limit: float) -> str | None:
    if answer.problem is not None:
        return "there is no answer"
    return None if answer.seconds <= limit else f"it took {took(answer.seconds)}"


def snippet(text: str, mask: Mask, limit: int = _SNIPPET) -> str:
    """The beginning of what a server sent, in one line that is safe to print and to keep."""
    # Masked before it is cut: half a secret is one that no mask finds.
    line = " ".join(mask(text).split())
    clean = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
    return clean if len(clean) <= limit else clean[:limit] + "…"
