"""How far a rollout is, as its events left it. Pure; what comes next is decided in `rollout`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

from pydantic import JsonValue

from penstock.config import Rollout
from penstock.model import Release

RESTORE_TRIES = 20
_RESTORE_PAUSE = 0.5
_LONGEST_PAUSE = 10.0

Kind = Literal["observe", "apply", "probe", "restore"]


@dataclass
class TargetProgress:
    """How far one target of a rollout is.

    A target goes: new → observed → applied → healthy. Where one of them fails, each that was touched
    goes to restored; one that can't be put back however often it is tried is stuck.
    """

    state: Literal["new", "observed", "applied", "healthy", "restored", "stuck"] = "new"
    before: dict[str, JsonValue] | None = None
    touched: bool = False
    running: Kind | None = None
    running_since: float = 0.0
    probing_since: float = 0.0
    next_at: float = 0.0
    restores: int = 0
    detail: str = ""


@dataclass
class RolloutState:
    """A rollout as its events left it."""

    settings: Rollout
    release: Release
    targets: dict[str, TargetProgress]
    failure: str | None = None
    current: int = 0
    """The batch that is being worked on."""
    batch_done_at: float = 0.0
    order: tuple[str, ...] = ()
    open: set[str] = field(default_factory=set)
    """The targets of the current batch that are not through yet."""
    busy: dict[str, None] = field(default_factory=dict)
    """The targets that an operation is under way on."""
    doubtful: dict[str, None] = field(default_factory=dict)
    """The targets that were healthy before it was cut off: they are looked at before it goes on."""

    @classmethod
    def begin(cls, settings: Rollout, release: Release, targets: Iterable[str]) -> RolloutState:
        """A rollout of which nothing has happened yet."""
        names = list(targets)
        progress = {name: TargetProgress() for name in names}
        return cls(settings, release, progress, order=tuple(progress), open=set(names))

    @property
    def size(self) -> int:
        """How many targets are changed at a time."""
        batch, count = self.settings.batch, len(self.order)
        if self.settings.strategy == "all-at-once":
            return max(1, count)
        if isinstance(batch, float):
            # 7% of 100 are 7.000000000000001 for a computer, and must not be 8.
            return max(1, ceil(round(batch * count, 6)))
        return batch

    @property
    def left_behind(self) -> bool:
        """Whether anything of the release is there that was not put back."""
        return any(target.touched and target.state != "restored" for target in self.targets.values())

    def batch(self, number: int) -> tuple[str, ...]:
        """The targets that are changed together; none after the last batch."""
        return self.order[number * self.size : (number + 1) * self.size]

    def fail(self, reason: str) -> None:
        """From now on it goes back. The first reason counts."""
        if self.failure is None:
            self.failure = reason
            for target in self.targets.values():
                target.next_at = 0.0

    def cut(self, now: float) -> None:
        """Whoever was working on it is gone: what was under way will be asked for again.

        So will be whether what was healthy still is: who knows how long ago that was.
        """
        for name in self.busy:
            self.targets[name].running = None
        self.busy.clear()
        self.doubtful = {name: None for name, target in self.targets.items() if target.state == "healthy"}
        for name in self.doubtful:
            self.targets[name].probing_since, self.targets[name].next_at = now, 0.0

    def started(self, name: str, kind: Kind, now: float) -> None:
        """An operation has begun."""
        target = self.targets[name]
        target.running, target.running_since = kind, now
        self.busy[name] = None
        target.touched = target.touched or kind == "apply"

    def ended(self, name: str, kind: Kind, data: dict[str, Any], now: float) -> None:
        """An operation has ended, well (`data["ok"]`) or not."""
        target = self.targets[name]
        target.running = None
        self.busy.pop(name, None)
        target.detail = str(data.get("detail", ""))
        outcome = {
            "observe": self._observed,
            "apply": self._applied,
            "probe": self._probed,
            "restore": self._restored,
        }[kind]
        outcome(name, target, data, now)

    def _observed(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        del now
        if not data["ok"]:
            self.fail(f"{name} can't be observed: {target.detail}")
            return
        target.before, target.state = data["state"], "observed"
        self.open.discard(name)
        if not self.open:  # all of them are known: the first batch begins
            self.open = set(self.batch(0))

    def _applied(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        if not data["ok"]:
            self.fail(f"{name} could not be changed: {target.detail}")
            return
        target.state, target.probing_since, target.next_at = "applied", now, 0.0

    def _probed(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        patience = self.settings.healthy_within
        if data["ok"] and data["health"] == "healthy":
            if name in self.doubtful:
                del self.doubtful[name]
                return
            target.state = "healthy"
            self.open.discard(name)
            self._next_batch(now)
        elif not data["ok"] or data["health"] == "unhealthy":
            self.fail(f"{name} is unhealthy: {target.detail}")
        elif now - target.probing_since >= patience:
            self.fail(f"{name} was not healthy within {patience:g} s: {target.detail}")
        else:
            target.next_at = now + self.settings.interval

    def _restored(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        del name
        if data["ok"]:
            target.state = "restored"
            return
        target.restores += 1
        target.next_at = now + min(_RESTORE_PAUSE * 2 ** (target.restores - 1), _LONGEST_PAUSE)
        if target.restores >= RESTORE_TRIES:
            target.state = "stuck"

    def _next_batch(self, now: float) -> None:
        if self.open:
            return
        self.current += 1
        self.batch_done_at = now
        self.open = set(self.batch(self.current))
