"""Verifies every DIR/*.sigstore.json with securesystemslib, and reads it with sigstore-models.

The keys are DIR/*.pub; a bundle's hint finds its key by the SHA-256 of the PEM text. Prints one JSON
object: the file's name to null where the bundle is accepted, and to the reason where it is not. Runs in
a process of its own, with those libraries on its path.
"""

import hashlib
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def verify(text: str, keys: dict[str, str]) -> None:
    """Raises where a bundle is not accepted."""
    envelope_class, key_class, bundle_class = _libraries()
    bundle = bundle_class.from_json(text)
    if bundle.to_json() != text:
        raise ValueError("sigstore-models would write the bundle in another way")
    found = json.loads(text)
    pem = keys[found["verificationMaterial"]["publicKey"]["hint"]]
    key = key_class("", "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})
    envelope_class.from_dict(found["dsseEnvelope"]).verify([key], 1)


def _libraries() -> tuple[Any, Any, Any]:
    # By name: type checkers run where these libraries are not installed.
    return (
        import_module("securesystemslib.dsse").Envelope,
        import_module("securesystemslib.signer").SSlibKey,
        import_module("sigstore_models.bundle.v1").Bundle,
    )


def main(directory: Path) -> None:
    """Print the verdicts."""
    pems = [path.read_text() for path in directory.glob("*.pub")]
    keys = {hashlib.sha256(pem.encode()).hexdigest(): pem for pem in pems}
    verdicts: dict[str, str | None] = {}
    for path in sorted(directory.glob("*.sigstore.json")):
        try:
            verify(path.read_text(), keys)
            verdicts[path.name] = None
        except Exception as error:  # whatever a library raises means that it does not accept the bundle
            verdicts[path.name] = f"{type(error).__name__}: {error}"
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
