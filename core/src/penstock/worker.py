"""One request in, one result out: calls one hook of one plugin, in a private workspace.

All that a plugin may do wrong ends here as a response that says so. What the worker knows, it knows from
the request: the same request can be worked on by any worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import admission, evidence, gates, process, processes, reaping, serving, summary, tools
from penstock.answers import (
    all_handed,
    checked,
    keep_matching,
    sbom_of,
    snapshot_of,
    the_one_asked_for,
)
from penstock.cachekey import observed
from penstock.errors import PluginError, of_file
from penstock.evidence import Circumstances, Reference
from penstock.home import Home, Lock
from penstock.model import Approval, Evidence, Pending, Revision, Signature, sha256_of
from penstock.outcomes import LONGEST_REASON, response_to
from penstock.plan import PlanStep
from penstock.plugins import HOOK_OF, Plugins
from penstock.printing import printing
from penstock.proof import check_reference, with_bundles
from penstock.provisions import find, launcher_of, ran_inside
from penstock.reported import looked_at
from penstock.request import SMALL, WHOLE, Request, Response, circumstances, names_in
from penstock.secrets import masked, plain
from penstock.step import Places, Step
from penstock.stepinfo import StepInfo
from penstock.workspace import Workspace, claimed

if TYPE_CHECKING:
    from penstock.deploying import Deployment


@dataclass(eq=False, repr=False)
class Worker:
    """Works on requests, one after another."""

    project: Path
    plugins: Plugins
    home: Home
    on_progress: Callable[[int, int, str], None] = lambda *_: None
    on_detach: Callable[[int], None] = lambda _: None
    may_begin: Callable[[], None] = lambda: None
    """Returns once what the request at hand asks for may be done."""
    detached: set[int] = field(default_factory=set)
    """The services that steps have started here, which outlive them."""
    _workspace: Workspace | None = None
    _lock: Lock | None = None
    _surroundings: process.Surroundings | None = None
    _serving: serving.Serving | None = None
    _steps: list[Step] = field(default_factory=list)
    """What the request at hand has opened."""
    _statements: dict[str, str] = field(default_factory=dict)
    """What it leaves as evidence, by digest: the event that names it brings it to the journal."""

    def handle(self, request: Request) -> Response:
        """Do what the request says. Never raises for what a plugin does."""
        if self.detached:  # numbers are used again
            self.detached &= processes.sessions()
        self._surroundings = self._surroundings or process.Surroundings()
        mark = f"{self.home.run(request.info.run)}:{os.getpid()}:"
        if os.environ.get(processes.MARK) != mark:  # for what a plugin starts without `step.run`
            os.environ[processes.MARK] = mark
        with self._surroundings:
            return self._handled(request)

    def _handled(self, request: Request) -> Response:
        if request.kind in ("tools", "reap"):
            return self._aside(request)
        step: Step | None = None
        try:
            step = self._prepared(request)
            self.may_begin()
            with printing(step, self._end_processes):
                response = self._do(request, step)
        except BaseException as error:  # a plugin's fault is a result, too
            response = response_to(error, request, step)
        finally:
            self._end_processes()
        with_secrets = any(step.has_secrets for step in self._steps)
        response = self._without_secrets(response, request)
        if self._workspace:
            self._workspace.tidy(wholly=with_secrets)
        return response

    def _aside(self, request: Request) -> Response:
        """What needs no step of its own."""
        try:
            self.may_begin()
            if request.kind == "reap":
                reaping.reap(self.plugins, self.home, request)
                return Response(outcome="passed")
            return Response(outcome="passed", data={"tools": tools.tell(self.plugins, request.about)})
        except BaseException as error:
            return response_to(error, request, None)
        finally:
            self._end_processes()

    def _do(self, request: Request, step: Step) -> Response:
        process_id = os.getpid()
        try:
            response: Response = getattr(self, f"_do_{request.kind}")(request, step)
        finally:
            if os.getpid() != process_id:  # a copy that the plugin made: the answer is not its business
                os._exit(0)
            step.leave()
        return response

    def _end_processes(self) -> None:
        process.end_descendants(spare=self.detached)

    def _without_secrets(self, response: Response, request: Request) -> Response:
        """The response as it may be put on record, and nothing left open."""
        untidy = self._serving is not None and self._serving.may_have_left(response, self._steps)
        reason, data = plain(response.reason), response.data
        for step in self._steps:
            reason = step.mask(reason)
            if step.has_secrets:
                data = masked(data, step.mask, spare=names_in(request))
            step.close()
        if self._statements:
            data = {**data, "statements": self._statements}
        self._steps, self._statements, self._serving = [], {}, None
        if len(reason) > LONGEST_REASON:
            reason = reason[:LONGEST_REASON] + "…"
        return Response(
            outcome=response.outcome,
            reason=reason,
            data=data,
            cause=response.cause,
            untidy=untidy or response.untidy,
        )

    def _prepared(self, request: Request) -> Step:
        try:
            return self._step(request)
        except OSError as error:
            raise PluginError(f"the step can't begin: {of_file(error)}") from None

    # --- the kinds of request ---

    def _do_hook(self, request: Request, step: Step) -> Response:
        started = time.time()
        plan_step = request.step
        more: dict[str, Any] = {}
        if plan_step.phase == "sign":
            more["statements"] = [self.home.store.read(entry.statement) for entry in request.evidence]
        if plan_step.phase == "publish":
            more["evidence"] = self._on_record(request)
        result = self._answer(plan_step, step, **more)
        ran_inside(request.info, step)
        if isinstance(result, Pending):
            return Response(outcome="pending", reason=result.reason)
        if isinstance(result, Approval):
            return self._approved(request, result)
        if isinstance(result, Revision):
            self._end_processes()  # nobody changes the files any more
            taken = the_one_asked_for(plan_step, step.revision, result)
            return snapshot_of(taken, self._own_workspace().keep())
        if plan_step.phase == "sign":
            return self._signed(request, result)
        if plan_step.phase == "publish":
            all_handed(plan_step, result, request.info.artifacts)
        kept = keep_matching(plan_step.keys.artifacts, step)
        if plan_step.phase == "build":
            result = [*result, *kept]
        result, more = looked_at(result, request, self.home, step, time.time())
        verdict = gates.judge(plan_step, result)
        data = summary.of(plan_step, result, more.pop("remarks", ())) | more
        data["artifacts"] = [
            a.model_dump(mode="json") for a in (result if plan_step.phase == "build" else kept)
        ]
        if verdict:
            return Response(outcome=verdict[0], reason=verdict[1], data=data)  # type: ignore[arg-type]  # failed or refused
        about = result if plan_step.phase == "build" else request.info.artifacts
        circumstances = self._circumstances(request, started, step)
        made = evidence.statements(plan_step, result, about, circumstances, sbom_of(result, self.home.store))
        data["evidence"] = self._record(request, made)
        data |= observed(plan_step, serving.used(step, circumstances.tools), asked=step.asked_for_revision)
        return Response(outcome="passed", data=data)

    def _do_admit(self, request: Request, step: Step) -> Response:
        release = request.release
        assert release is not None
        on_record = self._on_record(request)
        refusals = admission.same_bytes(self.home, release.artifacts)
        digests = [artifact.digest for artifact in release.artifacts]
        now = time.time()
        refusals += gates.admit(request.step, digests, on_record, request.info.plan, now, request.skipped)
        refusals += [*gates.ambiguous(release.artifacts), *gates.unasked(request.broken)]
        refusals += admission.refusals(self.plugins, step, on_record)
        if refusals:
            return Response(outcome="refused", reason="; ".join(str(refusal) for refusal in refusals))
        begun = self._deployment(request, step).begin()
        return Response(outcome="passed", data={**begun, "release": release.model_dump(mode="json")})

    def _do_target(self, request: Request, step: Step) -> Response:
        return Response(outcome="passed", data=self._deployment(request, step).operate())

    def _do_job(self, request: Request, step: Step) -> Response:
        self._deployment(request, step).run_job()
        return Response(outcome="passed")

    def _do_judge(self, request: Request, step: Step) -> Response:
        outcome, reason = gates.judge(request.step, self._answer(request.step, step)) or ("passed", "")
        return Response(outcome=outcome, reason=reason)  # type: ignore[arg-type]  # failed or refused

    def _do_status(self, request: Request, step: Step) -> Response:
        return Response(outcome="passed", data=self._deployment(request, step).status())

    def _do_logs(self, request: Request, step: Step) -> Response:
        return Response(outcome="passed", data=self._deployment(request, step).logs())

    def _do_attest(self, request: Request, step: Step) -> Response:
        assert request.release is not None
        now = self._circumstances(request, time.time())
        made = [evidence.deployment(request.step, request.release, request.targets, now)]
        return Response(outcome="passed", data={"evidence": self._record(request, made)})

    def _do_seal(self, request: Request, step: Step) -> Response:
        assert request.head is not None
        now = self._circumstances(request, time.time())
        made = [evidence.journal(request.head.events, request.head.digest, now)]
        return Response(outcome="passed", data={"evidence": self._record(request, made)})

    def _do_approve(self, request: Request, step: Step) -> Response:
        assert request.approval is not None
        return self._approved(request, request.approval, by_hand=True)

    def _approved(self, request: Request, given: Approval, *, by_hand: bool = False) -> Response:
        """Put a person's word on record; the key of who gives it here proves who that is."""
        made = [evidence.approval(given, request.info.artifacts, self._circumstances(request, time.time()))]
        references = self._record(request, made)
        signers = [signer for reference in references for signer in reference["signers"] if by_hand]
        approval = given.model_copy(update={"proved": given.proved or bool(signers)})
        return Response(
            outcome="passed",
            data={
                "approval": approval.model_dump(mode="json"),
                "evidence": references,
                "identities": [given.by, *signers],
            },
        )

    def _step(self, request: Request) -> Step:
        workspace = self._own_workspace()
        info = request.info
        if request.step.phase == "source":
            files = workspace.empty()
        elif info.revision.snapshot:
            files = workspace.prepare(info.revision.snapshot)
        else:
            files = workspace.empty()
        step = self._make_step(info, request.step, files, workspace)

        make = partial(self._make_step, files=files, workspace=workspace)
        self._serving = serving.Serving(self.plugins, request.step, info, make)
        return step

    def _make_step(self, info: StepInfo, plan_step: PlanStep, files: Path, workspace: Workspace) -> Step:
        places = Places(
            workspace=files,
            tmp=workspace.tmp,
            cache=self.home.cache(plan_step.uses or "core"),
            log=self.home.log(info.run, plan_step.name, info.attempt),
            inbox=workspace.inbox,
            project=self.project,
        )
        step = Step(
            info,
            places,
            self.home.store,
            find_secret=partial(find, self.plugins),
            find_launcher=partial(launcher_of, self.plugins, info),
            on_progress=self.on_progress,
            on_detach=self._on_detach,
            environment=self._surroundings.environment if self._surroundings else lambda: os.environ,
            hides=serving.references(plan_step),
        )
        self._steps.append(step)
        return step

    def _on_detach(self, pid: int) -> None:
        self.detached.add(pid)
        self.on_detach(pid)

    def _own_workspace(self) -> Workspace:
        if self._workspace is None:
            self._lock, self._workspace = claimed(self.home)
        return self._workspace

    def _answer(self, plan_step: PlanStep, step: Step, **more: Any) -> Any:
        """What a step's plugin answers, with the step's services beside it."""
        assert self._serving is not None
        with self._serving.beside(step):
            answer = self._call(plan_step, HOOK_OF[plan_step.phase], step=step, **more)
        return checked(plan_step, answer)

    def _call(self, plan_step: PlanStep, hook: str, **arguments: Any) -> Any:
        name = plan_step.uses
        if name is None or name not in self.plugins.modules:
            broken = self.plugins.broken.get(name or "")
            raise PluginError(str(broken) if broken else f'the plugin "{name}" is not enabled')
        if not self.plugins.has(name, hook):
            raise PluginError(f'the plugin "{name}" does not implement {hook}')
        settings = self.plugins.settings(name, hook, plan_step.settings)
        return self.plugins.call(name, hook, settings=settings, **arguments)

    def _signed(self, request: Request, signatures: Sequence[Signature]) -> Response:
        references = with_bundles(self.home.store, request.evidence, signatures)
        return Response(
            outcome="passed", data={"evidence": references, "summary": summary.signed(signatures)}
        )

    def _record(self, request: Request, made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put statements on record, signed where the pipeline signs by now."""
        for step in self._steps:
            if step.has_secrets:
                made = [masked(statement, step.mask, spare=names_in(request)) for statement in made]
        raw = [evidence.encode(statement) for statement in made]
        references = [
            Reference(
                step=request.step.name,
                predicate_type=statement["predicateType"],
                statement=self._keep_statement(request.kind, data),
            )
            for statement, data in zip(made, raw, strict=True)
        ]
        signer = request.signer
        if signer is None or not raw:
            return [reference.model_dump(mode="json") for reference in references]
        own = {"secrets": signer.keys.secrets, "env": signer.keys.env, "name": request.step.name}
        info = request.info.model_copy(update={**own, "inside": None})
        workspace = self._own_workspace()
        step = self._make_step(info, request.step, workspace.files, workspace)
        with printing(step, self._end_processes):
            signatures = self._call(signer, "penstock_sign", step=step, statements=raw)
        return with_bundles(self.home.store, references, checked(signer, signatures))

    def _keep_statement(self, kind: str, data: bytes) -> str:
        """Have a small statement go on record with its event, and any other into the store; its digest."""
        if kind not in WHOLE or len(data) > SMALL:
            return self.home.store.add_bytes(data)
        digest = sha256_of(data)
        self._statements[digest] = data.decode()
        return digest

    def _on_record(self, request: Request) -> list[Evidence]:
        """The evidence that came with a request, checked."""
        return [check_reference(self.home, self.plugins, request.trust, each)[0] for each in request.evidence]

    def _deployment(self, request: Request, step: Step) -> Deployment:
        from penstock.deploying import Deployment  # most runs deploy nothing

        return Deployment(self.plugins, request, step, partial(self._call, request.step, step=step))

    def _circumstances(self, request: Request, started: float, step: Step | None = None) -> Circumstances:
        services = tuple(step.services.values()) if step else ()
        found = tools.of(self.plugins, request.step)
        inside = step.ran_inside if step else None
        return circumstances(request, found, services, started, time.time(), inside)
