"""What a plugin answered, checked against its spec."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from penstock.artifacts import Store
from penstock.errors import PluginError, StepFailed
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
from penstock.request import Response
from penstock.step import Step
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
}


def checked(step: PlanStep, answer: object) -> Any:
    """A phase hook's answer. Raises PluginError if it is not of the type that its spec says."""
    item = _LIST_ANSWERS.get(step.phase)
    if item is not None:
        return [_whole(step, entry) for entry in all_of(item, step, answer)]
    right = _ANSWERS[step.phase]
    if isinstance(answer, right):
        return _whole(step, answer)
    raise _wrong(step, answer, "Approval or Pending" if isinstance(right, tuple) else right.__name__)


def all_of(item: type, step: PlanStep, answer: object) -> list[Any]:
    """What a phase hook answered as a list. Raises PluginError if it is none, or one of something else."""
    if isinstance(answer, list | tuple) and all(isinstance(entry, item) for entry in answer):
        return list(answer)
    raise _wrong(step, answer, f"a list of {item.__name__}")


def _wrong(step: PlanStep, answer: object, wanted: str) -> PluginError:
    return PluginError(
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
