"""Moving an environment's targets from one release to the next: what comes next. Pure.

All decisions of a rollout are here, and nothing here touches a target: `advance` says which operations
come next, and each outcome comes back as an event. A rollout that was cut off goes on by folding its
events again: an operation whose outcome is not on record is asked for again, which every target has to
bear.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.progress import Kind, RolloutState


class Operation(NamedTuple):
    """One method of one target, to be called now."""

    kind: Kind
    target: str


class WakeAt(NamedTuple):
    """Nothing to do until then, in seconds since 1970."""

    time: float


class Ended(NamedTuple):
    """The rollout is over."""

    passed: bool
    reason: str = ""


Move = Operation | WakeAt | Ended


def advance(rollout: RolloutState, now: float) -> list[Move]:
    """What to do next; empty while something under way has to end first."""
    if rollout.failure is not None:
        return _back(rollout, now)
    if not rollout.targets:
        return [Ended(False, "there is no target to deploy to")]
    if rollout.doubtful:
        return [_look(rollout, name, now) for name in rollout.doubtful if name not in rollout.busy]
    if not rollout.open:
        return [Ended(True)]
    return _forward(rollout, now)


def _forward(rollout: RolloutState, now: float) -> list[Move]:
    rested = rollout.batch_done_at + rollout.settings.pause
    if rollout.current and now < rested:
        return [WakeAt(rested)]
    names = rollout.targets if len(rollout.open) > 1 else rollout.open  # in the order of the targets
    return [
        _next_of(rollout, name, now) for name in names if name in rollout.open and name not in rollout.busy
    ]


def _next_of(rollout: RolloutState, name: str, now: float) -> Move:
    target = rollout.targets[name]
    if target.state == "new":
        return Operation("observe", name)
    if target.state == "observed":
        return Operation("apply", name)
    return _look(rollout, name, now)


def _look(rollout: RolloutState, name: str, now: float) -> Move:
    target = rollout.targets[name]
    return WakeAt(target.next_at) if target.next_at > now else Operation("probe", name)


def _back(rollout: RolloutState, now: float) -> list[Move]:
    if any(rollout.targets[name].running != "restore" for name in rollout.busy):
        return []  # what is under way ends before anything is put back
    moves: list[Move] = []
    for name in reversed(rollout.targets):
        target = rollout.targets[name]
        if not target.touched or target.running or target.state in ("restored", "stuck"):
            continue
        moves.append(WakeAt(target.next_at) if target.next_at > now else Operation("restore", name))
    if moves or rollout.busy:
        return moves
    return [Ended(False, _account(rollout))]


def _account(rollout: RolloutState) -> str:
    touched = [name for name, target in rollout.targets.items() if target.touched]
    stuck = [name for name in touched if rollout.targets[name].state == "stuck"]
    if not touched:
        return f"{rollout.failure}; nothing was changed"
    if not stuck:
        return f"{rollout.failure}; put back to what ran before: {_some(touched)}"
    return f"{rollout.failure}; COULD NOT BE PUT BACK: {_some(stuck)} ({rollout.targets[stuck[0]].detail})"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
