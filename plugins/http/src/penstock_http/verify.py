"""The step itself: waits for the first good answer, then asks on, and tells how it goes."""

from __future__ import annotations

import ssl
import time
from functools import cache
from pathlib import Path

from penstock import Check, Step, StepFailed, Verification

from penstock_http import verdict
from penstock_http.ask import Answer, Header, Request, ask
from penstock_http.settings import SECRET, Http, bad_header_value
from penstock_http.verdict import Question, Tally

_SHORTEST_PAUSE = 0.05  # seconds between two tries while the service is waited for
_LOGGED = 20  # bad answers; further ones are only counted


def verify(settings: Http, step: Step) -> Verification:
    """Ask, and judge what comes back."""
    request = _request(settings, step)
    questions = verdict.questions(settings, step.mask)
    step.log(f"{settings.method} {settings.url}")
    first = _first_good(settings, step, request, questions) if settings.wait else None
    if isinstance(first, Check):
        return Verification(checks=(first,))
    tally = Tally(
        questions=questions,
        allowed=settings.allowed_failures,
        planned=settings.count if settings.duration is None else None,
    )
    _ask_on(settings, step, request, tally, first)
    average, slowest = verdict.took(tally.total / tally.asked), verdict.took(tally.slowest)
    step.log(f"{tally.asked - tally.bad} of {tally.asked} good, {average} on average, {slowest} at most")
    return Verification(checks=tally.checks())


def _first_good(settings: Http, step: Step, request: Request, questions: list[Question]) -> Answer | Check:
    """The first answer that is good in every respect, or the check that says that none was."""
    end = time.monotonic() + settings.wait
    tries = 0
    while True:
        answer = ask(request)
        tries += 1
        problem = verdict.problem(questions, answer)
        if problem is None:
            step.log(f"The first good answer came at try {tries}")
            return answer
        step.progress(0, settings.count, f"waiting: {problem}")
        left = end - time.monotonic()
        if left <= 0:
            step.log(f"Not one good answer: {problem}")
            return verdict.never_good(questions[0].name, settings.wait, tries, problem)
        time.sleep(min(left, max(settings.interval, _SHORTEST_PAUSE)))


def _ask_on(settings: Http, step: Step, request: Request, tally: Tally, first: Answer | None) -> None:
    started = time.monotonic()
    answer = first
    while True:
        begun = time.monotonic()
        problem = tally.add(answer or ask(request))
        answer = None
        if problem is not None and tally.bad <= _LOGGED:
            step.log(f"Request {tally.asked}: {problem}")
        pause = max(0.0, begun + settings.interval - time.monotonic())
        elapsed = time.monotonic() - started
        _show(settings, step, tally, elapsed)
        if tally.hopeless or _is_over(settings, tally, elapsed + pause):
            return
        time.sleep(pause)


def _is_over(settings: Http, tally: Tally, elapsed: float) -> bool:
    if settings.duration is None:
        return tally.asked >= settings.count
    return elapsed >= settings.duration


def _show(settings: Http, step: Step, tally: Tally, elapsed: float) -> None:
    good = f"{tally.asked - tally.bad} of {tally.asked} good"
    if settings.duration is None:
        step.progress(tally.asked, settings.count, good)
    else:
        total = max(1, round(settings.duration))
        step.progress(min(total, int(elapsed)), total, good)


def _request(settings: Http, step: Step) -> Request:
    tls = cache(lambda: _context(settings, step))
    if settings.ca is not None:
        tls()  # a file that is not there is the section's fault, not the service's
    return Request(
        url=settings.url,
        tls=tls,
        method=settings.method,
        headers=tuple(_header(step, name, value) for name, value in settings.headers.items()),
        timeout=settings.request_timeout,
        follow_redirects=settings.follow_redirects,
    )


def _header(step: Step, name: str, value: str) -> Header:
    filled = SECRET.sub(lambda match: step.secret(match[1]), value)
    if bad_header_value(filled):
        raise StepFailed(
            f"headers: {name}: a secret in it holds a line break or a character that headers can't. "
            "Check what its reference leads to"
        )
    return Header(name, filled, secret=filled != value)


def _context(settings: Http, step: Step) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca is None:
        return context
    try:
        context.load_verify_locations(step.workspace / Path(settings.ca).expanduser())
    except ssl.SSLError:
        raise StepFailed(f"ca: {settings.ca} holds no certificate in PEM form") from None
    except OSError as error:
        raise StepFailed(f"ca: {settings.ca} can't be read: {error.strerror}") from None
    return context
