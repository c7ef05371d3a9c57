"""What the sigstore plugin signs is accepted by other people's verifiers, and refused once it is changed."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from penstock.testing import StepMaker
from penstock_sigstore import Sigstore, penstock_sign
from penstock_sigstore.keyring import Keyring

from tests.verifiers.verifiers import (
    CosignVerifier,
    NpmVerifier,
    PythonVerifier,
    Verdict,
    attestation_argv,
    mirror,
)

WHEEL = b"the bytes of a wheel"
IMAGE = hashlib.sha256(b"an image").hexdigest()
TYPES = (
    "https://slsa.dev/provenance/v1",
    "https://in-toto.io/attestation/test-result/v0.1",
    "https://in-toto.io/attestation/vulns/v0.2",
    "https://cyclonedx.org/bom",
    "https://example.com/penstock/deployment/v1",
)


@dataclass(frozen=True)
class Signed:
    """Bundles in a directory, with the one public key that made them."""

    directory: Path
    key: Path
    other_key: Path
    wheel: Path
    bundles: dict[str, str]
    """By predicate type."""

    def file(self, predicate_type: str) -> Path:
        return self.directory / f"{TYPES.index(predicate_type)}.sigstore.json"


def statement(predicate_type: str) -> bytes:
    """About a wheel and an image; not in canonical JSON, and not in ASCII."""
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": "shop-1.0.0-py3-none-any.whl",
                    "digest": {"sha256": hashlib.sha256(WHEEL).hexdigest()},
                },
                {"name": "shop-bücher", "digest": {"sha256": IMAGE, "sha512": "0" * 128}},
            ],
            "predicateType": predicate_type,
            "predicate": {"result": "PASSED", "configuration": []},
        },
        indent=1,
        ensure_ascii=False,
    ).encode()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    root = tmp_path_factory.mktemp("signed")
    maker = StepMaker(root / "penstock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(root / "data"))
        step = maker("sign.release")
        signatures = penstock_sign(Sigstore(), step, [statement(kind) for kind in TYPES])
        step.close()
    keyring = Keyring(root / "data" / "penstock" / "keys")
    key_id = keyring.default()
    assert key_id
    directory = root / "bundles"
    directory.mkdir()
    result = Signed(
        directory,
        key=directory / "signer.pub",
        other_key=root / "other.pub",
        wheel=root / "shop-1.0.0-py3-none-any.whl",
        bundles={kind: signature.bundle for kind, signature in zip(TYPES, signatures, strict=True)},
    )
    result.key.write_text(keyring.public(key_id).pem)
    result.other_key.write_text(keyring.public(keyring.create()).pem)
    result.wheel.write_bytes(WHEEL)
    for kind, text in result.bundles.items():
        result.file(kind).write_text(text)
    return result


def with_changed(text: str, field: str, position: int) -> str:
    """A bundle with one byte of its payload, or of its signature, changed: the base64 is made anew."""
    parsed = json.loads(text)
    holder = parsed["dsseEnvelope"] if field == "payload" else parsed["dsseEnvelope"]["signatures"][0]
    data = bytearray(base64.b64decode(holder[field]))
    data[position % len(data)] ^= 1
    holder[field] = base64.b64encode(data).decode()
    return json.dumps(parsed, separators=(",", ":"))


def write_changed(signed: Signed, directory: Path, *, stride: int = 1) -> int:
    """One bundle for every byte of the payload and the signature, that byte changed. How many."""
    (directory / "signer.pub").write_text(signed.key.read_text())
    text = signed.bundles[TYPES[0]]
    signature = json.loads(text)["dsseEnvelope"]["signatures"][0]["sig"]
    lengths = {"payload": len(statement(TYPES[0])), "sig": len(base64.b64decode(signature))}
    count = 0
    for field, length in lengths.items():
        for position in range(0, length, stride):
            changed = with_changed(text, field, position)
            (directory / f"{field}-{position:04}.sigstore.json").write_text(changed)
            count += 1
    return count


@pytest.mark.real
@pytest.mark.parametrize("verifier", [NpmVerifier(), PythonVerifier()], ids=["npm", "python"])
def test_library_accepts_every_bundle(verifier: NpmVerifier | PythonVerifier, signed: Signed) -> None:
    assert verifier.verify(signed.directory) == {
        f"{number}.sigstore.json": Verdict(accepted=True) for number in range(len(TYPES))
    }


@pytest.mark.real
@pytest.mark.parametrize("verifier", [NpmVerifier(), PythonVerifier()], ids=["npm", "python"])
def test_library_refuses_every_changed_byte(
    verifier: NpmVerifier | PythonVerifier, signed: Signed, tmp_path: Path
) -> None:
    count = write_changed(signed, tmp_path)
    verdicts = verifier.verify(tmp_path)
    assert len(verdicts) == count > 400
    assert [name for name, verdict in verdicts.items() if verdict.accepted] == []


@pytest.mark.real
@pytest.mark.parametrize("verifier", [NpmVerifier(), PythonVerifier()], ids=["npm", "python"])
def test_library_refuses_a_bundle_of_an_unknown_key(
    verifier: NpmVerifier | PythonVerifier, signed: Signed, tmp_path: Path
) -> None:
    (tmp_path / "other.pub").write_text(signed.other_key.read_text())
    (tmp_path / "a.sigstore.json").write_text(signed.bundles[TYPES[0]])
    (verdict,) = verifier.verify(tmp_path).values()
    assert not verdict.accepted


@pytest.fixture(scope="module")
def cosign() -> CosignVerifier:
    return CosignVerifier()


@pytest.mark.real
@pytest.mark.parametrize("kind", TYPES)
def test_cosign_accepts_a_bundle_for_each_of_its_subjects(
    kind: str, cosign: CosignVerifier, signed: Signed
) -> None:
    by_file = cosign.verify(signed.file(kind), signed.key, predicate_type=kind, artifact=signed.wheel)
    by_digest = cosign.verify(signed.file(kind), signed.key, predicate_type=kind, sha256=IMAGE)
    assert (by_file, by_digest) == (Verdict(accepted=True), Verdict(accepted=True))


@pytest.mark.real
def test_cosign_refuses_what_the_bundle_does_not_say(
    cosign: CosignVerifier, signed: Signed, tmp_path: Path
) -> None:
    bundle, kind = signed.file(TYPES[0]), TYPES[0]
    other = tmp_path / "other.whl"
    other.write_bytes(WHEEL + b"!")
    artifact = cosign.verify(bundle, signed.key, predicate_type=kind, artifact=other)
    digest = cosign.verify(bundle, signed.key, predicate_type=kind, sha256="0" * 64)
    predicate = cosign.verify(bundle, signed.key, predicate_type=TYPES[1], artifact=signed.wheel)
    key = cosign.verify(bundle, signed.other_key, predicate_type=kind, artifact=signed.wheel)
    for verdict in (artifact, digest, predicate, key):
        assert not verdict.accepted
    assert "digest" in artifact.reason
    assert "digest" in digest.reason
    assert "predicate type" in predicate.reason
    assert "signature" in key.reason


@pytest.mark.real
def test_cosign_refuses_changed_bytes(cosign: CosignVerifier, signed: Signed, tmp_path: Path) -> None:
    count = write_changed(signed, tmp_path, stride=23)
    files = sorted(tmp_path.glob("*.sigstore.json"))
    assert len(files) == count > 20
    for file in files:
        verdict = cosign.verify(file, signed.key, predicate_type=TYPES[0], artifact=signed.wheel)
        assert not verdict.accepted, file.name


@pytest.mark.real
def test_cosign_is_of_the_generation_that_reads_these_bundles(cosign: CosignVerifier) -> None:
    assert cosign.version.startswith("3.")


@pytest.mark.parametrize(
    ("artifact", "sha256", "ending"),
    [
        (Path("a.whl"), "", ["a.whl"]),
        (None, "0" * 64, ["--digest", "0" * 64, "--digestAlg", "sha256"]),
    ],
    ids=["file", "digest"],
)
def test_cosign_command_line(artifact: Path | None, sha256: str, ending: list[str]) -> None:
    argv = attestation_argv(Path("cosign"), Path("b"), Path("k"), TYPES[0], artifact, sha256)
    assert [str(word) for word in argv] == [
        *("cosign", "verify-blob-attestation", "--key", "k", "--bundle", "b"),
        *("--insecure-ignore-tlog=true", "--type", TYPES[0], *ending),
    ]


def test_cosign_without_an_artifact_is_refused() -> None:
    with pytest.raises(ValueError, match="cosign needs the artifact, or its SHA-256"):
        attestation_argv(Path("cosign"), Path("b"), Path("k"), TYPES[0], None, "")


def test_mirror_is_the_one_of_the_machines_own_suite() -> None:
    uris = (
        "'http://one.example/debian-security/dists/bookworm-security/InRelease' a 0 \n"
        "'http://two.example/debian/dists/bookworm/InRelease' b 0 \n"
    )
    assert mirror(uris, "bookworm") == "http://two.example/debian"
    with pytest.raises(RuntimeError, match="apt has no source for Debian's suite trixie"):
        mirror(uris, "trixie")
