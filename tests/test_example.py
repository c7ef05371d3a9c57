"""The example, from source to production with every real part, and what others make of its evidence."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Shop
from tests.verifiers.verifiers import CosignVerifier, NpmVerifier, Verdict

pytestmark = [pytest.mark.real, pytest.mark.slow]

STEPS = [
    *("source", "build.wheel", "test.integration", "test.unit", "scan.wheel", "sign.release"),
    *("deploy.staging", "verify.staging", "test.e2e"),
    *("approve.production", "deploy.production", "verify.production"),
]


@pytest.fixture(scope="module")
def shop(make_shop: Callable[[], Shop]) -> Shop:
    """The example, in production."""
    shop = make_shop()
    shop.passes("run", "--approve", "production")
    return shop


@pytest.fixture(scope="module")
def evidence(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All bundles about the wheel, and the public keys."""
    place = tmp_path_factory.mktemp("evidence")
    shop.passes("verify", shop.digest(), "--export", str(place))
    return place


def envelope(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundle.read_text())["dsseEnvelope"]
    return found


def statement(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(envelope(bundle)["payload"]))
    return found


def test_every_step_passed(shop: Shop) -> None:
    states = shop.states()
    assert sorted(states) == sorted(STEPS)
    assert set(states.values()) == {"passed"}
    assert [shop.step(name)["tests"]["passed"] for name in ("test.unit", "test.integration", "test.e2e")] == [
        28,
        6,
        3,
    ]


def test_what_runs_is_what_was_built_tested_and_signed(shop: Shop, evidence: Path) -> None:
    digest = shop.digest()
    assert "sha256:" + hashlib.sha256(shop.stored(digest).read_bytes()).hexdigest() == digest
    for environment in shop.ports:
        assert shop.get(environment)[0] == 200
        assert shop.release(environment) == digest
    subjects = {
        subject["digest"]["sha256"]
        for bundle in evidence.glob("*.sigstore.json")
        for subject in statement(bundle)["subject"]
    }
    assert subjects == {digest.removeprefix("sha256:")}


def test_the_evidence_is_complete(shop: Shop, evidence: Path) -> None:
    kinds = sorted(
        statement(bundle)["predicateType"].split("/")[-2] for bundle in evidence.glob("*.sigstore.json")
    )
    assert [kind for kind in kinds if kind != "cyclonedx.org"] == [
        "approval",
        *["deployment"] * 2,
        "provenance",
        "scan",
        *["test-result"] * 3,
        *["verification"] * 2,
    ]
    assert len(list(evidence.glob("*.pub"))) == 1
    done = shop.passes("verify", shop.digest())
    assert "All signatures verify" in done.out


def test_npm_accepts_every_bundle(evidence: Path) -> None:
    bundles = sorted(path.name for path in evidence.glob("*.sigstore.json"))
    assert len(bundles) >= 10
    assert NpmVerifier().verify(evidence) == {name: Verdict(accepted=True) for name in bundles}


def test_cosign_accepts_every_bundle(shop: Shop, evidence: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "shop.whl"
    wheel.write_bytes(shop.stored(shop.digest()).read_bytes())
    [key] = evidence.glob("*.pub")
    cosign = CosignVerifier()
    for bundle in sorted(evidence.glob("*.sigstore.json")):
        kind = statement(bundle)["predicateType"]
        assert cosign.verify(bundle, key, predicate_type=kind, artifact=wheel) == Verdict(True), bundle.name


def test_both_refuse_every_bundle_with_one_byte_changed(shop: Shop, evidence: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "shop.whl"
    wheel.write_bytes(shop.stored(shop.digest()).read_bytes())
    [key] = evidence.glob("*.pub")
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / key.name).write_bytes(key.read_bytes())
    for number, bundle in enumerate(sorted(evidence.glob("*.sigstore.json"))):
        whole = json.loads(bundle.read_text())
        payload = bytearray(base64.b64decode(whole["dsseEnvelope"]["payload"]))
        payload[(number * 97) % len(payload)] ^= 1
        whole["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        (changed / bundle.name).write_text(json.dumps(whole))
    verdicts = NpmVerifier().verify(changed)
    assert len(verdicts) >= 10
    assert [name for name, verdict in verdicts.items() if verdict.accepted] == []
    cosign = CosignVerifier()
    for bundle in sorted(changed.glob("*.sigstore.json")):
        kind = statement(evidence / bundle.name)["predicateType"]
        assert not cosign.verify(bundle, key, predicate_type=kind, artifact=wheel).accepted, bundle.name


def test_verify_refuses_a_statement_that_was_changed_in_the_store(
    shop: Shop, make_shop: Callable[[], Shop]
) -> None:
    other = make_shop()
    other.passes("run", "--only", "sign.release")
    for path in (other.root / ".penstock" / "artifacts").rglob("*"):
        if path.is_file() and b"in-toto.io/attestation/test-result" in path.read_bytes():
            if b"dsseEnvelope" in path.read_bytes():
                continue
            text = path.read_bytes()
            path.chmod(0o644)
            path.write_bytes(text.replace(b"test_", b"tset_", 1))
    done = other.run("verify", other.digest())
    assert done.code == 1
    assert "NOT PROVED" in done.out
    assert "they were changed after they were kept" in done.out


def test_rollback_returns_to_the_release_before(shop: Shop) -> None:
    first = shop.digest()
    text = (shop.root / "src/shop/__init__.py").read_text()
    shop.commit({"src/shop/__init__.py": text.replace("1.0.0", "1.0.1")})
    shop.commit({"pyproject.toml": (shop.root / "pyproject.toml").read_text().replace("1.0.0", "1.0.1")})
    shop.passes("run", "--approve", "production")
    assert shop.get("production")[1] == '{"status": "ok", "version": "1.0.1"}'
    shop.passes("rollback", "production")
    assert shop.get("production")[1] == '{"status": "ok", "version": "1.0.0"}'
    assert shop.release("production") == first
    assert shop.get("staging")[1] == '{"status": "ok", "version": "1.0.1"}'
