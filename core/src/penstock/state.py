"""Events → RunState: what has happened so far. Pure, and nothing here decides what comes next.

Folding one event costs by what it changes, not by the size of the plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from penstock.keys import Rollout
from penstock.model import Artifact, Event, Release, Revision
from penstock.plan import Plan
from penstock.stepstate import LETS_ON as LETS_ON
from penstock.stepstate import StepState as StepState
from penstock.stepstate import StepStatus

RunStatus = Literal["running", "waiting", "passed", "failed", "refused", "cancelled"]


class RunState:
    """One run as its events left it."""

    def __init__(self, plan: Plan, run: int) -> None:
        self.plan = plan
        self.run = run
        self.state: RunStatus = "running"
        self.started = 0.0
        self.finished: float | None = None
        self.revision: Revision | None = None
        self.options: dict[str, Any] = {}
        self.steps = {step.name: StepState() for step in plan.steps}
        self.ready: dict[str, None] = {}
        self.running: dict[str, None] = {}
        self.asked: dict[str, None] = {}
        self.left_out: dict[str, bool] = {}
        """The steps that were skipped and let on what waits for them: whether by their own condition, or
        because others were."""
        self.approvals: dict[str, dict[str, Any]] = {}
        self.rejections: dict[str, dict[str, Any]] = {}
        self.cancelled: str | None = None
        self.superseded: list[str] = []
        """The commits that the run stands for beside its own: nothing else was run for them."""
        self.last_event = 0
        self.pruned: float | None = None
        """When `prune` removed what this run left, in seconds since 1970."""
        self.sealed = False
        """Whether the journal's head was signed since the run ended or came to wait."""
        self.given: Release | None = None
        """A release that was there before the run: what a rollback brings back."""
        self._missing = {name: len(needs) for name, needs in plan.waits_for.items()}
        self._handed: dict[str, tuple[Artifact, ...]] = {}

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        self.last_event = event.id
        handler = getattr(self, "_on_" + event.type.replace(".", "_"), None)
        if handler:
            handler(event)

    def end(self, state: RunStatus) -> dict[str, Any]:
        """What there is to say of its end."""
        by = max((step.superseded_by or 0 for step in self.steps.values()), default=0)
        return {"state": state, **({"superseded_by": by} if by and state == "cancelled" else {})}

    def artifacts_for(self, name: str) -> tuple[Artifact, ...]:
        """What a step is handed: the artifacts of all build steps that it waits for, however far back."""
        if self.given:
            return self.given.artifacts
        # Walked without recursion: plans may be thousands of steps deep.
        edges = self.plan.waits_for
        stack = [name]
        while stack:
            node = stack[-1]
            missing = [need for need in edges[node] if need not in self._handed]
            if missing and node not in self._handed:
                stack.extend(missing)
                continue
            stack.pop()
            self._handed.setdefault(node, self._join(edges[node]))
        return self._handed[name]

    def made_for_inside(self, name: str) -> tuple[Artifact, ...]:
        """What the build step has made that a step runs inside of."""
        inside = self.plan.by_name[name].keys.inside
        if inside is None:
            return ()
        return self.given.artifacts if self.given else self.steps[inside.step].artifacts

    def _join(self, needs: tuple[str, ...]) -> tuple[Artifact, ...]:
        # Steps behind one barrier share one tuple: it is looked through once, and not once a step.
        groups = {id(group): group for need in needs if (group := self._handed[need] + self._own(need))}
        if len(groups) < 2:
            return next(iter(groups.values()), ())
        every = (artifact for group in groups.values() for artifact in group)
        return tuple({artifact.digest + artifact.name: artifact for artifact in every}.values())

    def _own(self, name: str) -> tuple[Artifact, ...]:
        step = self.plan.by_name.get(name)
        return self.steps[name].artifacts if step and step.phase == "build" else ()

    # --- events ---

    def _on_run_started(self, event: Event) -> None:
        self.started = event.time
        self.options = event.data
        given = event.data.get("release")
        if event.data.get("revision"):  # it is about this one, whatever is checked out
            self.revision = Revision.model_validate(event.data["revision"])
        if given:
            self.given = Release.model_validate(given)
            self.revision = self.given.revision
        first = [name for name, count in self._missing.items() if count == 0]
        if event.data.get("selected") is not None:
            selected = set(event.data["selected"])
            left = [name for name in self.steps if name not in selected]
            for name in left:
                self._end(name, "skipped", "not asked for in this run")
            for name in left if given else ():
                self._release(name)  # a release that is there already needs nothing of what made it
        for name in first:
            self._free(name)

    def _on_change_superseded(self, event: Event) -> None:
        self.superseded.append(str(event.data["commit"]))

    def _on_run_resumed(self, event: Event) -> None:
        self.state = "running"
        self.finished = None
        for name in list(self.asked):
            rollout = self.steps[name].rollout
            if rollout:
                rollout.cut(event.time)
                if name not in self.approvals and name not in self.rejections:
                    rollout.judge_again()
                    self._take_up(name, event.time)
            elif self.plan.by_name[name].uses is not None:  # its plugin is asked again
                del self.asked[name]
                self.steps[name].state = "pending"
                self.ready[name] = None
        for name in list(self.running):
            step = self.steps[name]
            step.not_before = 0.0
            if step.rollout:
                step.rollout.cut(event.time)
                step.tried_since = event.time
            else:
                step.state, step.attempts = "pending", step.attempts - 1
                del self.running[name]
                self.ready[name] = None

    def _on_condition_held(self, event: Event) -> None:
        self.steps[str(event.step)].holds = True

    def _on_step_started(self, event: Event) -> None:
        name = str(event.step)
        step = self.steps[name]
        self.ready.pop(name, None)
        self.asked.pop(name, None)
        self.running[name] = None
        step.state, step.tried_since, step.attempts = "running", event.time, step.attempts + 1
        step.started = step.started or event.time

    def _on_step_retried(self, event: Event) -> None:
        name = str(event.step)
        step = self.steps[name]
        step.state, step.reason, step.not_before = "pending", event.data["reason"], event.data["not_before"]
        kept: dict[str, Any] = {"attempt": step.attempts}
        kept |= {key: event.data[key] for key in ("reason", "report", "tests") if key in event.data}
        step.retried = (*step.retried, kept)
        self.running.pop(name, None)
        self.ready[name] = None

    def _on_tests_flaky(self, event: Event) -> None:
        step = self.steps[str(event.step)]
        step.flaky = (*step.flaky, *event.data["tests"])

    def _on_step_finished(self, event: Event) -> None:
        name, data = str(event.step), event.data
        step = self.steps[name]
        step.summary = data.get("summary", "")
        step.fault = bool(data.get("fault"))
        step.tests, step.findings = data.get("tests"), data.get("findings")
        step.exempted = bool(data.get("exempted"))
        step.origin = data.get("origin")
        step.superseded_by = data.get("superseded_by")
        step.report = data.get("report")
        step.unmatched = frozenset(data.get("unmatched", ()))
        step.notes = tuple(data.get("notes", ()))
        step.artifacts = tuple(Artifact.model_validate(entry) for entry in data.get("artifacts", ()))
        step.publications = tuple(data.get("publications", ()))
        step.evidence = (*step.evidence, *data.get("evidence", ()))
        began = None if step.origin else step.started  # what was taken over took no time here
        step.seconds = event.time - (began or event.time)
        if data.get("revision"):
            self.revision = Revision.model_validate(data["revision"])
        self._end(name, data["state"], data.get("reason", ""))
        if data["state"] == "skipped":  # on record only where a condition led to it
            self.left_out[name] = "condition" in data
            step.holds = False if self.left_out[name] else None
        lets_on = data["state"] in LETS_ON or name in self.left_out
        if lets_on or self.plan.by_name[name].keys.allow_failure:
            self._release(name)
        else:
            self._block(name)

    def _on_environment_wanted(self, event: Event) -> None:
        step, data = self.steps[str(event.step)], event.data
        if step.state == "pending" and data.get("waits"):
            step.reason = waits_for(data)

    def _on_approval_requested(self, event: Event) -> None:
        name = str(event.step)
        self.ready.pop(name, None)
        self.running.pop(name, None)
        self.asked[name] = None
        step = self.steps[name]
        step.state, step.reason = "waiting", event.data["reason"]
        step.started = step.started or event.time

    def _on_approval_given(self, event: Event) -> None:
        self.approvals[str(event.step)] = event.data
        self.rejections.pop(str(event.step), None)

    def _on_approval_rejected(self, event: Event) -> None:
        self.rejections[str(event.step)] = event.data

    def _on_rollout_began(self, event: Event) -> None:
        from penstock.progress import RolloutState  # most runs deploy nothing

        step = self.steps[str(event.step)]
        step.rollout = RolloutState.begin(
            self._way_of(str(event.step)),
            Release.model_validate(event.data["release"]),
            event.data["targets"],
            event.data.get("shifting", ()),
            event.data.get("jobs"),
        )
        if self.cancelled is not None:
            step.rollout.fail("the run was cancelled")

    def _on_rollout_started(self, event: Event) -> None:
        rollout = self.steps[str(event.step)].rollout
        if rollout:
            data = event.data
            rollout.started(data["target"], data["op"], event.time, data.get("share", 1.0))

    def _on_rollout_ended(self, event: Event) -> None:
        rollout = self.steps[str(event.step)].rollout
        if rollout:
            rollout.ended(event.data["target"], event.data["op"], event.data, event.time)

    def _on_rollout_failed(self, event: Event) -> None:
        rollout = self.steps[str(event.step)].rollout
        if rollout:
            rollout.fail(event.data["reason"])
            self._take_up(str(event.step), event.time)

    def _on_rollout_approved(self, event: Event) -> None:
        step = self.steps[str(event.step)]
        if step.rollout:
            step.rollout.go_on(str(event.data.get("by", "")))
            given = self.approvals.pop(str(event.step), {})
            step.evidence = (*step.evidence, *given.get("evidence", ()))
            self._take_up(str(event.step), event.time)

    def _take_up(self, name: str, now: float) -> None:
        """A rollout that a person was asked about is worked on again."""
        if name in self.asked:
            del self.asked[name]
            self.steps[name].state, self.steps[name].reason = "running", ""
            self.steps[name].tried_since = now
            self.running[name] = None

    def _way_of(self, name: str) -> Rollout:
        """How a step moves its targets. What ran there before needs no trial: it comes without delay."""
        keys = self.plan.by_name[name].keys.rollout
        return keys.model_copy(update={"pause": 0.0, "judge": ()}) if self.given else keys

    def _on_run_cancelled(self, event: Event) -> None:
        self.cancelled = event.data.get("reason", "cancelled")
        for name in (*self.running, *self.asked):
            rollout = self.steps[name].rollout
            if rollout and not rollout.through:  # one that is through stays, and is put on record
                rollout.fail("the run was cancelled")
                self._take_up(name, event.time)

    def _on_run_waiting(self, event: Event) -> None:
        self.state, self.finished, self.sealed = "waiting", event.time, False

    def _on_run_finished(self, event: Event) -> None:
        self.state, self.finished, self.sealed = event.data["state"], event.time, False
        if self.cancelled is not None:
            for name in [name for name, step in self.steps.items() if step.state in ("pending", "waiting")]:
                self._end(name, "cancelled", self.cancelled)

    def _on_run_pruned(self, event: Event) -> None:
        self.pruned = event.time

    def _on_journal_sealed(self, event: Event) -> None:
        self.sealed = True

    # --- the graph ---

    def _end(self, name: str, status: StepStatus, reason: str) -> None:
        step = self.steps[name]
        step.state, step.reason = status, reason
        for group in (self.ready, self.running, self.asked):
            group.pop(name, None)

    def _free(self, name: str) -> None:
        """All that a node waits for is done."""
        if name not in self.steps:
            self._release(name)
        elif self.steps[name].state == "pending":
            self.ready[name] = None

    def _release(self, name: str) -> None:
        queue = [name]
        while queue:
            for dependent in self.plan.dependents[queue.pop()]:
                self._missing[dependent] -= 1
                if self._missing[dependent]:
                    continue
                if dependent in self.steps:
                    self._free(dependent)
                else:
                    queue.append(dependent)

    def _block(self, cause: str) -> None:
        reason = f"{cause} {self.steps[cause].state}"
        queue, seen = [cause], {cause}
        while queue:
            for dependent in self.plan.dependents[queue.pop()]:
                if dependent in seen:
                    continue
                seen.add(dependent)
                step = self.steps.get(dependent)
                if step and step.state != "pending":
                    continue  # it is blocked already, and so is all behind it
                if step:
                    self._end(dependent, "skipped", reason)
                queue.append(dependent)


def waits_for(data: dict[str, Any]) -> str:
    """What a step waits for whose environment is another run's."""
    whom = "another run" if data.get("behind") is None else f"run {data['behind']}"
    return f"waits for {whom}, which deploys to {data['environment']}"


def fold(plan: Plan, run: int, events: Iterable[Event]) -> RunState:
    """The state after all these events."""
    state = RunState(plan, run)
    for event in events:
        state.apply(event)
    return state
