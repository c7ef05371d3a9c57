"""Results → in-toto statements, and statements on record → evidence that was checked.

Making a statement is pure. Checking reads bytes and asks a plugin about signatures, both through
functions that the caller hands in.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import JsonValue

from penstock import scanned
from penstock.circumstances import Circumstances as Circumstances
from penstock.errors import PenstockError
from penstock.findings import ScanReport
from penstock.gates import (
    APPROVAL,
    DEPLOYMENT,
    JOURNAL,
    PROVENANCE,
    PUBLICATION,
    RELEASE,
    SBOM,
    SCAN,
    TEST_RESULT,
    VERIFICATION,
    VULNERABILITIES,
    judge,
)
from penstock.inhouse import PluginFile
from penstock.model import (
    Approval,
    Artifact,
    Evidence,
    Model,
    Publication,
    Release,
    Revision,
    Signature,
    Signer,
    TestReport,
    Tool,
    Verification,
    sha256_of,
)
from penstock.plan import PlanStep

TYPES = frozenset(
    {
        *(PROVENANCE, TEST_RESULT, VULNERABILITIES, SBOM, SCAN),
        *(APPROVAL, DEPLOYMENT, VERIFICATION, PUBLICATION, RELEASE),
    }
)
"""The types of predicates."""
STATEMENT = "https://in-toto.io/Statement/v1"
BUILD_TYPE = "https://penstock.dev/build-type/v1"


class Reference(Model):
    """Where a statement and its signatures lie in the store."""

    step: str
    predicate_type: str
    statement: str
    bundles: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()


def statements(
    step: PlanStep,
    result: object,
    about: Sequence[Artifact],
    circumstances: Circumstances,
    sbom: dict[str, JsonValue] | None = None,
) -> list[dict[str, Any]]:
    """What a passed (or allowed to fail) step lets us say, about its own artifacts or those it was handed."""
    if isinstance(result, TestReport):
        return [_statement(about, circumstances, TEST_RESULT, _tests(step, result, circumstances))]
    if isinstance(result, ScanReport):
        return _scan(step, result, about, circumstances, sbom)
    if isinstance(result, Verification):
        predicate = {
            "environment": step.environment,
            "result": _result(step, result),
            "step": step.name,
            "checks": [check.model_dump(mode="json") for check in result.checks],
            **_run(circumstances),
        }
        return [_statement(about, circumstances, VERIFICATION, predicate)]
    if step.phase == "publish" and isinstance(result, list):
        return _publications(step, result, about, circumstances)
    if step.phase == "build":
        return [_statement(about, circumstances, PROVENANCE, _provenance(step, circumstances))]
    return []


def approval(given: Approval, about: Sequence[Artifact], circumstances: Circumstances) -> dict[str, Any]:
    """A person's word as a statement."""
    predicate = given.model_dump(mode="json", exclude={"artifacts", "proved"})
    return _statement(about, circumstances, APPROVAL, predicate | _run(circumstances))


def deployment(
    step: PlanStep, release: Release, targets: Iterable[str], circumstances: Circumstances
) -> dict[str, Any]:
    """That a release was brought to an environment and was healthy there."""
    predicate = {
        "environment": step.environment,
        "release": release.digest,
        "targets": sorted(targets),
        "strategy": step.keys.rollout.strategy,
        "finished": circumstances.finished,
        **_run(circumstances),
    }
    return _statement(release.artifacts, circumstances, DEPLOYMENT, predicate)


def journal(events: int, head: str, circumstances: Circumstances) -> dict[str, Any]:
    """That the journal had so many events when this was signed, and the hash of the last of them."""
    predicate = {"events": events, "signed": _time(circumstances.finished), **_run(circumstances)}
    subject = {"name": "journal", "digest": {"sha256": head}}
    return {"_type": STATEMENT, "subject": [subject], "predicateType": JOURNAL, "predicate": predicate}


def encode(statement: dict[str, Any]) -> bytes:
    """The bytes that are signed: the same statement gives the same bytes."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        errors="backslashreplace"
    )


def check(
    reference: Reference,
    read: Callable[[str], bytes],
    check_signature: Callable[[Signature, bytes], Signer] | None,
) -> tuple[Evidence, list[Signer]]:
    """A statement on record, and whether its bytes and each of its signatures hold.

    Never raises for bad evidence: `invalid` says what is wrong with it.
    """
    signers: list[Signer] = []
    invalid = None
    statement: dict[str, Any] = {}
    try:
        raw = read(reference.statement)
        if sha256_of(raw) != reference.statement:
            raise PenstockError("its bytes are not those that were put on record")
        statement = _parse(raw, reference.predicate_type)
        for bundle in reference.bundles:
            signature = Signature(bundle=read(bundle).decode(), statement=reference.statement, signer="")
            if check_signature is None:
                raise PenstockError("it is signed, but no sign step says whose signatures to trust")
            signer: object = check_signature(signature, raw)
            if not isinstance(signer, Signer):
                raise PenstockError("nobody said whose signature it is")
            signers.append(signer)
    except PenstockError as error:
        invalid = str(error)
    except (Exception, SystemExit) as error:  # a verifier that stumbles has not verified
        invalid = f"{type(error).__name__}: {error}"
    evidence = Evidence(
        step=reference.step,
        predicate_type=reference.predicate_type,
        digest=reference.statement,
        statement=statement,
        signers=tuple(signer.identity for signer in signers) if invalid is None else (),
        bundles=reference.bundles if invalid is None else (),
        invalid=invalid,
    )
    return evidence, signers


def _parse(raw: bytes, predicate_type: str) -> dict[str, Any]:
    try:
        statement = json.loads(raw)
    except ValueError as error:
        raise PenstockError(f"the statement is not JSON: {error}") from None
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT:
        raise PenstockError("it is no in-toto Statement v1")
    if statement.get("predicateType") != predicate_type:
        raise PenstockError(f"it is of type {statement.get('predicateType')}, on record as {predicate_type}")
    return statement


def _statement(
    about: Sequence[Artifact], circumstances: Circumstances, predicate_type: str, predicate: dict[str, Any]
) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": _subjects(about) or [_source(circumstances.revision)],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def _subjects(about: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Each artifact, by each digest that it is known by: an image has one in registries, one in engines."""
    named = [
        (f"{artifact.name} ({what})" if what else artifact.name, digest)
        for artifact in about
        for what, digest in (("", artifact.digest), *artifact.digests.items())
    ]
    return [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}} for name, digest in named]


def _source(revision: Revision) -> dict[str, Any]:
    digest = revision.snapshot or sha256_of(b"")
    return {"name": "source", "digest": {"sha256": digest.removeprefix("sha256:")}}


def _run(circumstances: Circumstances) -> dict[str, Any]:
    run = {"pipeline": circumstances.pipeline, "run": circumstances.run, "plan": circumstances.plan}
    around = {"inside": _inside(circumstances), "services": _services(circumstances)}
    return run | {name: found for name, found in around.items() if found}


def _inside(circumstances: Circumstances) -> list[dict[str, Any]]:
    """What the step's programs ran inside of, by each of its digests."""
    found = _subjects([circumstances.inside] if circumstances.inside else [])
    return [{**each, "annotations": {"role": "inside"}} for each in found]


def _services(circumstances: Circumstances) -> list[dict[str, Any]]:
    """What ran beside them, by digest."""
    every = ((name, tool) for name, tools in circumstances.services.items() for tool in tools)
    return [
        {
            **_tool(tool),
            "name": f"service {name}: {tool.name}",
            "annotations": {"version": tool.version, "path": tool.path, "role": "beside"},
        }
        for name, tool in every
    ]


def _time(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _provenance(step: PlanStep, circumstances: Circumstances) -> dict[str, Any]:
    """SLSA v1.2, predicate type provenance/v1. A run on somebody's machine claims no level above 1."""
    revision = circumstances.revision
    source: dict[str, Any] = {"name": "source", "digest": {}}
    if revision.commit:
        source["digest"]["gitCommit"] = revision.commit
    if revision.snapshot:
        source["digest"]["sha256"] = revision.snapshot.removeprefix("sha256:")
    source["annotations"] = {"ref": revision.ref, "dirty": revision.dirty}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "step": step.name,
                "uses": step.uses,
                "settings": step.settings,
                "config": circumstances.config,
                **({"parameters": dict(circumstances.parameters)} if circumstances.parameters else {}),
            },
            "internalParameters": {"plan": circumstances.plan, "pipeline": circumstances.pipeline},
            "resolvedDependencies": [source, *_inside(circumstances), *_services(circumstances)],
        },
        "runDetails": {
            "builder": {
                "id": "https://penstock.dev/builder/local/v1",
                "version": {"penstock": circumstances.version, **circumstances.plugins},
                "builderDependencies": [
                    *(_plugin(file) for file in circumstances.files),
                    *(_tool(tool) for tool in circumstances.tools),
                ],
            },
            "metadata": {
                "invocationId": f"{circumstances.plan}#{circumstances.run}",
                "startedOn": _time(circumstances.started),
                "finishedOn": _time(circumstances.finished),
            },
        },
    }


def _plugin(file: PluginFile) -> dict[str, Any]:
    return {
        "name": f"plugin {file.name}",
        "digest": {"sha256": file.digest.removeprefix("sha256:")},
        "annotations": {"path": file.path},
    }


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "uri": f"pkg:generic/{quote(tool.name)}" + (f"@{tool.version}" if tool.version else ""),
        **({"digest": {"sha256": tool.sha256}} if tool.sha256 else {}),
        "annotations": {"version": tool.version, "path": tool.path},
    }


def _tests(step: PlanStep, report: TestReport, circumstances: Circumstances) -> dict[str, Any]:
    result = _result(step, report)
    return {
        "result": "WARNED" if result == "PASSED" and report.quarantined else result,
        "configuration": [
            {"name": step.name, "digest": {"sha256": circumstances.plan.removeprefix("sha256:")}},
            *_inside(circumstances),
            *_services(circumstances),
        ],
        "passedTests": [case.name for case in report.cases if case.outcome == "passed"],
        "warnedTests": [case.name for case in report.cases if case.outcome != "passed" and not case.counts],
        "failedTests": [case.name for case in report.cases if case.counts],
    }


def _publications(
    step: PlanStep,
    published: Sequence[Publication],
    about: Sequence[Artifact],
    circumstances: Circumstances,
) -> list[dict[str, Any]]:
    """Where each artifact can be had; and for each release that has a name, which files make it up."""
    predicate = {
        "step": step.name,
        "publications": [each.model_dump(mode="json", exclude_none=True) for each in published],
        **_run(circumstances),
    }
    subjects = _published(published, about)
    made = [_statement(subjects, circumstances, PUBLICATION, predicate)] if subjects else []
    for purl in dict.fromkeys(each.purl for each in published if each.purl):
        files = _published([each for each in published if each.purl == purl], about)
        made.append(_statement(files, circumstances, RELEASE, {"purl": purl}))
    return made


def _published(published: Iterable[Publication], about: Sequence[Artifact]) -> list[Artifact]:
    digests = {each.artifact for each in published}
    return [artifact for artifact in about if digests & {artifact.digest, *artifact.digests.values()}]


def _result(step: PlanStep, result: object) -> str:
    """What the gate said, and not only whether something failed: a report without a test has not passed."""
    return "PASSED" if judge(step, result) is None else "FAILED"


def _scan(
    step: PlanStep,
    report: ScanReport,
    about: Sequence[Artifact],
    circumstances: Circumstances,
    sbom: dict[str, JsonValue] | None,
) -> list[dict[str, Any]]:
    verdict = {
        "result": _result(step, report),
        **scanned.verdict(report),
        "step": step.name,
        **_run(circumstances),
    }
    made = [_statement(about, circumstances, SCAN, verdict)]
    if "vulnerability" in report.looked_for:
        found = scanned.vulnerabilities(report, circumstances.started, circumstances.finished, _time)
        made.append(_statement(about, circumstances, VULNERABILITIES, found))
    if sbom is not None:
        made.append(_statement(about, circumstances, SBOM, dict(sbom)))
    return made
