"""The environments that a run holds, so that no other run deploys there meanwhile."""

from __future__ import annotations

import time

from penstock.home import Home, Lock
from penstock.plan import PlanStep

_LOOK_AGAIN = 0.25
"""Seconds until an environment that another run deploys to is looked at again."""


class Holds:
    """The environments of the deploy steps under way: a lock each, shared by the steps that deploy there."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._held: dict[str, tuple[str, Lock]] = {}  # step → its environment and the lock
        self.taken: dict[str, float] = {}
        """Environments that another run deploys to, and when to look at each again."""

    def take(self, step: PlanStep, *, wait: bool = False) -> bool:
        """Take the environment of a deploy step; whether it could be had. For all others: nothing to take."""
        name = step.environment
        if name is None or step.phase != "deploy" or step.name in self._held:
            return True
        shared = next((lock for other, lock in self._held.values() if other == name), None)
        lock = shared or self._home.environment_lock(name)
        if shared is None and not lock.take(wait=wait):
            self.taken[name] = time.time() + _LOOK_AGAIN
            return False
        self._held[step.name] = name, lock
        self.taken.pop(name, None)
        return True

    def let_go(self, name: str) -> None:
        """A step is over; the last one of an environment gives it back."""
        _, lock = self._held.pop(name, (None, None))
        if lock is not None and all(lock is not other for _, other in self._held.values()):
            lock.release()
