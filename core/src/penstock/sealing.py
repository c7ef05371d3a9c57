"""The journal's head, signed at the end of a run by the plugin that signs the run's evidence.

A chain of hashes can be made anew by whoever may write the file; a signed head can't. One signature covers
all events up to it, so that a run which could not be sealed is covered by the next one that is.
"""

from __future__ import annotations

import contextlib
import time

from penstock.chain import Break, Walked, walk
from penstock.executor import Done, Executor
from penstock.journal import Events
from penstock.record import Record
from penstock.request import Request, Response, seal_request
from penstock.signals import interrupts
from penstock.state import LETS_ON, RunState

PATIENCE = 60.0
"""Seconds that the signature may take; the run itself is over by then, and stands."""
_TICKET = "the journal's seal"


def is_asked(state: RunState) -> bool:
    """Whether a run signs what it leaves: its pipeline has a sign step, which was not left out.

    One that was cancelled before it came to that does not: whoever cancels wants it to end.
    """
    signer = state.plan.signer
    if signer is not None and state.state == "cancelled" and state.steps[signer.name].state not in LETS_ON:
        return False
    selected = state.options.get("selected")
    return signer is not None and (state.given is not None or selected is None or signer.name in selected)


def is_due(state: RunState) -> bool:
    """Whether a run that is over, or waits, was to sign what it left, and the journal is not sealed yet."""
    return is_asked(state) and state.state != "running" and not state.sealed


def can_sign(state: RunState) -> bool:
    """Whether to try: where the sign step has failed, it would only say the same once more."""
    signer = state.plan.signer
    return signer is not None and state.steps[signer.name].state not in ("failed", "refused")


def seal(journal: Events, record: Record, state: RunState, executor: Executor) -> str:
    """Sign the newest event's hash and put that on record; why it could not be done, or nothing."""
    count, head, response = _signed(journal, state, executor)
    if response.outcome != "passed":
        record.write("journal.unsealed", None, {"reason": response.reason})
    else:
        [evidence] = response.data["evidence"]
        record.write("journal.sealed", None, {"events": count, "head": head.hex(), "evidence": evidence})
    record.commit()
    return "" if response.outcome == "passed" else response.reason


def _signed(journal: Events, state: RunState, executor: Executor) -> tuple[int, bytes, Response]:
    """The newest event's number and hash, and what became of the request to sign them.

    Nothing is asked for where what was added since the last seal is not as it was written.
    """
    walked = _since_the_last(journal)
    if walked.broken is not None:
        why = f"the journal was changed, at event {walked.broken.event}. More: penstock audit"
        return walked.count, walked.head, Response(outcome="error", reason=why)
    request = seal_request(state.plan, state, walked.count, walked.head.hex())
    return walked.count, walked.head, _ask(executor, request)


def _since_the_last(journal: Events) -> Walked:
    last = next(journal.find("journal.sealed"), None)
    if last is None:
        return walk(journal.rows())
    count, head = last.data.get("events"), last.data.get("head")
    if not isinstance(count, int):
        return Walked(0, b"", Break("made anew", last.id, ""), {})
    there = next(journal.rows(count), None)
    if there is None or there.id != count or not isinstance(there.hash, bytes) or there.hash.hex() != head:
        return Walked(0, b"", Break("made anew", count, ""), {})
    return walk(journal.rows(count + 1), there.hash, count)


def _ask(executor: Executor, request: Request) -> Response:
    """Have it worked on; Ctrl-C ends that, and not the run, which is over."""
    with interrupts(lambda _: executor.end(_TICKET)) as wakeup:
        executor.submit(_TICKET, request)
        deadline = time.time() + PATIENCE
        while True:
            for news in executor.wait(max(0.0, deadline - time.time()), (wakeup.fileno(),)):
                if isinstance(news, Done) and news.ticket == _TICKET:
                    return news.response
            with contextlib.suppress(BlockingIOError):
                wakeup.recv(4096)
            if time.time() >= deadline:
                executor.end(_TICKET)
                deadline += PATIENCE
