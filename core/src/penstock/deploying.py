"""What a worker does about a deployment: the targets and jobs that a plugin names, and operations on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from penstock.answers import all_of
from penstock.errors import PenstockError, PluginError, StepFailed
from penstock.plugins import Plugins
from penstock.request import Request
from penstock.secrets import masked
from penstock.step import Step
from penstock.target import Health, Job, Target, TargetState


class Deployment:
    """What one request asks of a deploy step's plugin."""

    def __init__(self, plugins: Plugins, request: Request, step: Step, ask: Callable[[str], Any]) -> None:
        self._plugins = plugins
        self._request = request
        self._step = step
        self._ask = ask
        """Calls a hook of the plugin."""

    def targets(self) -> list[Target]:
        """The targets that the plugin names."""
        return all_different(all_of(Target, self._request.step, self._ask("penstock_targets")))

    def jobs(self) -> list[Job]:
        """What comes with the rollout; nothing where a release returns that ran there before."""
        uses = self._request.step.uses
        if self._request.returning or not self._plugins.has(uses or "", "penstock_jobs"):
            return []
        return all_jobs(uses, self._ask("penstock_jobs"))

    def begin(self) -> dict[str, Any]:
        """What a rollout begins with."""
        targets = self.targets()
        return {
            "targets": [target.id for target in targets],
            "shifting": [target.id for target in targets if target.shifts],
            "jobs": {job.id: job.when for job in self.jobs()},
        }

    def operate(self) -> dict[str, Any]:
        """Call the method of a target that the request names; what it leads to."""
        return operate(the_target(self.targets(), self._request), self._request, self._step)

    def run_job(self) -> None:
        """Run the job that the request names."""
        assert self._request.release is not None
        the_job(self.jobs(), self._request).run(self._request.release, self._step)

    def status(self) -> dict[str, Any]:
        """What runs on each target now, and with which jobs it would be changed."""
        targets, probe = self.targets(), self._request.op != "observe"
        found = [status_of(target, self._step, probe=probe) for target in targets]
        shifting = [target.id for target in targets if target.shifts]
        return {"status": found, "shifting": shifting, "jobs": {job.id: job.when for job in self.jobs()}}

    def logs(self) -> dict[str, Any]:
        """Pass on what a target's service writes."""
        return read_logs(self.targets(), self._request, self._step)


def operate(target: Target, request: Request, step: Step) -> dict[str, Any]:
    """Call the method of a target that the request names; what it leads to."""
    if request.op == "observe":
        return {"state": _observed(target, step)}
    if request.op == "apply":
        assert request.release is not None
        target.apply(request.release, step)
        return {}
    if request.op == "shift":
        target.shift(request.share, step)
        return {}
    if request.op == "probe":
        health = target.probe(step)
        if not isinstance(health, Health):
            raise PluginError(f"probe of {target.id} returned {type(health).__name__}, not Health")
        return {"health": health.status, "detail": health.detail}
    target.restore(TargetState.model_validate(request.before or {}), step)
    return {}


def _observed(target: Target, step: Step) -> dict[str, Any]:
    state = target.observe(step)
    if not isinstance(state, TargetState):
        raise PluginError(f"observe of {target.id} returned {type(state).__name__}, not TargetState")
    data = state.model_dump(mode="json")
    if masked(data, step.mask) != data:
        raise PluginError(
            f"the state of {target.id} holds a secret of {step.name}: it would lie in the journal, in clear. "
            "Keep what names it instead"
        )
    return data


def all_jobs(plugin: str | None, answer: object) -> list[Job]:
    """The jobs of a rollout, which can be told apart. Raises PluginError where they can't."""
    jobs = list(answer) if isinstance(answer, list | tuple) else None
    if jobs is None or not all(isinstance(job, Job) for job in jobs):
        raise PluginError(f'the plugin "{plugin}" must return a list of Job from penstock_jobs')
    ids = [job.id for job in jobs]
    for name in ids:
        if ids.count(name) > 1:
            raise PluginError(f"the plugin names the job {name} twice")
    return jobs


def all_different(targets: list[Target]) -> list[Target]:
    """Targets that can be told apart. Raises StepFailed if there is none, PluginError if two have one id."""
    if not targets:
        raise StepFailed("there is no target to deploy to")
    seen: set[str] = set()
    for target in targets:
        if target.id in seen:
            raise PluginError(f"the plugin names the target {target.id} twice")
        seen.add(target.id)
    return targets


def the_target(targets: Iterable[Target], request: Request) -> Target:
    """The target that a request is about. Raises StepFailed where the plugin does not name it any more."""
    for target in targets:
        if target.id == request.target:
            return target
    raise StepFailed(f"the target {request.target} is gone: the plugin does not name it any more")


def the_job(jobs: Iterable[Job], request: Request) -> Job:
    """The job that a request is about. Raises StepFailed where the plugin does not name it any more."""
    for job in jobs:
        if job.id == request.target:
            return job
    raise StepFailed(f"the job {request.target} is gone: the plugin does not name it any more")


def read_logs(targets: Sequence[Target], request: Request, step: Step) -> dict[str, Any]:
    """Pass on what a target's service writes, a line a message; without a target, say which there are."""
    if request.target is None:
        return {"targets": [target.id for target in targets]}
    target, reading = the_target(targets, request), request.reading
    assert reading is not None
    for line in target.logs(step, since=reading.since, tail=reading.tail, follow=reading.follow):
        step.progress(0, 0, line)
    return {}


def status_of(target: Target, step: Step, *, probe: bool = True) -> dict[str, Any]:
    """What runs on a target now, and with `probe`, how it is. One that can't be asked says so."""
    found: dict[str, Any] = {"target": target.id, "release": None, "health": "unknown", "data": {}}
    try:
        state = target.observe(step)
        found |= {"release": state.release, "detail": "", "data": state.data, "seen": True}
        if probe:
            health = target.probe(step)
            found |= {"health": health.status, "detail": step.mask(health.detail)}
    except PenstockError as error:
        found |= {"detail": step.mask(str(error)), "seen": "seen" in found}
    return found
