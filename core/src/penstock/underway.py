"""The requests that workers are at: of which steps, ended and lost ones, and what comes back of them."""

from functools import partial
from typing import Any, NamedTuple

from penstock.errors import sentence
from penstock.executor import Executor
from penstock.moves import Place, place_of
from penstock.record import Record
from penstock.request import Request, Response
from penstock.scheduler import End, Operate, Stop

_LOSSES = 2
"""How often a step is begun anew whose worker was killed: one that is killed each time is itself at fault."""


_REAPING = "\0reap\0"
"""Begins the ticket of a request to remove what another one left."""


class Back(NamedTuple):
    """A request that is over."""

    step: str
    response: Response
    operation: Operate | None = None
    """Of which operation of a rollout; none: of a hook."""
    end: End | None = None
    """Why the step was ended, if it was."""

    @property
    def data(self) -> dict[str, Any]:
        """What an operation came to, for the record."""
        assert self.operation is not None
        operation, response = self.operation, self.response
        ok = response.outcome == "passed"
        data = {"op": operation.kind, "target": operation.target, "ok": ok, "detail": response.reason}
        return {**data, **({"outcome": response.outcome} if operation.kind == "judge" else response.data)}


class Underway:
    """Hands requests to workers, once they are on record, and keeps book of them by their tickets."""

    def __init__(self, executor: Executor, record: Record, *, reaps: bool = False) -> None:
        self._executor = executor
        self._record = record
        self._reaps = reaps
        self._held: dict[str, tuple[str, Response]] = {}  # ticket of a reaping → what waits for it
        self._steps: dict[str, str] = {}  # ticket → step
        self._requests: dict[str, Request] = {}
        self._operations: dict[str, Operate] = {}
        self._lost: dict[str, int] = {}  # ticket → how many workers it has lost
        self._stopped: dict[str, str] = {}  # ticket → why
        self._ended: dict[str, End] = {}  # step → why
        self.no_room = ""
        """Why nothing more can be done on this machine."""

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> set[str]:
        """Those that workers are at."""
        return set(self._steps.values())

    def submit(self, request: Request, operation: Operate | None = None) -> None:
        """Hand a request to a worker: its intent is on record before anything is touched."""
        name = operation.step if operation else request.step.name
        place = place_of(operation.kind, operation.target) if operation else None
        ticket = _ticket(name, place) if place else name
        self._steps[ticket], self._requests[ticket] = name, request
        if operation:
            self._operations[ticket] = operation
        self._executor.prepare(ticket, request)
        self._record.after_commit(partial(self._executor.submit, ticket, request))

    def end(self, action: End) -> bool:
        """End all that is done for a step; False where nothing is, so that the step is over at once."""
        if action.step in self._ended:
            return True
        tickets = [ticket for ticket, step in self._steps.items() if step == action.step]
        for ticket in tickets:
            self._ended[action.step] = action
            self._record.after_commit(partial(self._executor.end, ticket))
        return bool(tickets)

    def stop(self, action: Stop) -> None:
        """End an operation of a rollout."""
        ticket = _ticket(action.step, action.place)
        if ticket not in self._stopped:
            self._stopped[ticket] = action.reason
            self._record.after_commit(partial(self._executor.end, ticket))

    def back(self, ticket: str, response: Response) -> Back | None:
        """What a worker's response is about; None where the request is not over with it."""
        if ticket in self._held:
            ticket, response = _reaped(*self._held.pop(ticket), response)
        elif response.untidy and self._reap(ticket, response):
            return None
        request, name = self._requests.pop(ticket), self._steps[ticket]
        if self._goes_on(ticket, request, response):
            return None
        del self._steps[ticket]
        self._lost.pop(ticket, None)
        operation = self._operations.pop(ticket, None)
        if operation is None:
            return Back(name, response, end=self._ended.pop(name, None))
        why = self._stopped.pop(ticket, None)
        if why is not None and response.outcome != "passed":
            response = response.model_copy(update={"reason": why})
        return Back(name, response, operation)

    def _reap(self, ticket: str, response: Response) -> bool:
        """Have removed what a step may have left, before it is over; False where nobody could, or may yet."""
        name = self._steps[ticket]
        if not self._reaps or sum(step == name for step in self._steps.values()) > 1:
            return False
        request = self._requests[ticket].model_copy(update={"kind": "reap"})
        reaping = f"{_REAPING}{ticket}"
        self._held[reaping] = ticket, response
        self._record.after_commit(partial(self._executor.submit, reaping, request))
        return True

    def _goes_on(self, ticket: str, request: Request, response: Response) -> bool:
        """Whether the step is not over with this, since nothing can be said of it: no fault of its own."""
        name = self._steps[ticket]
        if not response.cause or name in self._ended or ticket in self._stopped:
            return False
        if response.cause == "machine":  # left as if cut off here, for whoever resumes the run
            self.no_room = self.no_room or f"{name}: {sentence(response.reason)}"
            return True
        self._lost[ticket] = self._lost.get(ticket, 0) + 1
        if self._lost[ticket] > _LOSSES:
            return False
        self._record.write("step.repeated", name, {"reason": response.reason})
        self._requests[ticket] = request
        self._record.after_commit(partial(self._executor.submit, ticket, request))
        return True


def _reaped(ticket: str, response: Response, reaping: Response) -> tuple[str, Response]:
    """The response that had to wait for that; with why something is left, if so."""
    if reaping.outcome == "passed":
        return ticket, response
    left = f"What it left outside its processes could not be removed: {sentence(reaping.reason)}"
    reason = f"{sentence(response.reason)} {left}" if response.reason else ""
    notes = [*response.data.get("notes", ()), f"! {left} The next run tries again"]
    update = {"reason": reason, "data": {**response.data, "notes": notes}}
    return ticket, response.model_copy(update=update)


def _ticket(step: str, place: Place) -> str:
    return f"{step}\0{place.lane}\0{place.name}"
