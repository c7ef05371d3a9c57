"""What a worker is asked and what it answers, and the requests that a run leads to. Pure.

Both travel as JSON: a request can be worked on in another process, or on another machine.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import JsonValue

from penstock import __version__, evidence, gates
from penstock.evidence import Reference
from penstock.inhouse import PluginFile
from penstock.model import Approval, Artifact, Model, Release, Revision, Service, Tool, sha256_of
from penstock.moves import Kind
from penstock.plan import Plan, PlanStep
from penstock.scheduler import Operate
from penstock.state import LETS_ON, RunState
from penstock.stepinfo import StepInfo

SMALL = 8192
"""Bytes of a statement that travels in the event which names it: durable with that, in one go."""
WHOLE = frozenset(("hook", "attest", "approve"))
"""The kinds of request whose response's data goes into an event as it is, with such statements."""


class Head(Model):
    """The newest event of the journal: its number, and its hash in hexadecimal digits."""

    events: int
    digest: str


class Reading(Model):
    """What of a service's output is asked for."""

    since: float | None = None
    tail: int | None = None
    follow: bool = False


class Request(Model):
    """Everything that a worker needs to know for one piece of work."""

    kind: Literal[
        "hook",
        "admit",
        "target",
        "job",
        "judge",
        "attest",
        "approve",
        "status",
        "seal",
        "tools",
        "reap",
        "logs",
    ]
    step: PlanStep
    info: StepInfo
    pipeline: str
    config: str
    plugins: dict[str, str]
    files: tuple[PluginFile, ...] = ()
    broken: tuple[str, ...] = ()
    """Enabled plugins that can't be asked whether to deploy."""
    signer: PlanStep | None = None
    """The sign step, once it has passed: it signs what this request leaves as evidence."""
    trust: PlanStep | None = None
    """The sign step whose plugin is asked about signatures."""
    evidence: tuple[Reference, ...] = ()
    release: Release | None = None
    targets: tuple[str, ...] = ()
    op: Kind | None = None
    target: str | None = None
    before: dict[str, JsonValue] | None = None
    share: float = 1.0
    reading: Reading | None = None
    returning: bool = False
    """Whether it brings back a release that ran there before: no job comes with that."""
    approval: Approval | None = None
    skipped: dict[str, str] = {}
    """Of the steps whose result the gate asks for, those that were skipped, and why."""
    head: Head | None = None
    about: tuple[PlanStep, ...] = ()
    """The steps whose tools are asked for."""
    runs: tuple[int, ...] = ()
    """The runs that left something behind: all of their steps, or this run's one step where there is none."""


class Response(Model):
    """What became of it."""

    outcome: Literal["passed", "failed", "refused", "error", "pending", "cancelled"]
    reason: str = ""
    data: dict[str, Any] = {}
    cause: Literal["", "lost", "machine"] = ""
    """What was at fault where neither the project nor a plugin was: the worker was killed by somebody, or the
    machine has no room. The same request may go well later."""
    untidy: bool = False
    """Whether something outside the worker's process tree may be left: nobody came to clean up."""


def make_request(
    plan: Plan, state: RunState, name: str, kind: str, *, shows: bool = False, **more: Any
) -> Request:
    """A request about a step of this run, as things stand; with `shows`, its plugin sees the evidence so far.

    That is for those that ask for it: to gather it costs by all steps before this one.
    """
    step = plan.by_name[name]
    if state.given:  # a release that was admitted once may return on digest and signature alone
        step = step.model_copy(update={"requires": ("deployment", *(("signature",) if plan.signer else ()))})
    elif state.left_out and step.phase == "deploy":
        by_condition = [name for name, own in state.left_out.items() if own]
        step = step.model_copy(update={"requires": gates.demanded(step, by_condition)})
    signer = plan.signer
    sees = shows or kind == "admit" or step.phase == "sign"
    signs_now = signer is not None and (state.given or state.steps[signer.name].state in LETS_ON)
    return Request(
        kind=kind,  # type: ignore[arg-type]  # checked by the model
        step=step,
        info=StepInfo(
            name=name,
            phase=step.phase,
            run=state.run,
            attempt=max(1, state.steps[name].attempts),
            plan=plan.digest,
            environment=step.environment,
            revision=state.revision or Revision(),
            artifacts=state.artifacts_for(name),
            builds={
                build: tuple(artifact.digest for artifact in (state.given or state.steps[build]).artifacts)
                for service in step.services
                for build in service.builds
            },
            env=step.keys.env,
            secrets=step.keys.secrets,
            hidden=hidden_variables(plan, step),
            parameters=plan.parameters,
            inside=step.keys.inside,
            candidates=state.made_for_inside(name),
        ),
        pipeline=plan.name,
        config=plan.config,
        plugins=plan.plugins,
        files=plan.files,
        broken=() if state.given else plan.broken,
        signer=signer if signs_now else None,
        trust=signer,
        evidence=evidence_so_far(plan, state, name) if sees else (),
        returning=state.given is not None,
        skipped={entry: state.steps[entry].reason for entry in step.requires if entry in state.left_out},
        **more,
    )


def operation_request(plan: Plan, state: RunState, operation: Operate) -> Request:
    """For one operation of a rollout."""
    progress = state.steps[operation.step].rollout
    assert progress is not None
    if operation.kind == "judge":
        return make_request(plan, state, operation.target, "judge")
    target = progress.targets.get(operation.target)
    return make_request(
        plan,
        state,
        operation.step,
        "job" if operation.kind == "job" else "target",
        release=progress.release,
        op=operation.kind,
        target=operation.target,
        before=target.before if target and operation.kind == "restore" else None,
        share=operation.share,
    )


def names_in(request: Request) -> frozenset[str]:
    """What is in every record of a request, whoever works on it: it holds no secret."""
    step = request.step
    names = (step.name, step.environment, step.uses, request.pipeline, request.target, evidence.STATEMENT)
    return evidence.TYPES.union(name for name in names if name)


def circumstances(
    request: Request,
    tools: tuple[Tool, ...],
    services: Iterable[Service],
    started: float,
    finished: float,
    inside: Artifact | None = None,
) -> evidence.Circumstances:
    """What statements about it say of the run."""
    return evidence.Circumstances(
        pipeline=request.pipeline,
        run=request.info.run,
        plan=request.info.plan,
        config=request.config,
        version=__version__,
        plugins=request.plugins,
        files=request.files,
        tools=tools,
        services={service.name: service.tools for service in services},
        parameters=request.info.parameters,
        revision=request.info.revision,
        started=started,
        finished=finished,
        inside=inside,
    )


def seal_request(plan: Plan, state: RunState, events: int, head: str) -> Request:
    """To have the journal's head signed by the sign step's plugin, whether that step has passed or not."""
    signer = plan.signer
    assert signer is not None
    made = make_request(plan, state, signer.name, "seal", head=Head(events=events, digest=head))
    own = {"name": "journal"}  # a log of its own, and not that of the sign step
    return made.model_copy(
        update={
            "step": signer.model_copy(update=own),
            "info": made.info.model_copy(update={**own, "attempt": 1}),
            "signer": signer,
            "evidence": (),
        }
    )


def evidence_so_far(plan: Plan, state: RunState, name: str | None = None) -> tuple[Reference, ...]:
    """All statements of the run so far, each with the bundles that were made for it.

    With a step's name: those of the steps that it waits for.
    """
    if state.given:
        return tuple(Reference.model_validate(entry) for entry in state.options.get("evidence", ()))
    behind = None if name is None else plan.closure([name], plan.waits_for)
    found: dict[str, Reference] = {}
    for step in plan.steps:
        if behind is not None and step.name not in behind:
            continue
        for entry in state.steps[step.name].evidence:
            reference = Reference.model_validate(entry)
            found[f"{reference.step} {reference.statement}"] = reference  # the signed one comes later
    return tuple(found.values())


def spared(state: RunState, name: str) -> list[str]:
    """Notes on a deployment: the results that its policy asked for, had no condition skipped their steps."""
    step = state.plan.by_name[name]
    own = [other for other, by_condition in state.left_out.items() if by_condition]
    missing = set(step.requires).difference(gates.demanded(step, own)) if not state.given else ()
    return [f"! without {other}: skipped, {state.steps[other].reason}" for other in own if other in missing]


def hidden_variables(plan: Plan, step: PlanStep) -> tuple[str, ...]:
    """The environment variables that hold secrets of other steps."""
    others = plan.secrets.difference(step.keys.secrets.values())
    names = {reference.removeprefix("env:") for reference in others if reference.startswith("env:")}
    return tuple(sorted(names))


def release_of(state: RunState, name: str) -> Release:
    """What a deploy step would bring to its environment."""
    artifacts = state.artifacts_for(name)
    return Release(
        digest=release_digest([artifact.digest for artifact in artifacts]),
        artifacts=artifacts,
        revision=state.revision or Revision(),
        run=state.run,
        environment=state.plan.by_name[name].environment or "",
    )


def question(state: RunState, name: str, reason: str) -> dict[str, Any]:
    """What somebody is asked to approve."""
    artifacts = [artifact.digest for artifact in state.artifacts_for(name)]
    return {"reason": reason, "artifacts": artifacts, "plan": state.plan.digest}


def release_digest(digests: Sequence[str]) -> str:
    """What a release is known by: its artifact's digest, or that of the list of digests."""
    if len(digests) == 1:
        return digests[0]
    return sha256_of("\n".join(sorted(digests)).encode())


def approval_of(state: RunState, name: str, by: str, why: str, now: float) -> Approval:
    """Somebody's approval of what the step would let through, from now on."""
    step = state.plan.by_name[name]
    lasts: Any = step.settings.get("expires", 86400)
    return Approval(
        by=by,
        why=why,
        environment=step.environment or "",
        artifacts=tuple(artifact.digest for artifact in state.artifacts_for(name)),
        plan=state.plan.digest,
        given=now,
        expires=now + float(lasts),
    )
