from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from penstock import Finding, Proposal, Severity
from penstock_trivy import binary, penstock_propose, propose
from penstock_trivy.settings import Trivy

KEY = (
    "-----BEGIN RSA PRIVATE " + "KEY-----\n" + "MIIEogIBAAKCAQEAx2" * 4 + "\n-----END RSA PRIVATE KEY-----\n"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trivy" / "db"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Trivy."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    return place


def ask(_: list[str]) -> str:
    return json.dumps({"Version": "0.99.0"})


def test_without_trivy_no_step_is_added(tmp_path: Path, bare: Path) -> None:
    found = propose.propose(tmp_path, ask)
    assert (found.sections, found.enable) == ({}, False)
    assert found.unsure == (
        'not added: a scan needs Trivy: pip install "penstock-trivy[binary]". Then: penstock init --add scan.all',
    )


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "not added: Trivy ended with 1 and looked at nothing"),
        ("exit 0", "not added: Trivy ended with 0 and looked at nothing"),
    ],
)
def test_a_trivy_that_does_not_do_its_work_is_no_step(
    tmp_path: Path, bare: Path, script: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "trivy").write_text(f"#!/bin/sh\n{script}\n")
    (bare / "trivy").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bare}:/usr/bin:/bin")
    (tmp_path / "project").mkdir()
    found = propose.propose(tmp_path / "project", ask)
    assert (found.sections, found.enable, found.unsure) == ({}, False, (why,))


@pytest.mark.parametrize(
    ("add", "scanners"),
    [("scan.all", ["secret"]), ("scan.deps", ["vulnerability"]), ("sign.all", None)],
)
def test_a_section_that_is_asked_for(tmp_path: Path, add: str, scanners: list[str] | None) -> None:
    found = propose.section(tmp_path, add)
    assert found.sections == ({add: {"scanners": scanners}} if scanners else {})


@pytest.mark.parametrize(
    ("file", "build"),
    [
        ("penstock.toml", '[build.wheel]\nuses = "python"\n[build.web]\nuses = "docker"\n'),
        ("pyproject.toml", '[tool.penstock.build.web]\nuses = "docker"\n'),
    ],
)
@pytest.mark.parametrize("add", ["scan.image", "scan.web"])
def test_where_an_image_is_built_it_is_scanned_for_everything(
    tmp_path: Path, file: str, build: str, add: str
) -> None:
    (tmp_path / file).write_text(build)
    found = propose.section(tmp_path, add)
    assert found.sections == {add: {"targets": "artifacts", "block": "high"}}
    assert found.saw.startswith(
        "looks into what build.web makes, for all that it knows; no vulnerability database"
    )
    Trivy.model_validate(found.sections[add])


def test_where_no_image_is_built_none_is_scanned(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('[build]\nimage = 1\n[build.wheel]\nuses = "python"\n')
    found = propose.section(tmp_path, "scan.image")
    assert found.sections == {"scan.image": {"scanners": ["secret"]}}
    assert found.unsure == (
        "no build section makes an image; the first is: penstock init --add build.image --uses docker",
    )


def test_the_database_that_is_there_is_named_with_its_age(tmp_path: Path, cache: Path) -> None:
    assert propose.section(tmp_path, "scan.deps").saw.endswith(
        "no vulnerability database yet (the first run fetches it)"
    )
    cache.mkdir(parents=True)
    (cache / "trivy.db").write_bytes(b"")
    made = datetime.now(UTC) - timedelta(days=3, hours=1)
    (cache / "metadata.json").write_text(
        json.dumps({"UpdatedAt": made.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")})
    )
    assert "vulnerability database 3 days old, of " in propose.section(tmp_path, "scan.deps").saw
    (cache / "metadata.json").write_text("{")
    assert "no vulnerability database yet" in propose.section(tmp_path, "scan.deps").saw


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("tests/key.pem", True),
        ("src/app/Tests/data/key.pem", True),
        ("docs/example.rst", True),
        ("app/test_it.py", True),
        ("src/app/settings.py", False),
        ("tests.py", False),
        ("README.md", False),
    ],
)
def test_only_what_tests_and_examples_hold_is_let_pass(path: str, known: bool) -> None:
    finding = Finding(id="key", kind="secret", severity=Severity.high, location=f"{path}:3")
    let_pass, shipped = propose._split([finding, finding])
    assert let_pass == ([("key", path)] if known else [])
    assert shipped == ([] if known else [finding, finding])


@pytest.mark.real
def test_trivy_itself_finds_what_is_there_already(tmp_path: Path) -> None:
    if binary.find(None) is None:
        pytest.skip("trivy is not installed")
    for name in ("tests/key.pem", "src/key.pem", ".venv/key.pem", "env/key.pem"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(KEY)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    found = penstock_propose(root=tmp_path, add=None)
    assert isinstance(found, Proposal)
    settings = Trivy.model_validate(found.sections["scan.all"])
    assert [(one.id, one.path) for one in settings.ignore] == [("private-key", "tests/key.pem")]
    [let_pass, closes] = found.unsure
    assert "tests/key.pem" in let_pass
    assert closes.startswith("src/key.pem:2: private-key (high) closes the gate of scan.all")
