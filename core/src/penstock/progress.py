"""How far a rollout is, as its events left it. Pure; what comes next is decided in `rollout`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from pydantic import JsonValue

from penstock.config import Rollout
from penstock.model import Release
from penstock.moves import Kind, Place, place_of
from penstock.waves import Wave, waves, why_not

RESTORE_TRIES = 20
_RESTORE_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


class Running(NamedTuple):
    """An operation that is under way."""

    kind: Kind
    since: float
    back: bool
    """Whether it puts something back."""
    share: float = 1.0


@dataclass
class TargetProgress:
    """How far one target of a rollout is.

    A target goes: new → observed → applied → healthy. Where one of them fails, each that was touched goes
    back: returned, when it is what it was, and restored, when it was also looked at and has its traffic
    again. One that can't be put back however often it is tried is stuck.
    """

    state: Literal["new", "observed", "applied", "healthy", "returned", "restored", "stuck"] = "new"
    before: dict[str, JsonValue] | None = None
    shifts: bool = False
    share: float = 1.0
    """Which share of its traffic it was given last."""
    unsure: bool = False
    """Whether it is not known if that was done."""
    touched: bool = False
    looked: bool = False
    """Whether it was looked at since it was put back."""
    undrained: bool = False
    """Whether its traffic could not be taken away, and it is put back all the same."""
    probing_since: float = 0.0
    next_at: float = 0.0
    restores: int = 0
    detail: str = ""

    def wants(self, share: float) -> bool:
        """Whether it has to be told that it gets this share of its traffic."""
        return self.shifts and (self.unsure or self.share != share)

    @property
    def back(self) -> bool:
        """Whether it is what it was before."""
        return self.state in ("returned", "restored")

    @property
    def was_empty(self) -> bool:
        """Whether nothing ran there before."""
        return not self.before or not (self.before.get("release") or self.before.get("data"))


@dataclass
class RolloutState:
    """A rollout as its events left it."""

    settings: Rollout
    release: Release
    targets: dict[str, TargetProgress]
    waves: tuple[Wave, ...] = ()
    jobs: dict[str, str] = field(default_factory=dict)
    """The jobs that were not done yet, and whether each comes before or after the targets are changed."""
    failure: str | None = None
    current: int = 0
    """The wave that is being worked on."""
    batch_done_at: float = 0.0
    observed: bool = False
    """Whether it is known of all targets what runs there."""
    open: set[str] = field(default_factory=set)
    """The targets that are not known yet, or then those of the current wave that are not through yet."""
    busy: dict[Place, Running] = field(default_factory=dict)
    """The operations that are under way."""
    doubtful: dict[str, None] = field(default_factory=dict)
    """The targets that were healthy before it was cut off: they are looked at before it goes on."""
    unjudged: dict[str, None] = field(default_factory=dict)
    """Who has to judge before the current wave begins."""
    held: str | None = None
    """Why nobody knows whether it may go on."""
    let_on: tuple[str, ...] = ()
    """Who said that it may."""

    @classmethod
    def begin(
        cls,
        settings: Rollout,
        release: Release,
        targets: Iterable[str],
        shifting: Iterable[str] = (),
        jobs: Mapping[str, str] | None = None,
    ) -> Self:
        """A rollout of which nothing has happened yet; `shifting` are the targets that can shift traffic."""
        shifts = set(shifting)
        progress = {name: TargetProgress(shifts=name in shifts) for name in targets}
        names = tuple(progress)
        made = cls(settings, release, progress, waves(settings, names), dict(jobs or {}), open=set(names))
        if names and (why := why_not(settings, names, tuple(shifts))):
            made.fail(why)
        return made

    @property
    def left_behind(self) -> bool:
        """Whether anything of the release is there that was not put back."""
        return any(target.touched and not target.back for target in self.targets.values())

    @property
    def through(self) -> bool:
        """Whether nothing is left to do but to put it on record."""
        return self.observed and self.current == len(self.waves) and not self.jobs

    def shifts_due(self) -> list[tuple[str, float]]:
        """Whose traffic changes, to which share, now that all targets of the current wave are well."""
        wave = self.waves[self.current]
        reached = [name for each in self.waves[: self.current + 1] for name in each.names]
        due = [(name, wave.share) for name in reached if self.targets[name].wants(wave.share)]
        if due or not self._switches:
            return due
        return [(name, 0.0) for name in self.waves[1].names if self.targets[name].wants(0.0)]

    @property
    def _switches(self) -> bool:
        """Whether it works on the half that gets no traffic until all of it is healthy."""
        return self.settings.strategy == "blue-green" and self.current == 0

    def fail(self, reason: str) -> None:
        """From now on it goes back. The first reason counts."""
        if self.failure is None:
            self.failure, self.held = reason, None
            for target in self.targets.values():
                target.next_at = 0.0

    def cut(self, now: float) -> None:
        """Whoever was working on it is gone: what was under way will be asked for again.

        So will be whether what was healthy still is: who knows how long ago that was.
        """
        self.busy.clear()
        self.doubtful = {name: None for name, target in self.targets.items() if target.state == "healthy"}
        for target in self.targets.values():
            target.probing_since, target.next_at = now, 0.0

    def judge_again(self) -> None:
        """Nobody has said anything: whoever could not judge is asked once more."""
        self.held = None

    def go_on(self, by: str) -> None:
        """A person has said that it may."""
        self.held = None
        self.let_on = tuple(dict.fromkeys((*self.let_on, by)))
        self.unjudged.clear()

    def started(self, name: str, kind: Kind, now: float, share: float = 1.0) -> None:
        """An operation has begun."""
        self.busy[place_of(kind, name)] = Running(kind, now, self.failure is not None, share)
        target = self.targets.get(name)
        if target and kind == "apply":
            target.touched = True
        if target and kind == "shift":
            target.unsure = True

    def ended(self, name: str, kind: Kind, data: dict[str, Any], now: float) -> None:
        """An operation has ended, well (`data["ok"]`) or not."""
        running = self.busy.pop(place_of(kind, name), Running(kind, now, self.failure is not None))
        if kind == "job":
            self._job_ended(name, data, now)
        elif kind == "judge":
            self._judged(name, data)
        else:
            target = self.targets[name]
            target.detail = str(data.get("detail", ""))
            outcome = {
                "observe": self._observed,
                "apply": self._applied,
                "probe": self._looked if running.back else self._probed,
                "restore": self._restored,
                "shift": self._given_back if running.back else self._shifted,
            }[kind]
            outcome(name, target, {**data, "share": running.share}, now)
        self._move_on(now)

    # --- forward ---

    def _observed(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        del now
        if not data["ok"]:
            self.fail(f"{name} can't be observed: {target.detail}")
            return
        target.before, target.state = data["state"], "observed"
        self.open.discard(name)
        if not self.open:  # all of them are known: the first wave begins
            self.observed, self.open = True, set(self.waves[0].names)

    def _job_ended(self, name: str, data: dict[str, Any], now: float) -> None:
        if not data["ok"]:
            self.fail(f"the job {name} failed: {data.get('detail', '')}")
            return
        self.jobs.pop(name, None)
        self.batch_done_at = now

    def _judged(self, name: str, data: dict[str, Any]) -> None:
        if data["ok"]:
            self.unjudged.pop(name, None)
        elif data.get("outcome") == "failed":
            self.fail(f"{name} failed: {data.get('detail', '')}")
        elif self.failure is None:
            self.held = f"{name} can't judge: {data.get('detail', '')}"

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
            self._maybe_through(name, target)
        elif not data["ok"] or data["health"] == "unhealthy":
            self.fail(f"{name} is unhealthy: {target.detail}")
        elif now - target.probing_since >= patience:
            self.fail(f"{name} was not healthy within {patience:g} s: {target.detail}")
        else:
            target.next_at = now + self.settings.interval

    def _shifted(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        del now
        if not data["ok"]:
            self.fail(f"the traffic of {name} can't be shifted: {target.detail}")
            return
        target.share, target.unsure = data["share"], False
        self._maybe_through(name, target)

    def _maybe_through(self, name: str, target: TargetProgress) -> None:
        if target.state != "healthy" or self.current == len(self.waves):
            return
        if self._switches or not target.wants(self.waves[self.current].share):
            self.open.discard(name)

    def _move_on(self, now: float) -> None:
        if self.failure is not None or not self.observed:
            return
        while self.current < len(self.waves) and not self.open and not self.shifts_due():
            self.current += 1
            self.batch_done_at = now
            if self.current < len(self.waves):
                self.open = set(self.waves[self.current].names)
                self.unjudged = dict.fromkeys(self.settings.judge)

    # --- back ---

    def _restored(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        del name
        if not data["ok"]:
            self._again_later(target, now)
            return
        target.state, target.probing_since, target.next_at = "returned", now, 0.0
        if target.was_empty:  # there is nothing to look at, and nothing to give traffic to
            target.state = "restored"

    def _looked(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        """What ran before gets its traffic back when it is healthy, or when that can't be waited for."""
        del name
        waits = data["ok"] and data["health"] == "unknown"
        if waits and now - target.probing_since < self.settings.healthy_within:
            target.next_at = now + self.settings.interval
            return
        target.looked = True
        if not target.wants(1.0):
            target.state = "restored"

    def _given_back(self, name: str, target: TargetProgress, data: dict[str, Any], now: float) -> None:
        del name
        if data["ok"]:
            target.share, target.unsure = data["share"], False
            if target.looked:
                target.state = "restored"
        elif target.touched and not target.looked:
            target.undrained = True
        else:
            self._again_later(target, now)

    def _again_later(self, target: TargetProgress, now: float) -> None:
        target.restores += 1
        target.next_at = now + min(_RESTORE_PAUSE * 2 ** (target.restores - 1), _LONGEST_PAUSE)
        if target.restores >= RESTORE_TRIES:
            target.state = "stuck"
