"""A Sigstore bundle v0.3 around one statement, signed with one P-256 key: written, read and verified.

There is exactly one text for a statement, a key and a signature. The bundle is written by hand as JSON
and read by asking whether it is that text, so nothing that another reader might take differently
(white space, a second `payload`, base64 with spare bits, an unknown field, the other `s`) gets through.
Which keys may sign is not decided here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock import StepRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve P-256


@dataclass(frozen=True)
class Sealed:
    """What a bundle adds to its statement: a signature, and the name of the key that made it."""

    hint: str
    signature: bytes


def seal(key: EllipticCurvePrivateKey, hint: str, statement: bytes) -> str:
    """Sign exactly these bytes; the bundle's text. `hint` is the fingerprint of the key's public half."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = decode_dss_signature(key.sign(_signed_bytes(statement), ECDSA(SHA256())))
    # (r, s) and (r, order - s) both verify, for everybody. Only the lower is used, so that nobody can
    # turn a signature into another one that holds as well.
    return _text(Sealed(hint, encode_dss_signature(r, min(s, _ORDER - s))), statement)


def read(text: str, statement: bytes) -> Sealed:
    """Take a bundle apart that speaks of these bytes; its signature is well formed but not yet verified.

    Raises StepRefused, with the reason, where it is not the one text that `seal` would have written.
    """
    try:
        found = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise StepRefused(f"the bundle is not JSON: {error}") from None
    bundle = _fields(found, ("mediaType", "verificationMaterial", "dsseEnvelope"), "the bundle")
    _equal(bundle["mediaType"], MEDIA_TYPE, "mediaType")
    material = _fields(bundle["verificationMaterial"], ("publicKey", "tlogEntries"), "verificationMaterial")
    hint = _string(_fields(material["publicKey"], ("hint",), "publicKey")["hint"], "hint")
    if not _FINGERPRINT.fullmatch(hint):
        raise StepRefused("the bundle's hint is not the fingerprint of a key: 64 hexadecimal digits")
    _equal(material["tlogEntries"], [], "tlogEntries")
    envelope = _fields(bundle["dsseEnvelope"], ("payload", "payloadType", "signatures"), "dsseEnvelope")
    _equal(envelope["payloadType"], PAYLOAD_TYPE, "payloadType")
    if envelope["payload"] != _base64(statement):
        raise StepRefused("the bundle's payload is not the statement, byte for byte, in plain base64")
    sealed = Sealed(hint, _signature(envelope["signatures"]))
    if text != _text(sealed, statement):
        raise StepRefused(
            "the bundle is not in its one form: it reads the same, but its text was changed "
            "(white space, order or escapes)"
        )
    return sealed


def verify(key: EllipticCurvePublicKey, sealed: Sealed, statement: bytes) -> None:
    """Check the signature. Raises StepRefused where `key` did not sign these bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(sealed.signature, _signed_bytes(statement), ECDSA(SHA256()))
    except InvalidSignature:
        raise StepRefused(
            f"the signature was not made by the key {sealed.hint} over this statement"
        ) from None


def _signed_bytes(statement: bytes) -> bytes:
    """DSSE's pre-authentication encoding: lengths first, so that type and body can't be shifted."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(statement), statement)


def _text(sealed: Sealed, statement: bytes) -> str:
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": sealed.hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _base64(statement),
            "payloadType": PAYLOAD_TYPE,
            # cosign refuses every keyid but the empty one.
            "signatures": [{"sig": _base64(sealed.signature), "keyid": ""}],
        },
    }
    return json.dumps(bundle, separators=(",", ":"))


def _signature(found: Any) -> bytes:
    """The one signature of an envelope: strict base64 of strict DER, with the lower `s`."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    if not isinstance(found, list) or len(found) != 1:
        count = len(found) if isinstance(found, list) else "no list of"
        raise StepRefused(f"the bundle has {count} signatures; exactly one is accepted")
    entry = _fields(found[0], ("sig", "keyid"), "the signature")
    _equal(entry["keyid"], "", "keyid")
    text = _string(entry["sig"], "sig")
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StepRefused("the bundle's sig is not base64") from None
    if _base64(signature) != text:
        raise StepRefused("the bundle's sig is not plain base64: its last character has spare bits")
    try:
        r, s = decode_dss_signature(signature)
        # The decoder is strict by itself; writing it anew does not rest on that.
        in_der = encode_dss_signature(r, s) == signature
    except ValueError:
        in_der = False
    if not in_der:
        raise StepRefused("the bundle's sig is not an ECDSA signature in DER")
    if s > _ORDER // 2:
        raise StepRefused("the bundle's sig has the higher s; Penstock writes and accepts only the lower")
    return signature


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1)
        raise StepRefused(f"the bundle has the field {json.dumps(twice)} more than once")
    return found


def _fields(found: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise StepRefused(f"{where} is not a JSON object")
    for name in names:
        if name not in found:
            raise StepRefused(f'{where} has no field "{name}"')
    for name in found:
        if name not in names:
            raise StepRefused(f"{where} has a field that is not known here: {json.dumps(name)}")
    return found


def _equal(found: Any, expected: Any, name: str) -> None:
    if found != expected:
        raise StepRefused(
            f"the bundle's {name} is {json.dumps(found)[:80]}; only {json.dumps(expected)} is accepted"
        )


def _string(found: Any, name: str) -> str:
    if not isinstance(found, str):
        raise StepRefused(f"the bundle's {name} is not a string")
    return found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def digest_of(statement: bytes) -> str:
    """The digest by which a statement is known."""
    return "sha256:" + hashlib.sha256(statement).hexdigest()
