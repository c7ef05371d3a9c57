"""How far one step is, as the events of its run tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.model import Artifact

if TYPE_CHECKING:
    from penstock.progress import RolloutState

StepStatus = Literal[
    "pending", "running", "waiting", "passed", "failed", "refused", "skipped", "cached", "cancelled"
]
LETS_ON = frozenset(("passed", "cached"))
"""The states of a step that let those start that wait for it."""


@dataclass
class StepState:
    """How far one step is."""

    state: StepStatus = "pending"
    attempts: int = 0
    started: float | None = None
    seconds: float = 0.0
    reason: str = ""
    summary: str = ""
    fault: bool = False
    """Whether it was a plugin or the machine that failed."""
    tests: dict[str, int] | None = None
    findings: dict[str, int] | None = None
    exempted: bool = False
    """Whether a finding passed until a day only."""
    superseded_by: int | None = None
    """The newer run that came to its environment while it waited."""
    holds: bool | None = None
    """Whether its condition holds, once it was asked."""
    origin: dict[str, Any] | None = None
    """Where the result of a `cached` step was taken from: at least `run` and `why`."""
    report: str | None = None
    """The digest under which the store has all cases or findings."""
    retried: tuple[dict[str, Any], ...] = ()
    """What is on record of the attempts that were followed by another: `reason`, `report`, `tests`."""
    flaky: tuple[dict[str, Any], ...] = ()
    """What became known of flaky tests in this run."""
    unmatched: frozenset[str] = frozenset()
    """The quarantine entries that no test of its report was named by."""
    notes: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    publications: tuple[dict[str, Any], ...] = ()
    evidence: tuple[dict[str, Any], ...] = ()
    rollout: RolloutState | None = None
    tried_since: float = 0.0
    not_before: float = 0.0
