"""What is on record: bytes checked against digests, signatures put beside statements and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock import evidence
from penstock.artifacts import Store
from penstock.errors import PluginError, StepRefused
from penstock.evidence import Reference
from penstock.home import Home
from penstock.model import Artifact, Evidence, Signature, Signer
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
