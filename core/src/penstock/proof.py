"""What is on record: bytes checked against digests, signatures put beside statements and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock import evidence
from penstock.artifacts import Store
from penstock.errors import PluginError, StepRefused
from penstock.evidence import Reference
from penstock.home import Home
from penstock.model import Artifact, Evidence, Signature, Signer, sha256_of
from penstock.plan import PlanStep
from penstock.plugins import Plugins


def check_reference(
    home: Home, plugins: Plugins, trust: PlanStep | None, reference: Reference
) -> tuple[Evidence, list[Signer]]:
    """A statement on record, checked with the sign step's plugin: what `verify` and the gates rest on."""

    def ask(signature: Signature, statement: bytes) -> Signer:
        assert trust is not None
        assert trust.uses is not None
        settings = plugins.settings(trust.uses, "penstock_check_signature", trust.settings)
        found = plugins.call(
            trust.uses,
            "penstock_check_signature",
            settings=settings,
            signature=signature,
            statement=statement,
        )
        if not isinstance(found, Signer):
            raise StepRefused(f'the plugin "{trust.uses}" did not say who signed')
        return found

    able = trust is not None and plugins.has(trust.uses or "", "penstock_check_signature")
    return evidence.check(reference, home.store.read, ask if able else None)


def check_bytes(home: Home, artifact: Artifact) -> None:
    """Compare an artifact's bytes in the store with its digest. Raises StepRefused where they differ."""
    store = home.store
    if store.is_tree(artifact.digest):
        for entry in store.tree(artifact.digest):
            if "sha256" in entry:
                store.verify(str(entry["sha256"]))
    store.verify(artifact.digest)
    for part in artifact.parts:
        store.verify(part)


def take_over(home: Home, data: Mapping[str, Any]) -> None:
    """Check what a finished step left in the store, byte by byte, before another run takes it over.

    It is held, so that nobody discards it. Raises StepRefused where some of it is gone, or was changed.
    """
    for artifact in map(Artifact.model_validate, data.get("artifacts", ())):
        if not home.store.has(artifact.digest):
            raise StepRefused(f"{artifact.name} is not in the store any more")
        check_bytes(home, artifact)
    references = [Reference.model_validate(entry) for entry in data.get("evidence", ())]
    bundles = [digest for entry in references for digest in entry.bundles]
    for digest in [*texts_of(data), *bundles]:
        what = "its report" if digest == data.get("report") else "its evidence"
        if not home.store.has(digest):
            raise StepRefused(f"{what} is not in the store any more")
        home.store.verify(digest)


def texts_of(data: Mapping[str, Any]) -> list[str]:
    """The digests of what the store has of a finished step's evidence and report: the rest is in its event.

    Raises StepRefused where that is not what its digest says.
    """
    recorded = data.get("statements", {})
    if any(sha256_of(str(text).encode()) != digest for digest, text in recorded.items()):
        raise StepRefused("its evidence is not what was put on record")
    digests = [*(entry["statement"] for entry in data.get("evidence", ())), data.get("report")]
    return [digest for digest in digests if digest and digest not in recorded]


def with_bundles(
    store: Store, references: Sequence[Reference], signatures: Sequence[Signature]
) -> list[dict[str, Any]]:
    """References to statements with the signatures that were made for them, which go into the store.

    Raises PluginError unless there is one for each statement, in order.
    """
    if [signature.statement for signature in signatures] != [entry.statement for entry in references]:
        raise PluginError("the sign plugin did not sign each statement that it was handed, in order")
    return [
        reference.model_copy(
            update={
                "bundles": (*reference.bundles, store.add_bytes(signature.bundle.encode())),
                "signers": (*reference.signers, signature.signer),
            }
        ).model_dump(mode="json")
        for reference, signature in zip(references, signatures, strict=True)
    ]
