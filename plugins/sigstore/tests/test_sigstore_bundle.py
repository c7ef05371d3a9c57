from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import StepRefused
from penstock_sigstore import bundle
from penstock_sigstore.pem import public_half

KEY = generate_private_key(SECP256R1())
PUBLIC = public_half(KEY)
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "ä.whl", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    }
).encode()
BUNDLE = bundle.seal(KEY, PUBLIC.id, STATEMENT)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def check(text: str, statement: bytes = STATEMENT) -> str:
    """The key's name, where the bundle is a good one. Raises StepRefused."""
    sealed = bundle.read(text, statement)
    if sealed.hint != PUBLIC.id:
        raise StepRefused("another key")
    bundle.verify(KEY.public_key(), sealed, statement)
    return sealed.hint


def edited(change: Callable[[Any], object]) -> str:
    """The bundle with a change to its parsed form, written as compactly as before."""
    parsed = json.loads(BUNDLE)
    change(parsed)
    return json.dumps(parsed, separators=(",", ":"))


def with_signature(signature: bytes) -> str:
    return edited(
        lambda b: b["dsseEnvelope"]["signatures"][0].update(sig=base64.b64encode(signature).decode())
    )


def signature() -> bytes:
    return base64.b64decode(json.loads(BUNDLE)["dsseEnvelope"]["signatures"][0]["sig"])


def test_bundle_has_the_standards_shape() -> None:
    assert json.loads(BUNDLE) == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": PUBLIC.id}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(STATEMENT).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(signature()).decode(), "keyid": ""}],
        },
    }


def test_signature_is_over_the_pre_authentication_encoding() -> None:
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(STATEMENT) + STATEMENT
    KEY.public_key().verify(signature(), signed, ECDSA(SHA256()))


def test_bundle_is_accepted_over_its_statement() -> None:
    assert check(BUNDLE) == PUBLIC.id


def test_every_changed_bit_of_a_bundle_is_refused() -> None:
    data = BUNDLE.encode()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(StepRefused):
                check(changed.decode("latin-1"))


def test_every_changed_byte_of_a_statement_is_refused() -> None:
    for position in range(len(STATEMENT)):
        changed = bytearray(STATEMENT)
        changed[position] ^= 1
        with pytest.raises(StepRefused, match="payload is not the statement"):
            check(BUNDLE, bytes(changed))


def test_every_other_payload_with_its_bundle_rewritten_is_refused() -> None:
    for position in range(0, len(STATEMENT), 7):
        changed = bytearray(STATEMENT)
        changed[position] ^= 1
        text = BUNDLE.replace(base64.b64encode(STATEMENT).decode(), base64.b64encode(changed).decode())
        with pytest.raises(StepRefused, match="the signature was not made by the key"):
            check(text, bytes(changed))


@given(statement=st.binary(max_size=400))
def test_any_bytes_are_sealed_and_accepted(statement: bytes) -> None:
    check(bundle.seal(KEY, PUBLIC.id, statement), statement)


@given(position=st.integers(0, len(BUNDLE)), extra=st.text(min_size=1, max_size=4))
def test_anything_inserted_into_a_bundle_is_refused(position: int, extra: str) -> None:
    with pytest.raises(StepRefused):
        check(BUNDLE[:position] + extra + BUNDLE[position:])


@given(start=st.integers(0, len(BUNDLE) - 1), length=st.integers(1, 40))
def test_anything_cut_out_of_a_bundle_is_refused(start: int, length: int) -> None:
    text = BUNDLE[:start] + BUNDLE[start + length :]
    with pytest.raises(StepRefused):
        check(text)


@settings(max_examples=200)
@given(text=st.text(max_size=100))
def test_any_text_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(StepRefused):
        check(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES: list[tuple[Any, ...]] = [
    (),
    ("mediaType",),
    ("verificationMaterial",),
    ("verificationMaterial", "publicKey"),
    ("verificationMaterial", "publicKey", "hint"),
    ("verificationMaterial", "tlogEntries"),
    ("dsseEnvelope",),
    ("dsseEnvelope", "payload"),
    ("dsseEnvelope", "payloadType"),
    ("dsseEnvelope", "signatures"),
    ("dsseEnvelope", "signatures", 0),
    ("dsseEnvelope", "signatures", 0, "sig"),
    ("dsseEnvelope", "signatures", 0, "keyid"),
]


@given(place=st.sampled_from(PLACES), value=json_values)
def test_any_other_value_in_any_place_is_refused(place: tuple[Any, ...], value: Any) -> None:
    parsed: Any = {"": json.loads(BUNDLE)}
    holder, path = parsed, ("", *place)
    for name in path[:-1]:
        holder = holder[name]
    if holder[path[-1]] == value and type(holder[path[-1]]) is type(value):
        return
    holder[path[-1]] = value
    with pytest.raises(StepRefused):
        check(json.dumps(parsed[""], separators=(",", ":")))


def higher_s() -> bytes:
    r, s = decode_dss_signature(signature())
    return encode_dss_signature(r, ORDER - s)


def spare_bits() -> str:
    """The bundle with a `sig` whose last character carries bits that decode to nothing."""
    while True:
        text = bundle.seal(KEY, PUBLIC.id, STATEMENT)
        sig = json.loads(text)["dsseEnvelope"]["signatures"][0]["sig"]
        if sig.endswith("="):
            break
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = sig.rstrip("=")[-1]
    spare = sig.rstrip("=")[:-1] + alphabet[alphabet.index(last) | 1] + "=" * sig.count("=")
    assert base64.b64decode(spare) == base64.b64decode(sig)
    assert spare != sig
    return text.replace(sig, spare)


def raw_64_bytes() -> bytes:
    r, s = decode_dss_signature(signature())
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


REFUSED: dict[str, tuple[str, str]] = {
    "two signatures": (
        edited(lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0])),
        "the bundle has 2 signatures; exactly one is accepted",
    ),
    "no signature": (
        edited(lambda b: b["dsseEnvelope"].update(signatures=[])),
        "the bundle has 0 signatures; exactly one is accepted",
    ),
    "signatures no list": (
        edited(lambda b: b["dsseEnvelope"].update(signatures={})),
        "the bundle has no list of signatures; exactly one is accepted",
    ),
    "duplicate key": (
        BUNDLE.replace('"payloadType"', '"payload":"","payloadType"'),
        'the bundle has the field "payload" more than once',
    ),
    "duplicate key, same value": (
        BUNDLE.replace('"keyid":""', '"keyid":"","keyid":""'),
        'the bundle has the field "keyid" more than once',
    ),
    "other payload type": (
        edited(lambda b: b["dsseEnvelope"].update(payloadType="text/plain")),
        'the bundle\'s payloadType is "text/plain"; only "application/vnd.in-toto+json" is accepted',
    ),
    "other media type": (
        BUNDLE.replace("v0.3", "v0.2"),
        'the bundle\'s mediaType is "application/vnd.dev.sigstore.bundle.v0.2+json"; '
        'only "application/vnd.dev.sigstore.bundle.v0.3+json" is accepted',
    ),
    "keyid": (
        BUNDLE.replace('"keyid":""', f'"keyid":"{PUBLIC.id}"'),
        f'the bundle\'s keyid is "{PUBLIC.id}"; only "" is accepted',
    ),
    "no keyid": (
        BUNDLE.replace(',"keyid":""', ""),
        'the signature has no field "keyid"',
    ),
    "unknown field": (
        edited(lambda b: b.update(messageSignature={})),
        'the bundle has a field that is not known here: "messageSignature"',
    ),
    "certificate beside the key": (
        edited(lambda b: b["verificationMaterial"].update(certificate={"rawBytes": ""})),
        'verificationMaterial has a field that is not known here: "certificate"',
    ),
    "hint in capitals": (
        BUNDLE.replace(PUBLIC.id, PUBLIC.id.upper()),
        "the bundle's hint is not the fingerprint of a key: 64 hexadecimal digits",
    ),
    "control characters in a name": (
        edited(lambda b: b.update({"\x1b[2J": 1})),
        'the bundle has a field that is not known here: "\\u001b[2J"',
    ),
    "log entry": (
        edited(lambda b: b["verificationMaterial"].update(tlogEntries=[{}])),
        "the bundle's tlogEntries is [{}]; only [] is accepted",
    ),
    "higher s": (
        with_signature(higher_s()),
        "the bundle's sig has the higher s; Penstock writes and accepts only the lower",
    ),
    "raw signature": (
        with_signature(raw_64_bytes()),
        "the bundle's sig is not an ECDSA signature in DER",
    ),
    "bytes after the DER": (
        with_signature(signature() + b"\0"),
        "the bundle's sig is not an ECDSA signature in DER",
    ),
    "long form of a length": (
        with_signature(b"\x30\x81" + signature()[1:]),
        "the bundle's sig is not an ECDSA signature in DER",
    ),
    "number with a zero before it": (
        with_signature(bytes([0x30, signature()[1] + 1, 0x02, signature()[3] + 1, 0x00]) + signature()[4:]),
        "the bundle's sig is not an ECDSA signature in DER",
    ),
    "negative number": (
        with_signature(bytes.fromhex("300602018102017f")),
        "the bundle's sig is not an ECDSA signature in DER",
    ),
    "junk inside base64": (
        BUNDLE.replace('"sig":"M', '"sig":"*M'),
        "the bundle's sig is not base64",
    ),
    "zero": (
        with_signature(encode_dss_signature(0, 0)),
        f"the signature was not made by the key {PUBLIC.id} over this statement",
    ),
    "spare bits": (
        spare_bits(),
        "the bundle's sig is not plain base64: its last character has spare bits",
    ),
    "no padding": (
        edited(lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="MEQCIA")),
        "the bundle's sig is not base64",
    ),
    "base64url": (
        edited(lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="-_8=")),
        "the bundle's sig is not base64",
    ),
    "base64 not ASCII": (
        edited(lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="ä")),
        "the bundle's sig is not base64",
    ),
    "white space": (
        json.dumps(json.loads(BUNDLE)),
        "the bundle is not in its one form: it reads the same, but its text was changed "
        "(white space, order or escapes)",
    ),
    "newline at the end": (
        BUNDLE + "\n",
        "the bundle is not in its one form: it reads the same, but its text was changed "
        "(white space, order or escapes)",
    ),
    "order": (
        json.dumps(json.loads(BUNDLE), sort_keys=True, separators=(",", ":")),
        "the bundle is not in its one form: it reads the same, but its text was changed "
        "(white space, order or escapes)",
    ),
    "escape": (
        BUNDLE.replace('"keyid"', '"key\\u0069d"'),
        "the bundle is not in its one form: it reads the same, but its text was changed "
        "(white space, order or escapes)",
    ),
    "deep": ("[" * 100_000, "the bundle is not JSON: "),
    "a huge number": ("9" * 10_000, "the bundle is not JSON: "),
    "empty": ("", "the bundle is not JSON: "),
    "null": ("null", "the bundle is not a JSON object"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_bundle_in_any_other_form_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(StepRefused) as refused:
        check(text)
    found = str(refused.value)
    assert found.startswith(reason) if reason.endswith(": ") else found == reason


def test_higher_s_is_a_valid_signature_that_only_this_rule_refuses() -> None:
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(STATEMENT) + STATEMENT
    KEY.public_key().verify(higher_s(), signed, ECDSA(SHA256()))


def test_signing_always_gives_the_lower_s() -> None:
    for _ in range(40):
        text = bundle.seal(KEY, PUBLIC.id, b"{}")
        sig = base64.b64decode(json.loads(text)["dsseEnvelope"]["signatures"][0]["sig"])
        assert decode_dss_signature(sig)[1] <= ORDER // 2


def test_signature_of_another_payload_type_is_refused() -> None:
    signed = b"DSSEv1 10 text/plain %d " % len(STATEMENT) + STATEMENT
    r, s = decode_dss_signature(KEY.sign(signed, ECDSA(SHA256())))
    with pytest.raises(StepRefused, match="the signature was not made by the key"):
        check(with_signature(encode_dss_signature(r, min(s, ORDER - s))))
