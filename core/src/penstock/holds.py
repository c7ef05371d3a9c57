"""The environments of a run: come to one, wait for its turn, hold it, and let the next one have it.

What is decided is decided in `turns`; here are the journal that all engines of a checkout share, in which
each sees the claims of the others, and the lock that the kernel frees however an engine ends.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from penstock import scheduler, turns
from penstock.errors import ConfigError, PluginError
from penstock.home import Home, Lock
from penstock.journal import Events, New
from penstock.plan import PlanStep
from penstock.record import Record
from penstock.runs import load_run, working_on
from penstock.scheduler import Conclude
from penstock.signals import wake
from penstock.state import RunState
from penstock.turns import Claim, Turn

_LOOK_AGAIN = 1.0
"""Seconds until an environment is looked at again. Whoever lets go of it calls; who was killed can't."""


class Holds:
    """The environments that the steps of one run wait for or hold: a lock each, which they share."""

    def __init__(self, home: Home, journal: Events, record: Record, state: RunState) -> None:
        self._home = home
        self._journal = journal
        self._record = record
        self._state = state
        self._held: dict[str, tuple[str, Lock]] = {}  # step → its environment and the lock
        self._said: dict[str, tuple[bool, int | None]] = {}  # step → whether it waits, and for which run
        self._began: int | None = None
        self.taken: dict[str, float] = {}
        """Environments that can't be had now, and when to look at each again."""
        self.lost: set[str] = set()
        """The steps whose rollout was cut off, and whose environment is not held again yet."""

    def begin(self) -> None:
        """See which rollouts were cut off."""
        self.lost = {
            name for name in self._state.running if self._state.steps[name].rollout and name not in self._held
        }

    def enter(self, step: PlanStep) -> bool:
        """Whether a step may begin, or ask somebody, now: one for an environment has to have its turn.

        If not, it has been superseded, or waits, and what became of it is on record.
        """
        name = step.environment
        if name is None or step.phase not in ("approve", "deploy"):
            return True
        if not self._joined(step):
            return False
        known = self._claims(name)
        mine = self._mine(step, known)
        alive = self._alive(known)
        turn = Turn() if self._lock_of(name) else turns.turn(mine, known, alive)
        if turn.superseded_by is not None:
            self._end(step, turn.superseded_by)
            return False
        for claim in turn.supersedes:
            self._supersede(claim)
        behind = turn.behind
        if behind is None and mine.deploys:
            behind = self._what_is_left(known, alive)
        waits = behind is not None or not self._take(step)
        if waits and behind is None:
            behind = turns.holder(known, alive)
        self._say(step, mine, turn, waits, behind)
        if waits:
            self.taken[name] = time.time() + _LOOK_AGAIN
        return not waits

    def regain(self, step: PlanStep) -> None:
        """Take the environment of a rollout that was cut off, unless somebody deployed there since."""
        assert step.environment is not None
        if not self._joined(step):
            return
        mine = self._mine(step, self._claims(step.environment))
        since = self._deployed_since(mine, step.environment)
        by = turns.overtaken(mine, since)
        if by is not None:
            self._end(step, by, f", which deployed to {step.environment} after this rollout was cut off")
        elif self._what_is_left(since, self._alive(since)) is None and self._take(step):
            self.lost.discard(step.name)
        else:
            self.taken[step.environment] = time.time() + _LOOK_AGAIN

    def let_go(self, step: str) -> None:
        """A step is over; the last one of an environment gives it back, and the next one hears of it."""
        self.lost.discard(step)
        name, lock = self._held.pop(step, ("", None))
        if lock is not None and all(lock is not other for _, other in self._held.values()):
            lock.release()
            for claim in self._claims(name):
                if claim.deploys and not claim.over and claim.run != self._state.run:
                    wake(self._home, claim.run)

    # --- the lock ---

    def _what_is_left(self, known: Iterable[Claim], alive: set[int]) -> int | None:
        """A run that was killed while it deployed, and whose workers may still be at it: they are ended.

        The lock was its engine's, and is free. Nobody else would ever end a worker that does not hear.
        """
        for claim in known:
            dead = claim.deploys and claim.busy and claim.run != self._state.run and claim.run not in alive
            if dead and self._home.workers_lock(claim.run).is_held():
                self._record.after_commit(partial(self._end_rest_of, claim.run))
                return claim.run
        return None

    def _end_rest_of(self, run: int) -> None:
        with contextlib.suppress(ConfigError), working_on(self._home, run, clean=True):
            self.taken.clear()

    def _take(self, step: PlanStep) -> bool:
        """Take the lock of a deploy step's environment; whether it could be had."""
        if step.phase != "deploy" or step.name in self._held:
            return True
        assert step.environment is not None
        shared = self._lock_of(step.environment)
        lock = shared or self._home.environment_lock(step.environment)
        if shared is None and not lock.take():
            return False
        self._held[step.name] = step.environment, lock
        self.taken.pop(step.environment, None)
        return True

    def _lock_of(self, environment: str) -> Lock | None:
        return next((lock for name, lock in self._held.values() if name == environment), None)

    # --- the claims ---

    def _joined(self, step: PlanStep) -> bool:
        """With all others held back: whether nobody has ended this step, or the run, meanwhile."""
        self._record.join()
        if step.name in self.lost:
            return step.name in self._state.running
        open_ = self._state.steps[step.name].state in ("pending", "running")
        return open_ and self._state.cancelled is None

    def _mine(self, step: PlanStep, known: Iterable[Claim]) -> Claim:
        own = (self._state.run, step.name)
        for claim in known:
            if (claim.run, claim.step) == own:
                return claim
        yields = step.supersede and self._state.given is None
        began = [e.id for e in self._journal.of_run(own[0], ("rollout.began",)) if e.step == step.name]
        return Claim(*own, deploys=step.phase == "deploy", yields=yields, began=max(began, default=0))

    def _claims(self, environment: str) -> list[Claim]:
        """The claims of this run, of all newer ones, and of those older ones that are not over."""
        if self._began is None:
            self._began = self._journal.of_run(self._state.run, ("run.started",))[0].id
        newer = {event.run for event in self._journal.find(turns.WANTED, after=self._began)}
        unfinished = {line.run for line in self._journal.runs(unfinished=True)}
        return self._claims_of(unfinished | newer, environment)

    def _deployed_since(self, mine: Claim, environment: str) -> list[Claim]:
        runs = {event.run for event in self._journal.find("rollout.began", after=mine.began)}
        return self._claims_of(runs, environment)

    def _claims_of(self, runs: Iterable[int], environment: str) -> list[Claim]:
        found: list[Claim] = []
        for run in sorted(runs):
            found += turns.claims(self._journal.of_run(run, turns.KINDS), environment)
        return found

    def _alive(self, known: Iterable[Claim]) -> set[int]:
        """The runs with a claim that an engine works on."""
        runs = {claim.run for claim in known if claim.deploys and not claim.over} - {self._state.run}
        return {run for run in runs if self._home.engine_lock(run).is_held()}

    # --- what is put on record ---

    def _say(self, step: PlanStep, mine: Claim, turn: Turn, waits: bool, behind: int | None) -> None:
        if self._said.get(step.name) == (waits, behind) and not turn.supersedes:
            return
        if step.name in self._said and not waits and not turn.supersedes:
            return
        self._said[step.name] = waits, behind
        data: dict[str, Any] = {
            "environment": step.environment,
            "deploys": mine.deploys,
            "yields": mine.yields,
            "waits": waits,
            "behind": behind,
            "supersedes": sorted({claim.run for claim in turn.supersedes}),
            "over": turn.over,
        }
        self._record.write(turns.WANTED, step.name, data)

    def _end(self, step: PlanStep, by: int, more: str = "") -> None:
        """Say that a step of this run is superseded."""
        self._record.write("step.finished", step.name, _superseded(by, more))

    def _supersede(self, claim: Claim) -> None:
        """Tell an older run that this one goes; end it where nobody works on it and nothing is left to do."""
        lock = self._home.engine_lock(claim.run)
        free = lock.take()
        new = New("step.finished", claim.step, _superseded(self._state.run), time.time())
        self._journal.stage(claim.run, [new])
        if free:
            self._conclude(claim.run)

        def tell() -> None:
            if free:
                lock.release()
            else:
                wake(self._home, claim.run)

        self._record.after_commit(tell)

    def _conclude(self, run: int) -> None:
        try:
            state = load_run(self._journal, self._home, run)
        except (ConfigError, PluginError):
            return  # what is wrong with it, whoever takes it up is told
        if state.state != "waiting":
            return  # it was cut off: there may be more to do
        for action in scheduler.decide(state, time.time(), busy=set(), slots=0):
            if isinstance(action, Conclude) and action.state != "waiting":
                self._journal.stage(run, [New("run.finished", None, state.end(action.state), time.time())])


def _superseded(by: int, more: str = "") -> dict[str, Any]:
    return {"state": "cancelled", "reason": f"superseded by run {by}{more}", "superseded_by": by}
