"""One request in, one result out: calls one hook of one plugin, in a private workspace.

All that a plugin may do wrong ends here as a response that says so. What the worker knows, it knows from
the request: the same request can be worked on by any worker.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue, SecretStr

from penstock import __version__, evidence, gates, process, summary
from penstock.artifacts import remove
from penstock.errors import PenstockError, PluginError, StepCancelled, StepFailed, StepRefused
from penstock.evidence import Circumstances, Reference
from penstock.home import Home, Lock
from penstock.model import (
    Approval,
    Artifact,
    Health,
    Pending,
    Publication,
    Refusal,
    Revision,
    ScanReport,
    Signature,
    Target,
    TargetState,
    TestReport,
    Tool,
    Verification,
)
from penstock.plan import PlanStep
from penstock.plugins import HOOK_OF, Plugins
from penstock.proof import check_bytes, check_reference
from penstock.request import Request, Response
from penstock.secrets import resolve
from penstock.step import Places, Step, StepInfo
from penstock.workspace import Workspace

_ANSWERS: dict[str, type] = {
    "source": Revision,
    "test": TestReport,
    "scan": ScanReport,
    "verify": Verification,
}
_LIST_ANSWERS: dict[str, type] = {
    "build": Artifact,
    "sign": Signature,
    "publish": Publication,
    "deploy": Target,
}


@dataclass
class Worker:
    """Works on requests, one after another."""

    project: Path
    plugins: Plugins
    home: Home
    on_progress: Callable[[int, int, str], None] = lambda *_: None
    _workspace: Workspace | None = None
    _lock: Lock | None = None
    detached: set[int] = field(default_factory=set)
    """The services that steps have started here, which outlive them."""

    def handle(self, request: Request) -> Response:
        """Do what the request says. Never raises for what a plugin does."""
        step: Step | None = None
        try:
            step = self._step(request)
            return getattr(self, f"_do_{request.kind}")(request, step)  # type: ignore[no-any-return]  # each returns a Response
        except StepCancelled as error:
            return Response(outcome="cancelled", reason=str(error))
        except StepRefused as error:
            return Response(outcome="refused", reason=str(error))
        except StepFailed as error:
            return Response(outcome="failed", reason=str(error))
        except PluginError as error:
            return Response(outcome="error", reason=str(error))
        except PenstockError as error:
            return Response(outcome="failed", reason=str(error))
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a plugin's fault is a result too
            return self._fault(request, step, error)
        finally:
            if step:
                self.detached.update(step.detached)
                step.close()
            process.end_descendants(spare=self.detached)

    def _fault(self, request: Request, step: Step | None, error: BaseException) -> Response:
        if step:
            step.log(traceback.format_exc())
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            what = f"{error.strerror}" + (f": {error.filename}" if error.filename else "")
        return Response(
            outcome="error",
            reason=f'the plugin "{request.step.uses}" failed: {what}. '
            f"The whole story: penstock logs {request.info.run} {request.step.name}",
        )

    # --- the kinds of request ---

    def _do_hook(self, request: Request, step: Step) -> Response:
        started = time.time()
        plan_step = request.step
        more: dict[str, Any] = {}
        if plan_step.phase == "sign":
            more["statements"] = [self.home.store.read(entry.statement) for entry in request.evidence]
        result = self._call(plan_step, HOOK_OF[plan_step.phase], step=step, **more)
        result = self._checked(plan_step, result)
        if isinstance(result, Pending):
            return Response(outcome="pending", reason=result.reason)
        if isinstance(result, Approval):
            return Response(outcome="passed", data={"approval": result.model_dump(mode="json")})
        if isinstance(result, Revision):
            return self._keep_snapshot(result, step)
        if plan_step.phase == "sign":
            return self._signed(request, result)
        kept = self._keep_globs(plan_step, step)
        if plan_step.phase == "build":
            result = [*result, *kept]
        verdict = gates.judge(plan_step, result)
        data = summary.of(plan_step, result) | {
            "artifacts": [a.model_dump(mode="json") for a in (result if plan_step.phase == "build" else kept)]
        }
        if verdict:
            return Response(outcome=verdict[0], reason=verdict[1], data=data)  # type: ignore[arg-type]  # failed or refused
        about = result if plan_step.phase == "build" else request.info.artifacts
        made = evidence.statements(
            plan_step, result, about, self._circumstances(request, started), self._sbom(result)
        )
        data["evidence"] = self._record(request, made)
        return Response(outcome="passed", data=data)

    def _do_admit(self, request: Request, step: Step) -> Response:
        release = request.release
        assert release is not None
        checked = [self._check(request, entry) for entry in request.evidence]
        refusals: list[Refusal] = []
        for artifact in release.artifacts:
            try:
                self._check_bytes(artifact)
            except StepRefused as error:
                refusals.append(
                    Refusal(rule="same bytes", reason=str(error), way_out="Build it again: penstock run")
                )
        digests = [artifact.digest for artifact in release.artifacts]
        refusals += gates.admit(request.step, digests, checked, request.info.plan, time.time())
        refusals += [
            answer
            for answer in self.plugins.ask_all("penstock_admit", step=step, evidence=checked)
            if answer is not None
        ]
        if refusals:
            return Response(outcome="refused", reason="; ".join(str(refusal) for refusal in refusals))
        targets = self._targets(request, step)
        return Response(
            outcome="passed",
            data={"targets": [target.id for target in targets], "release": release.model_dump(mode="json")},
        )

    def _do_target(self, request: Request, step: Step) -> Response:
        found = [target for target in self._targets(request, step) if target.id == request.target]
        if not found:
            raise StepFailed(f"the target {request.target} is gone: the plugin does not name it any more")
        return Response(outcome="passed", data=_operate(found[0], request, step))

    def _do_status(self, request: Request, step: Step) -> Response:
        found = []
        for target in self._targets(request, step):
            state, health = target.observe(step), target.probe(step)
            found.append(
                {
                    "target": target.id,
                    "release": state.release,
                    "health": health.status,
                    "detail": step.mask(health.detail),
                    "data": state.data,
                }
            )
        return Response(outcome="passed", data={"status": found})

    def _do_attest(self, request: Request, step: Step) -> Response:
        assert request.release is not None
        now = self._circumstances(request, time.time())
        made = [evidence.deployment(request.step, request.release, request.targets, now)]
        return Response(outcome="passed", data={"evidence": self._record(request, made)})

    def _do_approve(self, request: Request, step: Step) -> Response:
        given = request.approval
        assert given is not None
        made = [evidence.approval(given, request.info.artifacts, self._circumstances(request, time.time()))]
        references = self._record(request, made)
        signers = [signer for reference in references for signer in reference["signers"]]
        approval = given.model_copy(update={"proved": bool(signers)})
        return Response(
            outcome="passed",
            data={
                "approval": approval.model_dump(mode="json"),
                "evidence": references,
                "identities": [given.by, *signers],
            },
        )

    # --- parts ---

    def _step(self, request: Request) -> Step:
        workspace = self._own_workspace()
        remove(workspace.root / "inbox")
        info = request.info
        if request.step.phase == "source":
            files = workspace.empty()
        elif info.revision.snapshot:
            files = workspace.prepare(info.revision.snapshot)
        else:
            files = workspace.empty()
        return self._make_step(info, request.step, files, workspace)

    def _make_step(self, info: StepInfo, plan_step: PlanStep, files: Path, workspace: Workspace) -> Step:
        places = Places(
            workspace=files,
            tmp=workspace.tmp,
            cache=self.home.cache(plan_step.uses or "core"),
            log=self.home.log(info.run, plan_step.name, info.attempt),
            inbox=workspace.root / "inbox",
            project=self.project,
        )
        return Step(
            info, places, self.home.store, find_secret=self._find_secret, on_progress=self.on_progress
        )

    def _own_workspace(self) -> Workspace:
        number = 0
        while self._workspace is None:
            root = self.home.workspaces / str(number)
            lock = Lock(root / "lock")
            if lock.take():
                self._lock, self._workspace = lock, Workspace(root, self.home.store)
            number += 1
        return self._workspace

    def _find_secret(self, reference: str) -> str:
        def ask(reference: str) -> str | None:
            answer = self.plugins.ask_all("penstock_secret", reference=reference)[0]
            return answer.get_secret_value() if isinstance(answer, SecretStr) else None

        return resolve(reference, ask)

    def _call(self, plan_step: PlanStep, hook: str, **arguments: Any) -> Any:
        name = plan_step.uses
        if name is None or name not in self.plugins.modules:
            broken = self.plugins.broken.get(name or "")
            raise PluginError(str(broken) if broken else f'the plugin "{name}" is not enabled')
        if not self.plugins.has(name, hook):
            raise PluginError(f'the plugin "{name}" does not implement {hook}')
        model = self.plugins.settings_model(name, hook)
        settings = model.model_validate(plan_step.settings)
        return self.plugins.call(name, hook, settings=settings, **arguments)

    def _checked(self, plan_step: PlanStep, result: object) -> Any:
        """The hook's answer, if it is of the type that its spec says."""
        phase = plan_step.phase
        if phase == "approve":
            right: type | tuple[type, ...] = (Approval, Pending)
        else:
            right = _ANSWERS.get(phase, object)
        item = _LIST_ANSWERS.get(phase)
        good = isinstance(result, right)
        if item is not None:
            good = isinstance(result, list | tuple) and all(isinstance(entry, item) for entry in result)
        if good:
            return list(result) if item else result  # type: ignore[call-overload]  # a sequence, as just checked
        wanted = f"a list of {item.__name__}" if item else getattr(right, "__name__", "Approval or Pending")
        raise PluginError(
            f'the plugin "{plan_step.uses}" returned {type(result).__name__} from '
            f"{HOOK_OF[phase]}, which must return {wanted}"
        )

    def _keep_snapshot(self, revision: Revision, step: Step) -> Response:
        digest, _ = self.home.store.add_tree(step.workspace)
        found = revision.model_copy(update={"snapshot": digest})
        notes = [f"not committed, left out: {name}" for name in found.left_out[:5]]
        if len(found.left_out) > 5:
            notes.append(f"and {len(found.left_out) - 5} more")
        return Response(
            outcome="passed",
            data={
                "revision": found.model_dump(mode="json"),
                "summary": f"snapshot of {found.short}",
                "notes": notes,
            },
        )

    def _keep_globs(self, plan_step: PlanStep, step: Step) -> list[Artifact]:
        kept = []
        for pattern in plan_step.keys.artifacts:
            found = sorted(path for path in step.workspace.glob(pattern) if not path.is_symlink())
            if not found:
                raise StepFailed(f'artifacts: nothing matches "{pattern}" in the workspace after the step')
            kept += [step.keep(path, "directory" if path.is_dir() else _kind(path)) for path in found]
        return kept

    def _signed(self, request: Request, signatures: Sequence[Signature]) -> Response:
        references = self._with_bundles(request.evidence, signatures)
        signers = sorted({signature.signer for signature in signatures})
        return Response(
            outcome="passed",
            data={
                "evidence": references,
                "summary": f"{len(signatures)} statements, {', '.join(signers) or 'nobody'}",
            },
        )

    def _with_bundles(
        self, references: Sequence[Reference], signatures: Sequence[Signature]
    ) -> list[dict[str, Any]]:
        if [s.statement for s in signatures] != [r.statement for r in references]:
            raise PluginError("the sign plugin did not sign each statement that it was handed, in order")
        return [
            reference.model_copy(
                update={
                    "bundles": (*reference.bundles, self.home.store.add_bytes(signature.bundle.encode())),
                    "signers": (*reference.signers, signature.signer),
                }
            ).model_dump(mode="json")
            for reference, signature in zip(references, signatures, strict=True)
        ]

    def _record(self, request: Request, made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put statements into the store, signed where the pipeline signs by now."""
        raw = [evidence.encode(statement) for statement in made]
        references = [
            Reference(
                step=request.step.name,
                predicate_type=statement["predicateType"],
                statement=self.home.store.add_bytes(data),
            )
            for statement, data in zip(made, raw, strict=True)
        ]
        signer = request.signer
        if signer is None or not raw:
            return [reference.model_dump(mode="json") for reference in references]
        info = request.info.model_copy(
            update={"secrets": signer.keys.secrets, "env": signer.keys.env, "name": request.step.name}
        )
        workspace = self._own_workspace()
        step = self._make_step(info, request.step, workspace.files, workspace)
        try:
            signatures = self._call(signer, "penstock_sign", step=step, statements=raw)
        finally:
            step.close()
        return self._with_bundles(references, self._checked(signer, signatures))

    def _check(self, request: Request, reference: Reference) -> Any:
        return check_reference(self.home, self.plugins, request.trust, reference)[0]

    def _check_bytes(self, artifact: Artifact) -> None:
        check_bytes(self.home, artifact)

    def _targets(self, request: Request, step: Step) -> list[Target]:
        targets: list[Target] = self._checked(
            request.step, self._call(request.step, "penstock_targets", step=step)
        )
        names = [target.id for target in targets]
        if not names:
            raise StepFailed("there is no target to deploy to")
        twice = (
            next((name for name in names if names.count(name) > 1), None)
            if len(set(names)) < len(names)
            else None
        )
        if twice:
            raise PluginError(f"the plugin names the target {twice} twice")
        return targets

    def _sbom(self, result: object) -> dict[str, JsonValue] | None:
        if not isinstance(result, ScanReport) or result.sbom is None:
            return None
        import json

        found: dict[str, JsonValue] = json.loads(self.home.store.read(result.sbom.digest))
        return found

    def _circumstances(self, request: Request, started: float) -> Circumstances:
        return Circumstances(
            pipeline=request.pipeline,
            run=request.info.run,
            plan=request.info.plan,
            config=request.config,
            version=__version__,
            plugins=request.plugins,
            tools=self._tools(request.step),
            revision=request.info.revision,
            started=started,
            finished=time.time(),
        )

    def _tools(self, plan_step: PlanStep) -> tuple[Tool, ...]:
        if plan_step.uses is None or not self.plugins.has(plan_step.uses, "penstock_tools"):
            return ()
        return tuple(self._call(plan_step, "penstock_tools") or ())


def _operate(target: Target, request: Request, step: Step) -> dict[str, Any]:
    if request.op == "observe":
        state = target.observe(step)
        if not isinstance(state, TargetState):
            raise PluginError(f"observe of {target.id} returned {type(state).__name__}, not TargetState")
        return {"state": state.model_dump(mode="json")}
    if request.op == "apply":
        assert request.release is not None
        target.apply(request.release, step)
        return {}
    if request.op == "probe":
        health = target.probe(step)
        if not isinstance(health, Health):
            raise PluginError(f"probe of {target.id} returned {type(health).__name__}, not Health")
        return {"health": health.status, "detail": step.mask(health.detail)}
    target.restore(TargetState.model_validate(request.before or {}), step)
    return {}


def _kind(path: Path) -> str:
    if path.suffix == ".whl":
        return "wheel"
    return "sdist" if path.name.endswith(".tar.gz") and "-" in path.name else "file"
