"""Verifies every DIR/*.sigstore.json with securesystemslib, and reads it with sigstore-models.

The keys are DIR/*.pub; a bundle's hint finds its key by the SHA-256 of the PEM text. Prints one JSON
object: the file's name to null where the bundle is accepted, and to the reason where it is not. Runs in
a process of its own, with those libraries on its path.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def verify(text: str, keys: dict[str, str]) -> None:
    """Raises where a bundle is not accepted."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey
    from sigstore_models.bundle.v1 import Bundle

    bundle: Any = Bundle.from_json(text)
    if bundle.to_json() != text:
        raise ValueError("sigstore-models would write the bundle in another way")
    found = json.loads(text)
    envelope = found["dsseEnvelope"]
    for signature in envelope["signatures"]:
        # securesystemslib takes a signature as hexadecimal digits out of its own files only.
        signature["sig"] = base64.b64encode(base64.b64decode(signature["sig"], validate=True)).decode()
    pem = keys[found["verificationMaterial"]["publicKey"]["hint"]]
    key: Any = SSlibKey("", "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})
    Envelope.from_dict(envelope).verify([key], 1)


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
