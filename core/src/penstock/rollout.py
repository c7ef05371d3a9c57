"""Moving an environment's targets from one release to the next: what comes next. Pure.

All decisions of a rollout are here, and nothing here touches a target: `advance` says which operations
come next, and each outcome comes back as an event. A rollout that was cut off goes on by folding its
events again: an operation whose outcome is not on record is asked for again, which every target has to
bear.

Forward: every target is observed; then the jobs before; then wave after wave. A target whose traffic can be
shifted loses it, is changed, is looked at until it is healthy, and gets its traffic back. Between two waves
there is a pause, and whoever judges is asked. Last come the jobs after. Back: the same waves from the last to
the first, so that no more are out at a time than on the way there.
"""

from collections.abc import Iterator

from penstock.moves import Ended, Hold, Lane, Move, Operation, WakeAt
from penstock.progress import RolloutState, TargetProgress


def advance(rollout: RolloutState, now: float) -> list[Move]:
    """What to do next; empty while something under way has to end first."""
    if rollout.failure is not None:
        return _back(rollout, now)
    if not rollout.targets:
        return [Ended(False, "there is no target to deploy to")]
    if rollout.doubtful:
        return [_look(rollout, name, now) for name in rollout.doubtful if _idle(rollout, name)]
    return _forward(rollout, now)


def _forward(rollout: RolloutState, now: float) -> list[Move]:
    if not rollout.observed:
        names = [name for name, target in rollout.targets.items() if target.state == "new"]
        return [Operation("observe", name) for name in names if _idle(rollout, name)]
    if any(when == "before" for when in rollout.jobs.values()):
        return _jobs(rollout, "before")
    if rollout.current == len(rollout.waves):
        return _jobs(rollout, "after") if rollout.jobs else [Ended(True)]
    rested = rollout.batch_done_at + rollout.settings.pause
    if rollout.current and now < rested:
        return [WakeAt(rested)]
    if rollout.held is not None:
        return [] if rollout.busy else [Hold(rollout.held)]
    if rollout.unjudged:
        return [Operation("judge", name) for name in rollout.unjudged if _idle(rollout, name, "judge")]
    if not rollout.open:
        due = rollout.shifts_due()
        return [Operation("shift", name, share) for name, share in due if _idle(rollout, name)]
    wave = rollout.waves[rollout.current]
    return [
        _next_of(rollout, name, now) for name in wave.names if name in rollout.open and _idle(rollout, name)
    ]


def _jobs(rollout: RolloutState, when: str) -> list[Move]:
    """One job after another, in their order."""
    name = next(name for name, its in rollout.jobs.items() if its == when)
    return [Operation("job", name)] if _idle(rollout, name, "job") else []


def _next_of(rollout: RolloutState, name: str, now: float) -> Move:
    target = rollout.targets[name]
    if target.state == "observed":
        return Operation("shift", name, 0.0) if target.wants(0.0) else Operation("apply", name)
    if target.state == "healthy":
        return Operation("shift", name, rollout.waves[rollout.current].share)
    return _look(rollout, name, now)


def _look(rollout: RolloutState, name: str, now: float) -> Move:
    target = rollout.targets[name]
    return WakeAt(target.next_at) if target.next_at > now else Operation("probe", name)


def _idle(rollout: RolloutState, name: str, lane: Lane = "target") -> bool:
    return (lane, name) not in rollout.busy


def _back(rollout: RolloutState, now: float) -> list[Move]:
    if any(not running.back for running in rollout.busy.values()):
        return []  # what is under way ends before anything is put back
    moves: list[Move] = []
    for names in _way_back(rollout):
        waits = False
        for name in names:
            target = rollout.targets[name]
            operation = _homeward(name, target)
            if operation is None:
                continue
            waits = waits or not target.restores  # those that fail must not keep the others from it
            if _idle(rollout, name):
                moves.append(WakeAt(target.next_at) if target.next_at > now else operation)
        if waits:
            break
    if moves or rollout.busy:
        return moves
    return [Ended(False, _account(rollout))]


def _way_back(rollout: RolloutState) -> Iterator[list[str]]:
    """Targets that go back together: first those that only lack their traffic, then wave after wave."""
    yield [name for name, target in rollout.targets.items() if not target.touched]
    for wave in reversed(rollout.waves[: rollout.current + 1]):
        yield [name for name in reversed(wave.names) if rollout.targets[name].touched]


def _homeward(name: str, target: TargetProgress) -> Operation | None:
    """What brings a target nearer to what it was; None where it is that, or was given up."""
    if target.state in ("restored", "stuck"):
        return None
    if not target.touched:
        return Operation("shift", name, 1.0) if target.wants(1.0) else None
    if target.state != "returned":
        drained = target.undrained or not target.wants(0.0)
        return Operation("restore", name) if drained else Operation("shift", name, 0.0)
    return Operation("shift", name, 1.0) if target.looked else Operation("probe", name)


def _account(rollout: RolloutState) -> str:
    touched = [name for name, target in rollout.targets.items() if target.touched]
    stuck = [name for name, target in rollout.targets.items() if target.state == "stuck"]
    if stuck:
        detail = rollout.targets[stuck[0]].detail
        return f"{rollout.failure}; COULD NOT BE PUT BACK: {_some(stuck)} ({detail})"
    if not touched:
        return f"{rollout.failure}; nothing was changed"
    return f"{rollout.failure}; put back to what ran before: {_some(touched)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
