"""Plan and RunState → what to do next. Pure: no clock, no file, no process.

`decide` is called after every change and names all that is to be done now. Its cost grows with what is
ready and running, not with the plan.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock import gates
from penstock.keys import Failure
from penstock.model import Approval
from penstock.moves import Ended, Hold, Kind, Place, WakeAt
from penstock.plan import Plan, PlanStep
from penstock.pointless import why_pointless
from penstock.state import RunState, RunStatus

if TYPE_CHECKING:
    from penstock.progress import RolloutState

DEFAULT_TIMEOUT = 3600.0
"""Seconds that a step may take if it does not say."""
_LONGEST_PAUSE = 60.0
NOT_TAKEN: Mapping[str, float] = MappingProxyType({})


class Judge(NamedTuple):
    """Ask whether a step's condition holds: it may start then, and is skipped otherwise."""

    step: str


class Start(NamedTuple):
    """Begin an attempt at a step: call its hook, or for a deploy step its gate."""

    step: str


class Regain(NamedTuple):
    """Take the environment of a rollout again that was cut off, before anything there is touched."""

    step: str


class Operate(NamedTuple):
    """Call one method of one target of a deploy step, run a job of its, or ask who judges."""

    step: str
    kind: Kind
    target: str
    share: float = 1.0


class Doubt(NamedTuple):
    """Have a person's word waited for: nobody else can tell whether a rollout may go on."""

    step: str
    reason: str


class TakeUp(NamedTuple):
    """A person has said what becomes of a rollout: it goes on, or where there is a reason why not, back."""

    step: str
    by: str
    fault: str = ""


class AskApproval(NamedTuple):
    """Record that a person's word is waited for."""

    step: str
    reason: str


class Approve(NamedTuple):
    """Give the approval that the command line gave in advance."""

    step: str


class Attest(NamedTuple):
    """The rollout is done: make and sign its evidence, then finish the step."""

    step: str


class Finish(NamedTuple):
    """The step is over."""

    step: str
    state: str
    reason: str = ""


class End(NamedTuple):
    """End a running step: its time is over, or somebody said so."""

    step: str
    state: str
    reason: str
    failure: Failure = "failed"


class Stop(NamedTuple):
    """End an operation of a rollout: its time is over, or somebody said so."""

    step: str
    place: Place
    reason: str


class Conclude(NamedTuple):
    """Nothing is left that could be done: the run is over, or waits for a person."""

    state: RunStatus


Waiting = Start | Regain | AskApproval
"""What may have to wait for its turn at an environment."""
Action = (
    Judge | Waiting | Operate | Doubt | TakeUp | Approve | Attest | Finish | End | Stop | Conclude | WakeAt
)


def decide(
    state: RunState,
    now: float,
    *,
    busy: frozenset[str] | set[str],
    slots: int,
    taken: Mapping[str, float] = NOT_TAKEN,
    lost: Collection[str] = (),
) -> list[Action]:
    """What to do now.

    `busy` names the steps that an operation or request is under way for, `slots` says how many more
    requests may begin, `taken` which environments can't be had, and when to look again, and `lost` which
    running steps do not hold theirs any more.
    """
    actions: list[Action] = []
    for name in list(state.running):
        if name in lost:
            free_at = taken.get(state.plan.by_name[name].environment or "", 0.0)
            actions.append(WakeAt(free_at) if free_at > now else Regain(name))
            continue
        step_actions = _running(state, name, now, name in busy, slots)
        slots -= sum(isinstance(action, Operate | Attest) for action in step_actions)
        actions.extend(step_actions)
    if state.cancelled is None:
        for name in list(state.asked):
            actions.extend(_asked(state, name, now, name in busy))
        actions.extend(_starts(state, now, slots, taken))
    if not actions and not state.running and not busy:
        actions.append(Conclude(_outcome(state)))
    return actions


def retry(step: PlanStep, attempts: int, now: float, failure: Failure = "failed") -> float | None:
    """When to try a step again after so many attempts, in seconds since 1970; None: not at all."""
    retries = step.keys.retries
    if attempts > retries.times or failure not in retries.on:
        return None
    longest = max(_LONGEST_PAUSE, retries.backoff) if retries.longest is None else retries.longest
    return now + min(retries.backoff * retries.factor ** (attempts - 1), longest)


def _starts(state: RunState, now: float, slots: int, taken: Mapping[str, float]) -> list[Action]:
    actions: list[Action] = []
    for name in state.ready:
        step = state.plan.by_name[name]
        if why := why_pointless(state, step):
            actions.append(Finish(name, "skipped", why))
            continue
        if step.keys.when is not None and not state.steps[name].holds and state.given is None:
            actions.append(Judge(name))
            continue
        if step.phase == "approve" and step.uses is None:
            by: Any = step.settings.get("by") or ()
            actions.append(AskApproval(name, "waits for approval" + (f" by {', '.join(by)}" if by else "")))
            continue
        free_at = taken.get(step.environment or "", 0.0) if step.phase == "deploy" else 0.0
        not_before = max(free_at, state.steps[name].not_before)
        if not_before > now:
            actions.append(WakeAt(not_before))
        elif slots > 0:
            slots -= 1
            actions.append(Start(name))
        else:
            break
    return actions


def _asked(state: RunState, name: str, now: float, busy: bool) -> list[Action]:
    step = state.plan.by_name[name]
    rollout_ = state.steps[name].rollout
    if name in state.rejections:
        word = state.rejections[name]
        why = f"rejected by {word['by']}" + (f": {word['why']}" if word.get("why") else "")
        return [TakeUp(name, word["by"], why) if rollout_ else Finish(name, "refused", why)]
    if name not in state.approvals:
        if rollout_:
            return []  # what was said in advance was not about this
        in_advance = step.environment in state.options.get("approve", ())
        return [Approve(name)] if in_advance and not busy else []
    data = state.approvals[name]
    approval = Approval.model_validate(data["approval"])
    digests = [artifact.digest for artifact in state.artifacts_for(name)]
    fault = gates.approved(approval, step.environment, digests, state.plan.digest, now)
    by = who_may(state.plan, step)
    if not fault and not gates.may_approve(by, state.plan.roles, data.get("identities", ())):
        fault = f"{approval.by} may not approve: {', '.join(by)} may"
    if rollout_:
        return [TakeUp(name, approval.by, fault or "")]
    if fault:
        return [Finish(name, "refused", fault)]
    return [Finish(name, "passed", f"by {approval.by}")]


def who_may(plan: Plan, step: PlanStep) -> tuple[str, ...]:
    """Who may approve a step, by role or identity; empty: anybody.

    A rollout that is in doubt may be let on by those who may approve its environment.
    """
    approvals = [step]
    if step.phase == "deploy":
        environment = step.environment
        approvals = [s for s in plan.steps if (s.phase, s.environment) == ("approve", environment)]
    found: dict[str, None] = {}
    for each in approvals:
        if each.uses is None:
            by: Any = each.settings.get("by") or ()
            found.update(dict.fromkeys(by))
    return tuple(found)


def _running(state: RunState, name: str, now: float, busy: bool, slots: int) -> list[Action]:
    step, progress = state.plan.by_name[name], state.steps[name]
    if progress.rollout is not None:
        return _rolling(state, name, now, busy, slots)
    if state.cancelled is not None:
        return [End(name, "cancelled", state.cancelled)]
    patience = _patience(step)
    deadline = progress.tried_since + patience
    if now >= deadline:
        return [End(name, "failed", f"it took longer than {patience:g} s (timeout)", "timeout")]
    return [WakeAt(deadline)]


def _rolling(state: RunState, name: str, now: float, busy: bool, slots: int) -> list[Action]:
    progress = state.steps[name].rollout
    assert progress is not None
    from penstock import rollout  # most runs deploy nothing

    actions = _overdue(state, name, progress, now)
    for move in rollout.advance(progress, now):
        if isinstance(move, WakeAt):
            actions.append(move)
        elif isinstance(move, Hold):
            actions.append(Doubt(name, move.reason))
        elif isinstance(move, Ended):
            if busy:
                return [_attesting(state, name, progress, now)]
            return [Attest(name) if move.passed else Finish(name, "failed", move.reason)]
        elif slots > 0:
            slots -= 1
            actions.append(Operate(name, move.kind, move.target, move.share))
    return actions


def _attesting(state: RunState, name: str, progress: "RolloutState", now: float) -> Action:
    """Its evidence is being made: that has the step's whole timeout, too, and stays when it is cancelled."""
    patience = _patience(state.plan.by_name[name])
    deadline = max(progress.batch_done_at, state.steps[name].tried_since) + patience
    if now >= deadline:
        reason = f"its evidence took longer than {patience:g} s (timeout)"
        return End(name, "failed", reason)
    return WakeAt(deadline)


def _overdue(state: RunState, name: str, progress: "RolloutState", now: float) -> list[Action]:
    """What becomes of the operations under way: each has the whole timeout of its step."""
    actions: list[Action] = []
    for place, operation in progress.busy.items():
        judges = place.lane == "judge" and place.name in state.plan.by_name
        patience = _patience(state.plan.by_name[place.name if judges else name])
        deadline = operation.since + patience
        if state.cancelled is not None and not operation.back:
            actions.append(Stop(name, place, state.cancelled))
        elif now >= deadline:
            actions.append(Stop(name, place, f"it took longer than {patience:g} s (timeout)"))
        else:
            actions.append(WakeAt(deadline))
    return actions


def _patience(step: PlanStep) -> float:
    return DEFAULT_TIMEOUT if step.keys.timeout is None else step.keys.timeout


def _outcome(state: RunState) -> RunStatus:
    if state.cancelled is not None:
        return "cancelled"
    ended = {
        step.state for name, step in state.steps.items() if not state.plan.by_name[name].keys.allow_failure
    }
    if "failed" in ended:
        return "failed"
    if "refused" in ended:
        return "refused"
    if "cancelled" in ended:
        return "cancelled"
    return "waiting" if state.asked else "passed"
