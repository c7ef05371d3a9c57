"""`verify`: the chain of evidence behind an artifact, and a verdict."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from penstock import gates
from penstock.artifacts import Store, remove
from penstock.cli.common import Opened, load_plan, not_pruned, open_project, print_json, sound
from penstock.cli.lines import Look, row, sign
from penstock.cli.text import clean
from penstock.errors import ConfigError, StepRefused
from penstock.evidence import Reference
from penstock.gates import (
    APPROVAL,
    DEPLOYMENT,
    PROVENANCE,
    PUBLICATION,
    RELEASE,
    SBOM,
    SCAN,
    TEST_RESULT,
    VERIFICATION,
    VULNERABILITIES,
)
from penstock.model import Artifact, Evidence, Release, Signer
from penstock.proof import check_bytes, check_reference
from penstock.pruning import pruned
from penstock.request import evidence_so_far
from penstock.runs import Statements
from penstock.state import RunState
from penstock.summary import person


@dataclass(frozen=True)
class Link:
    """One piece of evidence, checked."""

    reference: Reference
    evidence: Evidence
    signers: list[Signer]


@click.command()
@click.argument("digest", metavar="DIGEST|FILE")
@click.option(
    "--export",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the artifact, the bundles as *.sigstore.json and the public keys as *.pub.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify(digest: str, export: Path | None, as_json: bool) -> int:
    """Prove where an artifact comes from and why it was let through.

    The artifact is named by its digest, by the first eight digits of it or more, or by a file that has it.
    """
    digest = _digest_of_file(digest) or digest
    opened = open_project()
    sound(opened)
    state, artifact = _find(opened, digest)
    # Whom to trust is what the project says now: what lies beside the evidence is under test itself.
    _, plugins, plan = load_plan(opened.path)
    trust = plan.signer
    Statements(opened.journal, opened.home, state.run).restore()
    links = []
    for reference in evidence_so_far(state.plan, state):
        evidence, signers = check_reference(opened.home, plugins, trust, reference)
        if artifact.digest in evidence.subjects or evidence.invalid:
            links.append(Link(reference, evidence, signers))
    signed = trust is not None or state.plan.signer is not None
    faults = [*_outcome(state), *_faults(opened, artifact, links, signed=signed)]
    if export is not None:
        _export(opened, export, artifact, links)
    if as_json:
        print_json(_document(state, artifact, links, faults))
    else:
        _print(artifact, links, faults, state)
    return 1 if faults else 0


def _digest_of_file(name: str) -> str | None:
    """The digest of the file of that name; None where there is none."""
    path = Path(name)
    if not os.path.isfile(name):  # noqa: PTH113 - Path's own raises where a name is too long for one
        return None
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _find(opened: Opened, digest: str) -> tuple[RunState, Artifact]:
    """The run that built an artifact, of several the newest that passed."""
    matches = _matcher(digest)
    found: dict[str, Artifact] = {}
    runs: list[int] = []
    for event in opened.journal.find("step.finished", holding=_beginning(digest)):
        for entry in event.data.get("artifacts", ()):
            artifact = Artifact.model_validate(entry)
            if matches(artifact.digest.removeprefix("sha256:")):
                found.setdefault(artifact.digest, artifact)
                runs.append(event.run)
    if not found:
        raise ConfigError(
            _parts(opened, digest, matches)
            or f"no run here has built {digest}. What a run built: penstock show last"
        )
    if len(found) > 1:
        raise ConfigError(f"{digest} is the digest of several: {', '.join(found)}")
    gone = pruned(opened.journal)
    here = [run for run in runs if run not in gone] or runs
    passed = next((run for run in here if opened.journal.run(run).state == "passed"), here[0])
    state, artifact = opened.state(str(passed)), next(iter(found.values()))
    not_pruned(state, f"and with it the evidence for {artifact.name}")
    return state, artifact


def _parts(opened: Opened, digest: str, matches: Callable[[str], bool]) -> str | None:
    """What to say where a digest is not that of an artifact, but of a release of several."""
    for event in opened.journal.find("rollout.began", holding=_beginning(digest)):
        release = Release.model_validate(event.data["release"])
        if matches(release.digest.removeprefix("sha256:")):
            parts = ", ".join(f"{artifact.name} {artifact.digest}" for artifact in release.artifacts)
            return f"{digest} is a release of several artifacts. Verify one of them: {parts}"
    return None


def _beginning(digest: str) -> str:
    """What the journal looks for: the digits of a digest up to where it was cut."""
    return digest.removeprefix("sha256:").lower().replace("...", "…").partition("…")[0]


def _matcher(digest: str) -> Callable[[str], bool]:
    """What a whole digest, its beginning, or the short form that runs show (`9b1f…e07a`) fits."""
    begin, dots, end = digest.removeprefix("sha256:").lower().replace("...", "…").partition("…")
    if len(begin + end) < 8 or (dots and not (begin and end)) or set(begin + end) - set("0123456789abcdef"):
        raise ConfigError(f'"{digest}" is no digest: at least eight of its hexadecimal digits are needed')
    return lambda digits: digits.startswith(begin) and digits.endswith(end)


def _outcome(state: RunState) -> list[str]:
    """What the gates held against the artifact: whoever relies on the verdict must not overlook it."""
    return [
        f"{name} {step.state} in run {state.run}: {step.reason}"
        for name, step in state.steps.items()
        if step.state in ("failed", "refused") and not state.plan.by_name[name].keys.allow_failure
    ]


def _faults(opened: Opened, artifact: Artifact, links: list[Link], *, signed: bool) -> list[str]:
    faults = [f"{link.reference.step}: {link.evidence.invalid}" for link in links if link.evidence.invalid]
    try:
        check_bytes(opened.home, artifact)
    except StepRefused as error:
        faults.append(str(error))
    faults += [
        f"{link.reference.step}: its evidence is about another step"
        for link in links
        if not link.evidence.invalid and gates.about(link.evidence) not in (None, link.reference.step)
    ]
    if not any(link.evidence.predicate_type == PROVENANCE for link in links):
        faults.append("there is no provenance")
    if signed:
        faults += [
            f"{link.reference.step}: its evidence is not signed"
            for link in links
            if not link.signers and not link.evidence.invalid
        ]
    return faults


def _document(state: RunState, artifact: Artifact, links: list[Link], faults: list[str]) -> dict[str, Any]:
    return {
        "digest": artifact.digest,
        "name": artifact.name,
        "run": state.run,
        "verdict": "failed" if faults else "passed",
        "state": state.state,
        "faults": faults,
        "evidence": [
            {
                "step": link.reference.step,
                "predicate_type": link.evidence.predicate_type,
                "statement": link.evidence.digest,
                "signers": [signer.identity for signer in link.signers],
                "origin": _origin(link, state),
                "invalid": link.evidence.invalid,
            }
            for link in links
        ],
    }


def _print(artifact: Artifact, links: list[Link], faults: list[str], state: RunState) -> None:
    click.echo(clean(f"{artifact.name}  {artifact.digest}"))
    rows = [("passed", "source", line) for line in _sources(links)]
    for link in links:
        mark = "failed" if link.evidence.invalid else "passed"
        said = link.evidence.invalid or _say(link.evidence, artifact.digest)
        word = _WORD.get(link.evidence.predicate_type, "evidence")
        rows.append((mark, word, f"{link.reference.step}: {said}{_taken_from(link, state)}"))
    look = Look.of(sys.stdout).inside(2)
    for mark, word, said in rows:
        for line in row(look, mark, word, 11, said):
            click.echo(f"  {line}")
    identities = sorted({signer.identity for link in links for signer in link.signers})
    if faults:
        for fault in faults:
            click.echo(f"  {sign('failed')} {fault}")
        click.echo("NOT PROVED.")
    elif identities:
        click.echo(f"  All signatures verify, by {', '.join(person(identity) for identity in identities)}")
    else:
        click.echo("  Nothing is signed: the digests match, but nobody vouches for them")


def _origin(link: Link, state: RunState) -> dict[str, Any] | None:
    """Where a step's result was taken over from, if it was."""
    step = state.steps.get(link.reference.step)
    return step.origin if step is not None else None


def _taken_from(link: Link, state: RunState) -> str:
    origin = _origin(link, state)
    return f"; cached, from run {origin['run']}" if origin else ""


def _sources(links: list[Link]) -> list[str]:
    """Where the artifact comes from, as the provenance itself says."""
    found = []
    for link in links:
        if link.evidence.predicate_type != PROVENANCE or link.evidence.invalid:
            continue
        predicate: Any = link.evidence.statement["predicate"]
        for source in predicate["buildDefinition"]["resolvedDependencies"]:
            commit = str(source["digest"].get("gitCommit", ""))[:7] or "outside source control"
            dirty = "dirty: files that were not committed" if source["annotations"]["dirty"] else "clean"
            found.append(f"{commit}, {dirty}")
    return list(dict.fromkeys(found))


_WORD = {
    PROVENANCE: "provenance",
    TEST_RESULT: "tests",
    SCAN: "scan",
    VULNERABILITIES: "vulns",
    SBOM: "sbom",
    APPROVAL: "approval",
    DEPLOYMENT: "deployment",
    VERIFICATION: "verify",
    PUBLICATION: "published",
    RELEASE: "release",
}


def _say(evidence: Evidence, digest: str) -> str:
    predicate: Any = evidence.statement.get("predicate", {})
    kind = evidence.predicate_type
    if kind == PROVENANCE:
        version = predicate["runDetails"]["builder"]["version"]["penstock"]
        return f"built by penstock {version} on this machine (no SLSA level 2 claim)"
    if kind == TEST_RESULT:
        return f"{len(predicate['passedTests'])} passed"
    if kind == SCAN:
        left = ", ".join(predicate["notLookedFor"])
        return f"looked for {', '.join(predicate['lookedFor'])}" + (f"; not for {left}" if left else "")
    if kind == APPROVAL:
        return f"by {predicate['by']} for {predicate['environment']}, this digest and plan"
    if kind == DEPLOYMENT:
        return f"{predicate['environment']}, healthy on {', '.join(predicate['targets'])}"
    if kind == VERIFICATION:
        return ", ".join(f"{check['name']} {check['detail']}" for check in predicate["checks"])
    if kind == PUBLICATION:
        about = [each for each in predicate["publications"] if each["artifact"] == digest]
        return ", ".join(each["location"].partition("#")[0] for each in about)
    if kind == RELEASE:
        return str(predicate["purl"])
    return "on record"


def _export(opened: Opened, directory: Path, artifact: Artifact, links: list[Link]) -> None:
    """The artifact, each bundle in a file of its own, named by step and kind, and each public key once."""
    directory.mkdir(parents=True, exist_ok=True)
    store = opened.home.store
    with suppress(StepRefused):  # bytes that were changed are a fault that was found already
        _take_out(store, artifact, directory / Path(artifact.name).name)
    count = 0
    for link in links:
        for bundle in link.reference.bundles:
            count += 1
            word = _WORD.get(link.evidence.predicate_type, "evidence")
            name = f"{count:02d}-{link.reference.step}-{word}.sigstore.json"
            (directory / name).write_bytes(store.read(bundle))
        for signer in link.signers:
            if signer.public_key:
                key = signer.identity.removeprefix("key:")
                (directory / f"{key}.pub").write_text(signer.public_key)


def _take_out(store: Store, artifact: Artifact, place: Path) -> None:
    """Write an artifact to its place. Raises ConfigError where something else is there."""
    if _digest_of_file(str(place)) == artifact.digest:
        return
    if place.exists():
        raise ConfigError(f"{place} is there already, and is left as it is. Export to another directory")
    if not store.is_tree(artifact.digest):
        store.write_to(artifact.digest, place)
        return
    try:
        store.write_tree(artifact.digest, place)
    except StepRefused:
        remove(place)
        raise
