"""The hooks of a pipeline: the page that a plugin author reads.

A plugin is a module, named by an entry point of the group `penstock`, with some of these functions
marked `@hookimpl`. An implementation names just the parameters that it wants.

**Settings.** Annotate `settings` with your own `penstock.Settings` model: that is all the registration
there is. The core checks the section of `penstock.toml` against it before anything runs.

**Raising.** `StepFailed("why")` is a bad outcome of the user's work: the step failed (exit code 1).
Any other exception is a fault of the plugin (exit code 4): the message names it, the log has the
traceback, and the gate stays shut. **Hanging** is ended by the step's timeout or by cancel: the worker
and the whole process tree of the step are killed.

**Where.** Each phase hook runs in a worker process, in a private workspace that holds the revision's
files, once an attempt. What a step leaves behind is what it returns and what it `keep`s, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import click
    from pydantic import SecretStr

    from penstock.findings import ScanReport
    from penstock.launching import Launcher
    from penstock.model import (
        Approval,
        Artifact,
        Check,
        Event,
        Evidence,
        Inside,
        Pending,
        Proposal,
        Publication,
        Refusal,
        Revision,
        Service,
        Signature,
        Signer,
        TestReport,
        Tool,
        Verification,
    )
    from penstock.observed import Observed
    from penstock.step import Step
    from penstock.target import Job, Target

hookspec = pluggy.HookspecMarker("penstock")
hookimpl = pluggy.HookimplMarker("penstock")

# A phase hook is called on the one plugin that the step `uses`; its first answer is the answer.


@hookspec(firstresult=True)
def penstock_source(settings: Any, step: Step) -> Revision:
    """Put a clean snapshot of the source into `step.workspace` and say which revision it is.

    Called first in a run, with an empty workspace. The files that it leaves there are stored by digest
    and are what every other step of the run starts from. Where `step.revision.commit` is set, the run is
    about that commit, and taking another fails the step. Since 0.1.

        @hookimpl
        def penstock_source(settings: Git, step: Step) -> Revision: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_find_revision(settings: Any, root: Path, name: str) -> Revision:
    """Say which revision a name means, for `penstock run --rev NAME` in the project in `root`.

    Called on the plugin of the source step, in the command's own process. The answer needs its `commit`;
    raise `ConfigError` where the name means none. Change nothing. Since 0.1.

        @hookimpl
        def penstock_find_revision(settings: Git, root: Path, name: str) -> Revision: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_read_file(settings: Any, root: Path, revision: Revision, path: str) -> bytes | None:
    """Give a file of the project in `root` as it was at a revision; None where there was none.

    Called as `penstock_find_revision`, for the configuration and the in-house plugins of a run that is
    about one revision, whatever the working tree holds. Since 0.1.

        @hookimpl
        def penstock_read_file(settings: Git, root: Path, revision: Revision, path: str) -> bytes | None: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_changes(
    settings: Any, root: Path, branches: Sequence[str], since: Mapping[str, str]
) -> Sequence[Revision]:
    """Say what is new on the branches that match, each branch's oldest first: what `penstock watch` polls.

    Called on the plugin of the source step, again and again, in the process of `penstock watch`: be cheap
    where nothing is new. `branches` are names or patterns, such as `release/*`. `since` has, by branch, the
    commit that was seen last: what follows it is new, and where nothing does and the head is another, that.
    Of a branch that it does not have, its head alone is new. Every answer needs `commit`, and as `ref` the
    branch. Raise `ConfigError` for what can't get better by
    itself; anything else raised is told, and tried again. Since 0.1.

        @hookimpl
        def penstock_changes(settings: Git, root: Path, branches: Sequence[str], since: Mapping[str, str]):
            heads = {"main": "4f2c1e9..."}
            return [Revision(commit=c, ref=ref) for ref, c in heads.items() if since.get(ref) != c]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_build(settings: Any, step: Step) -> Sequence[Artifact]:
    """Build something out of the workspace; return what `step.keep` gave for each of its files.

    The artifacts, by digest, are what later steps test, scan, sign and deploy, and what the SLSA
    provenance speaks of. Files that match the section's own key `artifacts` are kept by the core in
    addition. No artifact at all fails the step. Since 0.1.

        @hookimpl
        def penstock_build(settings: Wheel, step: Step) -> list[Artifact]:
            step.run(["python", "-m", "build"])
            return [step.keep(path, "wheel") for path in step.workspace.glob("dist/*.whl")]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_test(settings: Any, step: Step) -> TestReport:
    """Test `step.artifacts` with the tests in the workspace and report every case.

    A failed case closes the gate, and so does a report without any case (unless `checks_only`): no
    test found is not success. Do not raise for a failed test, return it. Since 0.1.

        @hookimpl
        def penstock_test(settings: Pytest, step: Step) -> TestReport: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_scan(settings: Any, step: Step) -> ScanReport:
    """Look for vulnerabilities, secrets and the like in `step.artifacts` or the workspace.

    A finding at or above the report's `block` closes the gate. Say what was not looked for; raise
    `StepFailed` where the scanner could not do what it was asked to. Since 0.1.

        @hookimpl
        def penstock_scan(settings: Trivy, step: Step) -> ScanReport: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_sign(settings: Any, step: Step, statements: Sequence[bytes]) -> Sequence[Signature]:
    """Sign each in-toto statement, exactly these bytes, in this order.

    Called by the sign step with all evidence so far, and again, in the worker of the step concerned,
    with the evidence of each later step before that step counts as finished. Since 0.1.

        @hookimpl
        def penstock_sign(settings: Sigstore, step: Step, statements: Sequence[bytes]) -> list[Signature]: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_check_signature(settings: Any, signature: Signature, statement: bytes) -> Signer:
    """Say who signed these bytes, if the bundle is a valid signature by a key or identity that is trusted.

    Called on the plugin of the sign step that made the bundle: before each deploy, and by `penstock
    verify`. Raise `StepRefused` with the reason where anything at all is wrong. Takes no step: it may
    be asked years later. Since 0.1.

        @hookimpl
        def penstock_check_signature(settings: Keys, signature: Signature, statement: bytes) -> Signer: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_publish(settings: Any, step: Step, evidence: Sequence[Evidence]) -> Sequence[Publication]:
    """Make the artifacts available elsewhere, by digest, without changing a byte.

    `evidence` are the statements of the steps that it waits for, checked: what belongs beside an artifact
    where others look for it.

    Say where each of them is; what the step was not handed, it can't have published. The answer goes on
    record, signed where the pipeline signs, with a release attestation for each `purl`. A step that was
    cut off is called again: what is there already with the same bytes is a success, and says `already`;
    raise `StepRefused` where other bytes are there under the name. Since 0.1.

        @hookimpl
        def penstock_publish(settings: Index, step: Step) -> list[Publication]: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_approve(settings: Any, step: Step) -> Approval | Pending:
    """Ask somewhere else whether a person approved; `Pending` leaves the run waiting (exit code 3).

    Called when the step is reached and at each `penstock resume`. An approval is for these
    `step.artifacts`, `step.environment` and `step.plan`; for anything else it is not taken. The core's own
    `manual`, which needs no plugin, waits for `penstock approve`. Since 0.1.

        @hookimpl
        def penstock_approve(settings: Ticket, step: Step) -> Approval | Pending: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_targets(settings: Any, step: Step) -> Sequence[Target]:
    """Name the places that a deploy step changes; the core's rollout does the rest.

    Called at the start of a rollout, and again where one is taken up after a crash. Contact nothing
    here: `Target.observe` does. No target at all fails the step. Since 0.1.

        @hookimpl
        def penstock_targets(settings: Copy, step: Step) -> list[Target]:
            return [Directory(id=path, path=path) for path in settings.paths]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_jobs(settings: Any, step: Step) -> Sequence[Job]:
    """Name what is done once a rollout, before its targets are changed or after all of them are healthy.

    Called on the deploy step's plugin, beside `penstock_targets`, at the start of a rollout and for each job;
    a plugin may leave it out. Contact nothing here: `Job.run` does. Jobs of one kind are run one after
    another, in this order, each with its intent and outcome in the journal; one that was cut off by a crash
    is run again. One that fails before leaves everything as it was, one that fails after puts all back. A
    rollback runs none. Since 0.1.

        @hookimpl
        def penstock_jobs(settings: Copy, step: Step) -> list[Job]:
            return [Migrate(id="migrate", when="before")]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_verify(settings: Any, step: Step) -> Verification:
    """Check that what was deployed to `step.environment` does its work. No check is a failure.

    Called after the deployment, and where a rollout names the step under `judge`, also between its waves.
    There a check that did not pass, or `StepFailed`, puts the release back. Anything else raised, such as
    `StepRefused("no data yet")`, and no check at all mean that nobody can tell: a person is asked. Since 0.1.

        @hookimpl
        def penstock_verify(settings: Http, step: Step) -> Verification: ...
    """
    raise NotImplementedError


# A cross-cutting hook is called on every enabled plugin.


@hookspec
def penstock_admit(step: Step, evidence: Sequence[Evidence]) -> Refusal | None:
    """A gate: return a `Refusal` to stop this deploy step, None to let it pass.

    Called in a worker before each deploy step, with all verified evidence of the run. Any refusal
    stops the step, and raising counts as one: gates fail closed. To judge a result, look at the phase
    hooks instead. Since 0.1.

        @hookimpl
        def penstock_admit(step: Step) -> Refusal | None:
            if step.environment == "production" and freeze():
                return Refusal(rule="freeze", reason="no deployments until Monday")
    """


@hookspec
def penstock_event(settings: Any, event: Event, observed: Observed) -> None:
    """See what happens, in a process of its own that follows the journal; raising never hurts the run.

    A plugin without settings sees each event of each run once, in order. One with settings is told for each
    section `[observe.NAME]` that uses it, over all runs. There `TryLater("why")` is answered by the same
    event again, for up to a day, and all that follows waits; anything else raised passes the event over. One
    that is cut off in the middle is repeated, with the same `observed.key(event)`. `observed` also has the
    record: what happened before. To stop something, use `penstock_admit`. Since 0.1.

        @hookimpl
        def penstock_event(settings: Chat, event: Event, observed: Observed) -> None:
            if event.type == "run.finished":
                post(observed.secret(settings.url), event.data["state"], observed.key(event))
    """


@hookspec(firstresult=True)
def penstock_secret(reference: str) -> SecretStr | None:
    """Resolve a reference such as `vault:path`; None where it is not for this plugin.

    Called in the worker of the step that declares the secret, at its first use. The core resolves
    `env:NAME` and `file:PATH` itself, before plugins are asked. Since 0.1.

        @hookimpl
        def penstock_secret(reference: str) -> SecretStr | None: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_launcher(artifact: Artifact, limits: Inside, step: Step) -> Launcher | None:
    """Say how `step.run` starts programs inside of this artifact; None where it is not for this plugin.

    Called in the worker of a step whose section says `inside`, for each artifact of the build step named
    there, when the step first wants to start a program. Start nothing here: `Launcher.run` does. The launcher
    compares what it runs inside of with the artifact's digest, and is closed when the step is over. The
    digest goes into the step's evidence. Raising fails the step. Since 0.1.

        @hookimpl
        def penstock_launcher(artifact: Artifact, limits: Inside, step: Step) -> Launcher | None:
            return Chroot(artifact, step) if artifact.kind == "rootfs" else None
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_service(settings: Any, service: Step, step: Step) -> AbstractContextManager[Service]:
    """Run something beside a step while it works, such as a database: `[service.NAME]` says what.

    Called on the plugin that the section uses, in the worker of each step whose `services` name it, once an
    attempt, before the step's own hook. What is entered serves: it raises `StepFailed`, with the last that
    the service said, where it does not come to that. It is left when the step ends, in whatever way, and
    then nothing of it remains. `step` is the step that it is for; `service` is a step for the service alone,
    with a log of its own (`penstock logs RUN STEP --service NAME`) and the secrets that its section
    declares. What is made outside the worker's process tree has to be found again by `penstock_reap`.
    Since 0.1.

        @hookimpl
        @contextmanager
        def penstock_service(settings: Server, service: Step, step: Step) -> Iterator[Service]:
            with started(settings, service.secret("PASSWORD")) as server:
                yield Service(port=server.port)
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_service_tools(settings: Any) -> Sequence[Tool]:
    """Name what a service would be started from now, by digest: part of what its steps' results depend on.

    Called as `penstock_tools`, for each service of a step whose result may be taken from the cache. What the
    service was really started from is in `Service.tools`: where that is something else, the result is not
    kept. Raise `StepFailed` where it can't be told; the result is then not taken from the cache. Since 0.1.

        @hookimpl
        def penstock_service_tools(settings: Server) -> list[Tool]: ...
    """
    raise NotImplementedError


@hookspec
def penstock_reap(run: int, step_name: str | None, home: Path) -> None:
    """Remove what a step left outside its process tree: containers, networks, by label.

    Called on every enabled plugin, in a worker, after the worker of a step was killed, before the step is
    over or is begun anew. When a run begins or is resumed, it is called for runs that were cut off, with
    None for all of their steps. `home` is the checkout's `.penstock`: another one has its own runs of the
    same numbers. Be quick where there is nothing, and remember what you make before you make it. Raising is
    told, and leads to another call at the next run. Since 0.1.

        @hookimpl
        def penstock_reap(run: int, step_name: str | None, home: Path) -> None: ...
    """


@hookspec(firstresult=True)
def penstock_tools(settings: Any) -> Sequence[Tool]:
    """Name each program that this step's plugin runs, with version, path and SHA-256.

    Called on the plugin that a step uses, once a step and run; the answer goes into the provenance.
    A program that is not there is left out: the step itself says so. Since 0.1.

        @hookimpl
        def penstock_tools(settings: Trivy) -> list[Tool]: ...
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def penstock_doctor(settings: Any) -> Sequence[Check]:
    """Look whether what this step needs is there: services, accounts, room. Programs say `penstock_tools`.

    Called by `penstock doctor` on the plugin that a step uses, once a step, in its own process. Be done
    within seconds, change nothing, and say with each check that did not pass what to do. Raising counts as
    one. Since 0.1.

        @hookimpl
        def penstock_doctor(settings: Index) -> list[Check]:
            return [Check(name="index", passed=answers(settings.url), detail=settings.url)]
    """
    raise NotImplementedError


@hookspec
def penstock_propose(root: Path, add: str | None) -> Proposal | Sequence[Proposal] | None:
    """Say what you would do for the project in `root`; None: nothing.

    Called once by `penstock init`, on every plugin that is installed, in its own process: `add` is None,
    the project has no configuration yet, and only steps may be proposed that pass on this machine as it
    is. Called by `penstock init --add deploy.staging` with `add="deploy.staging"`: a proposal with that
    section says which settings suit the project, and no other section is written. Read the files, run
    none of the project's code, change nothing; raising hurts nobody. Since 0.1.

        @hookimpl
        def penstock_propose(root: Path) -> Proposal | None:
            if (root / "Makefile").is_file():
                return Proposal(saw="Makefile", sections={"build.all": {"run": "make"}})
    """
    raise NotImplementedError


@hookspec
def penstock_commands() -> Sequence[click.Command]:
    """Add commands to `penstock`, in projects that enable this plugin. Since 0.1.

    @hookimpl
    def penstock_commands() -> list[click.Command]:
        return [keys]
    """
    raise NotImplementedError
