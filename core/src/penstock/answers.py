"""What a plugin answered, checked against its spec, and the operations on a target."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from penstock.artifacts import Store
from penstock.errors import PenstockError, PluginError, StepFailed
from penstock.evidence import Reference
from penstock.findings import ScanReport
from penstock.model import (
    Approval,
    Artifact,
    Pending,
    Publication,
    Revision,
    Signature,
    TestCase,
    TestReport,
    Tool,
    Verification,
)
from penstock.plan import PlanStep
from penstock.plugins import HOOK_OF
from penstock.request import Request, Response
from penstock.secrets import masked
from penstock.step import Step
from penstock.target import Health, Job, Target, TargetState
from penstock.tries import Try

_NOTES = 10
_ANSWERS: dict[str, type | tuple[type, ...]] = {
    "source": Revision,
    "test": TestReport,
    "scan": ScanReport,
    "verify": Verification,
    "approve": (Approval, Pending),
}
_LIST_ANSWERS: dict[str, type] = {
    "build": Artifact,
    "sign": Signature,
    "publish": Publication,
    "deploy": Target,
}


def checked(step: PlanStep, answer: object) -> Any:
    """A phase hook's answer. Raises PluginError if it is not of the type that its spec says."""
    item = _LIST_ANSWERS.get(step.phase)
    if item is not None:
        if isinstance(answer, list | tuple) and all(isinstance(entry, item) for entry in answer):
            return [entry if item is Target else _whole(step, entry) for entry in answer]
        wanted = f"a list of {item.__name__}"
    else:
        right = _ANSWERS[step.phase]
        if isinstance(answer, right):
            return _whole(step, answer)
        wanted = "Approval or Pending" if isinstance(right, tuple) else right.__name__
    raise PluginError(
        f'the plugin "{step.uses}" returned {type(answer).__name__} from {HOOK_OF[step.phase]}, '
        f"which must return {wanted}"
    )


def _whole(step: PlanStep, value: Any) -> Any:
    """The value, checked once more: one that was made past its own checks would be judged by chance."""
    try:
        return type(value).model_validate(value.model_dump(warnings=False))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        what = f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].lower()}"
        raise PluginError(
            f'the plugin "{step.uses}" returned a {type(value).__name__} from {HOOK_OF[step.phase]} that '
            f"does not hold what it must: {what}"
        ) from None


def get_ready() -> None:
    """Have pydantic make, while nobody waits, what it would make once the first of these is needed."""
    for model in (TestCase, TestReport, Tool, Try, Reference):
        model.model_rebuild()


def the_one_asked_for(plan_step: PlanStep, asked: Revision, taken: Revision) -> Revision:
    """The revision that was taken. Raises PluginError where the run is about another."""
    if asked.commit is not None and taken.commit != asked.commit:
        raise PluginError(
            f'the run is about commit {asked.short}, and the plugin "{plan_step.uses}" took {taken.short}: '
            "it can't take the one that is asked for"
        )
    return taken


def snapshot_of(revision: Revision, digest: str) -> Response:
    """What a source step answers whose files have been kept."""
    found = revision.model_copy(update={"snapshot": digest, "notes": ()})
    return Response(
        outcome="passed",
        data={
            "revision": found.model_dump(mode="json"),
            "summary": f"snapshot of {found.short}",
            "notes": list(revision.notes[:_NOTES]),
        },
    )


def all_handed(step: PlanStep, published: Sequence[Publication], artifacts: Sequence[Artifact]) -> None:
    """Raises PluginError where a publish step says that it published what no step before it has built."""
    known = {digest for artifact in artifacts for digest in (artifact.digest, *artifact.digests.values())}
    for each in published:
        if each.artifact not in known:
            raise PluginError(
                f'the plugin "{step.uses}" says that it published {each.artifact}, which is none of the '
                "artifacts that the step was handed"
            )


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


def keep_matching(patterns: Iterable[str], step: Step) -> list[Artifact]:
    """Keep what a step left that matches the section's `artifacts`. Raises StepFailed where nothing does."""
    kept = []
    for pattern in patterns:
        matching = sorted(step.workspace.glob(pattern))
        found = [path for path in matching if not path.is_symlink()]
        if not found:
            links = "nothing but symbolic links" if matching else "nothing"
            raise StepFailed(f'artifacts: {links} matches "{pattern}" in the workspace after the step')
        for path in found:
            if not path.resolve().is_relative_to(step.workspace.resolve()):
                raise StepFailed(
                    f'artifacts: "{path.relative_to(step.workspace)}" leads out of the workspace, through a '
                    "symbolic link"
                )
        kept += [step.keep(path, "directory" if path.is_dir() else _kind(path)) for path in found]
    return kept


def sbom_of(result: object, store: Store) -> dict[str, JsonValue] | None:
    """The bill of materials that a scan made, if it made one."""
    if not isinstance(result, ScanReport) or result.sbom is None:
        return None
    found: dict[str, JsonValue] = json.loads(store.read(result.sbom.digest))
    return found


def _kind(path: Path) -> str:
    if path.suffix == ".whl":
        return "wheel"
    return "sdist" if path.name.endswith(".tar.gz") and "-" in path.name else "file"


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
