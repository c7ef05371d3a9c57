"""What the scheduler says of rollouts: put on record, and handed to workers or people."""

from __future__ import annotations

from penstock.holds import Holds
from penstock.plan import Plan
from penstock.record import Record
from penstock.request import make_request, operation_request, question
from penstock.scheduler import Attest, Doubt, Operate, Stop, TakeUp
from penstock.state import RunState
from penstock.underway import Underway

Action = Operate | Doubt | TakeUp | Stop | Attest


class Rollouts:
    """The rollouts of one run."""

    def __init__(self, plan: Plan, state: RunState, record: Record, underway: Underway, holds: Holds) -> None:
        self._plan = plan
        self._state = state
        self._record = record
        self._underway = underway
        self._holds = holds

    def act(self, action: Action) -> None:
        """Do what the scheduler says."""
        if isinstance(action, Operate):
            self._operate(action)
        elif isinstance(action, Stop):
            self._underway.stop(action)
        elif isinstance(action, Attest):
            self._attest(action.step)
        elif isinstance(action, TakeUp):
            self._take_up(action)
        else:
            what = question(self._state, action.step, action.reason)
            self._record.write("approval.requested", action.step, what)

    def _operate(self, action: Operate) -> None:
        share = {"share": action.share} if action.kind == "shift" else {}
        data = {"op": action.kind, "target": action.target, **share}
        self._record.write("rollout.started", action.step, data)
        self._record.stage()
        self._underway.submit(operation_request(self._plan, self._state, action), action)

    def _attest(self, name: str) -> None:
        progress = self._state.steps[name].rollout
        assert progress is not None
        targets = tuple(progress.targets)
        request = make_request(
            self._plan, self._state, name, "attest", release=progress.release, targets=targets
        )
        self._underway.submit(request)

    def _take_up(self, action: TakeUp) -> None:
        """Go on with a rollout, or back, as somebody said; its environment may have to be taken again."""
        kind, key = ("rollout.failed", "reason") if action.fault else ("rollout.approved", "by")
        self._record.write(kind, action.step, {key: action.fault or action.by})
        self._record.stage()
        self._holds.begin()
