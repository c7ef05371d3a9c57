"""Settings, verdicts and the README: no program is run."""

from __future__ import annotations

import fcntl
import json
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from penstock import Finding, Severity, StepFailed
from penstock_trivy import Exemption, Trivy, command, database
from penstock_trivy.judge import block_of, covers, forbids, judge
from penstock_trivy.report import read
from pydantic import ValidationError

README = (Path(__file__).parent.parent / "README.md").read_text()
TODAY = date(2026, 11, 24)


def test_every_configuration_in_the_readme_is_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        for section in tomllib.loads(block)["scan"].values():
            Trivy.model_validate({k: v for k, v in section.items() if k not in ("uses", "env", "needs")})


def test_every_setting_is_in_the_readme() -> None:
    for name in [*Trivy.model_fields, *Exemption.model_fields]:
        assert f"| `{name}` |" in README


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scanners": []}, "at least 1 item"),
        ({"scanners": ["secret", "secret"]}, "names a kind twice"),
        ({"scanners": ["vuln"]}, "'vulnerability', 'secret', 'misconfiguration' or 'license'"),
        ({"block": "severe"}, "'none'"),
        ({"ignore": [{"id": "CVE-2099-0001"}]}, "reason"),
        ({"ignore": [{"id": "CVE-2099-0001", "reason": " "}]}, "reason"),
        ({"path": "bin/trivy"}, 'must start with "/" or "~/"'),
        ({"database_directory": "db"}, 'must start with "/" or "~/"'),
        ({"max_database_age": "old"}, "is not a duration"),
        ({"sha256": "1234"}, "sha256"),
    ],
    ids=str,
)
def test_bad_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Trivy.model_validate(settings)
    assert message in str(caught.value)


def test_settings_survive_json() -> None:
    entry = {"id": "x", "reason": "y", "until": TODAY}
    settings = Trivy.model_validate({"ignore": [entry], "block": "none", "max_database_age": "3d"})
    assert Trivy.model_validate_json(settings.model_dump_json()) == settings
    assert block_of(settings) is None
    assert block_of(Trivy()) is Severity.high


FOUND = Finding(
    id="private-key",
    kind="secret",
    severity=Severity.high,
    location="shop-1.0.tar.gz: shop-1.0/tests/certs/a.pem:1",
)
VULNERABLE = Finding(
    id="CVE-2099-0001", kind="vulnerability", severity=Severity.low, location="uv.lock", package="leaky"
)


@pytest.mark.parametrize(
    ("exemption", "finding", "expected"),
    [
        ({"id": "private-key"}, FOUND, True),
        ({"id": "private-key", "path": "tests/certs/*"}, FOUND, True),
        ({"id": "private-key", "path": "tests/certs/a.pem"}, FOUND, True),
        ({"id": "private-key", "path": "certs/b.pem"}, FOUND, False),
        ({"id": "private-key", "path": "shop-1.0.tar.gz"}, FOUND, False),
        ({"id": "private-ke*"}, FOUND, False),
        ({"id": "CVE-2099-0001", "package": "leaky"}, VULNERABLE, True),
        ({"id": "CVE-2099-0001", "package": "other"}, VULNERABLE, False),
        ({"id": "CVE-2099-0001", "package": "leaky", "path": "poetry.lock"}, VULNERABLE, False),
    ],
)
def test_exemption_covers(exemption: dict[str, str], finding: Finding, expected: bool) -> None:
    assert covers(Exemption.model_validate({**exemption, "reason": "x"}), finding) is expected


def test_findings_come_once_and_worst_first() -> None:
    settings = Trivy.model_validate({"ignore": [{"id": "private-key", "reason": "made for the tests"}]})
    judged = judge([FOUND, VULNERABLE, VULNERABLE], settings, TODAY)
    assert judged == (VULNERABLE, FOUND.model_copy(update={"ignored": "made for the tests"}))


@pytest.mark.parametrize(
    ("expression", "allowed", "forbidden", "passes"),
    [
        ("GPL-3.0-only", [], [], False),
        ("GPL-3.0-only", ["GPL-3.0-only"], [], True),
        ("GPL-3.0-only", ["GPL-3.0-only"], ["GPL-3.0-only"], False),
        ("GPL-3.0-only AND AGPL-3.0-only", ["GPL-3.0-only"], [], False),
        ("(GPL-3.0-only AND AGPL-3.0-only)", ["gpl-3.0-only", "AGPL-3.0-only"], [], True),
        ("GPL-2.0-only WITH Some-exception", ["GPL-2.0-only"], [], False),
        ("GPL-2.0-only WITH Some-exception", ["GPL-2.0-only WITH Some-exception"], [], True),
        ("Our own", ["Our own"], [], True),
        ("and", [], [], False),
    ],
)
def test_licence_is_allowed_as_a_whole(
    expression: str, allowed: list[str], forbidden: list[str], passes: bool
) -> None:
    settings = Trivy.model_validate({"license_allowed": allowed, "license_forbidden": forbidden})
    finding = Finding(id=expression, kind="license", severity=Severity.high)
    (judged,) = judge([finding], settings, TODAY)
    assert (judged.ignored is not None) is passes


def test_licence_is_forbidden_even_as_a_choice() -> None:
    test = forbids(["SSPL-1.0"])
    assert [test(text) for text in ("sspl-1.0", "MIT OR (SSPL-1.0)", "MIT")] == [True, True, False]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"SchemaVersion": 2, "Results": null}', "null", "1e999", "\ud800"]
)
def test_report_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(StepFailed, match="trivy fs ended with 0, but"):
        read(text, "fs")


def test_scan_command(tmp_path: Path) -> None:
    files = command.Files(Path("/t"))
    argv = command.scan(
        Path("/bin/trivy"), "fs", ("vulnerability", "secret"), Path("/x"), Path("/r.json"), files
    )
    assert argv[:2] == ["/bin/trivy", "fs"]
    assert argv[-1] == "/x"
    assert "vuln,secret" in argv
    for flag in ("--skip-db-update", "--skip-version-check", "--disable-telemetry", "--offline-scan"):
        assert flag in argv
    files = command.Files(tmp_path / "files")
    files.write()
    assert files.ignore.read_text() == ""
    assert json.loads(files.config.read_text()) == {}


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "limit", "words"),
    [
        (timedelta(seconds=5), 60.0, "less than a minute"),
        (timedelta(minutes=1), None, "1 minute"),
        (timedelta(hours=5), 86400.0, "5 hours"),
        (timedelta(days=400), None, "400 days"),
        (timedelta(days=-1), 60.0, "less than a minute"),
    ],
)
def test_age_of_the_database(age: timedelta, limit: float | None, words: str, tmp_path: Path) -> None:
    known = database.Database(tmp_path, NOW - age)
    assert database.require(known, tmp_path, limit, NOW) is known
    assert known.describe(NOW) == f"{words} old, of {NOW - age:%Y-%m-%d %H:%M} UTC"


def test_database_is_not_fetched_while_it_is_read(tmp_path: Path) -> None:
    with database.held(tmp_path), database.held(tmp_path), (tmp_path / "penstock.lock").open("ab") as other:
        excluded = pytest.raises(BlockingIOError)
        with excluded:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with database.alone(tmp_path / "new"):
        pass
    with database.held(tmp_path / "nowhere"):
        pass


def test_old_database_is_refused(tmp_path: Path) -> None:
    known = database.Database(tmp_path, NOW - timedelta(days=8))
    with pytest.raises(
        StepFailed, match="is 8 days old, and max_database_age allows 7 days: nothing was scanned"
    ):
        database.require(known, tmp_path, Trivy().max_database_age, NOW)


def test_database_of_the_future_is_refused(tmp_path: Path) -> None:
    known = database.Database(tmp_path, NOW + timedelta(days=2))
    with pytest.raises(
        StepFailed, match=r"says that it was made on 2026-11-26 12:00 UTC, and here it is 2026-11-24"
    ):
        database.require(known, tmp_path, None, NOW)


@pytest.mark.parametrize("metadata", ["", "{}", "[]", '{"UpdatedAt": "yesterday"}', '{"UpdatedAt": null}'])
def test_database_that_does_not_say_its_age_is_refused(tmp_path: Path, metadata: str) -> None:
    (tmp_path / "db").mkdir()
    assert database.present(tmp_path) is None
    (tmp_path / "db" / "trivy.db").touch()
    (tmp_path / "db" / "metadata.json").write_text(metadata)
    with pytest.raises(StepFailed, match="doesn't say when it was made"):
        database.present(tmp_path)
