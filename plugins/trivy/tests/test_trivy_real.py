"""Whole scans with the real Trivy."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from penstock import Finding, ScanReport, Severity, StepFailed
from penstock.testing import StepMaker
from penstock_trivy import Trivy, penstock_scan, penstock_tools

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("trivy")]

KEY = "AKIA" + "Q3EGRZ7T4WLP2NXA"  # in two parts, or a scan of this repository would find it
LEAK = f'\nAWS_KEY = "{KEY}"\n'
NOTHING_MORE: dict[str, Any] = {"scanners": ("secret", "license"), "sbom": False}
METADATA = "Metadata-Version: 2.1\nName: {0}\nVersion: 1.0\nLicense: {1}\n"
WHEEL = {"shop/api.py": "x = 1\n", "shop-1.0.0.dist-info/METADATA": METADATA.format("shop", "MIT")}

Archive = Callable[..., Path]


def scan(
    make_step: StepMaker,
    archive: Path | None = None,
    files: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    **settings: Any,
) -> ScanReport:
    artifacts = [make_step.store.keep(archive, "wheel")] if archive else []
    step = make_step("scan.wheel", files=files or {}, artifacts=artifacts, env=env)
    return penstock_scan(Trivy.model_validate({**NOTHING_MORE, **settings}), step)


def places(report: ScanReport) -> list[tuple[str, str]]:
    return [(finding.id, finding.location) for finding in report.blocking]


def test_clean_wheel_passes_and_says_what_was_not_looked_for(make_step: StepMaker, zipped: Archive) -> None:
    report = scan(make_step, zipped(WHEEL), {"src/shop/api.py": "x = 1\n"})
    asked = 'not asked for (scanners = ["secret", "license"])'
    assert report == ScanReport(
        scanner=report.scanner,
        findings=(),
        block=Severity.high,
        looked_for=("secret", "license"),
        not_looked_for={"vulnerability": asked, "misconfiguration": asked},
    )
    assert report.scanner.startswith("trivy 0.")


@pytest.mark.parametrize(
    "place",
    [
        *("shop/api.py", "tests/test_api.py", "examples/run.py", "README.md", "vendor/x.py", "dev/x.py"),
        *("shop/locale/x.py", "shop-1.0.0.dist-info/notes.txt", "package-lock.json", "shop/.git/config"),
        *("usr/lib/x.py", "node_modules/x/index.js", "proc/x", "shop/logo.svg"),
    ],
)
def test_leaked_key_in_wheel_blocks(make_step: StepMaker, zipped: Archive, place: str) -> None:
    report = scan(make_step, zipped({**WHEEL, place: LEAK}), targets="artifacts")
    assert places(report) == [("aws-access-key-id", f"shop-1.0.0-py3-none-any.whl: {place}:2")]
    assert [finding.severity for finding in report.blocking] == [Severity.critical]
    assert KEY not in report.model_dump_json()


def test_leaked_key_in_sdist_and_source_blocks(make_step: StepMaker, tarred: Archive) -> None:
    report = scan(
        make_step, tarred({"shop-1.0.0/shop/api.py": LEAK}), {"shop/api.py": LEAK, "dev/x.sh": LEAK}
    )
    assert places(report) == [
        ("aws-access-key-id", "dev/x.sh:2"),
        ("aws-access-key-id", "shop-1.0.0.tar.gz: shop-1.0.0/shop/api.py:2"),
        ("aws-access-key-id", "shop/api.py:2"),
    ]


@pytest.mark.parametrize(
    ("targets", "where"),
    [("source", "shop/api.py:2"), ("artifacts", "shop-1.0.0-py3-none-any.whl: shop/api.py:2")],
)
def test_targets_say_where_to_look(make_step: StepMaker, zipped: Archive, targets: str, where: str) -> None:
    report = scan(make_step, zipped({"shop/api.py": LEAK}), {"shop/api.py": LEAK}, targets=targets)
    assert places(report) == [("aws-access-key-id", where)]


def test_leaked_key_is_found_in_utf_16(make_step: StepMaker, zipped: Archive) -> None:
    report = scan(make_step, zipped({**WHEEL, "shop/settings.reg": LEAK.encode("utf-16")}))
    assert places(report) == [("aws-access-key-id", "shop-1.0.0-py3-none-any.whl: shop/settings.reg:2")]


def test_files_of_the_project_cannot_silence_the_scan(make_step: StepMaker, zipped: Archive) -> None:
    quiet = {
        "trivy.yaml": "severity: [LOW]\nscan:\n  skip-dirs: ['**']\n",
        ".trivyignore": "aws-access-key-id\nDS-0002\nDS002\n",
        ".trivyignore.yaml": "secrets:\n  - id: aws-access-key-id\n",
        "trivy-secret.yaml": "disable-rules: [aws-access-key-id]\n",
    }
    dockerfile = "FROM alpine:3.9\n#trivy:ignore:DS-0002\nUSER root\n#trivy:exp:2099-01-01:ignore:DS-0002\n"
    wheel = zipped({**WHEEL, **quiet, "shop/api.py": LEAK})
    files = {**quiet, "api.py": LEAK, "Dockerfile": dockerfile}
    report = scan(make_step, wheel, files, scanners=("secret", "misconfiguration"))
    assert sorted(places(report)) == [
        ("DS-0002", "Dockerfile:3"),
        ("aws-access-key-id", "api.py:2"),
        ("aws-access-key-id", "shop-1.0.0-py3-none-any.whl: shop/api.py:2"),
    ]


@pytest.mark.parametrize("how", ["the machine's", "the section's"])
def test_variables_cannot_change_the_result(
    make_step: StepMaker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    env = {
        "TRIVY_SEVERITY": "LOW",
        "TRIVY_SKIP_DIRS": "**",
        "TRIVY_SKIP_FILES": "**/*.py",
        "TRIVY_EXIT_CODE": "7",
        "TRIVY_SERVER": "http://127.0.0.1:9",
        "TRIVY_DISABLED_ANALYZERS": "secret",
        "TRIVY_IGNORE_POLICY": "/nowhere",
    }
    if how == "the machine's":
        for name, value in env.items():
            monkeypatch.setenv(name, value)
    report = scan(make_step, files={"api.py": LEAK}, env=env if how == "the section's" else None)
    assert places(report) == [("aws-access-key-id", "api.py:2")]


def test_root_user_in_dockerfile_blocks(make_step: StepMaker) -> None:
    files = {"Dockerfile": "FROM alpine:3.9\nUSER root\n"}
    report = scan(make_step, files=files, scanners=("misconfiguration",))
    assert places(report) == [("DS-0002", "Dockerfile:2")]
    assert scan(make_step, files=files, scanners=("misconfiguration",), block="critical").blocking == ()
    assert scan(make_step, files=files, scanners=("misconfiguration",), block="none").blocking == ()


def vendored(license_: str) -> dict[str, str]:
    return {**WHEEL, "shop/_vendor/other-1.0.dist-info/METADATA": METADATA.format("other", license_)}


@pytest.mark.parametrize(
    ("license_", "settings", "expected"),
    [
        pytest.param("MIT", {}, None, id="harmless"),
        pytest.param("GPL-3.0", {}, ("GPL-3.0-only", Severity.high, True), id="restricted"),
        pytest.param("AGPL-3.0", {}, ("AGPL-3.0-only", Severity.critical, True), id="forbidden by Trivy"),
        pytest.param("Our own", {}, ("Our own", Severity.medium, False), id="unknown"),
        pytest.param(
            "Our own", {"unknown_counts_as": "high"}, ("Our own", Severity.high, True), id="unknown counts"
        ),
        pytest.param(
            *("Apache-2.0", {"license_forbidden": ["Apache-2.0"]}, ("Apache-2.0", Severity.critical, True)),
            id="forbidden by settings",
        ),
        pytest.param(
            *("GPL-3.0", {"license_allowed": ["gpl-3.0-only"]}, ("GPL-3.0-only", Severity.high, False)),
            id="allowed",
        ),
    ],
)
def test_licence(
    make_step: StepMaker,
    zipped: Archive,
    license_: str,
    settings: dict[str, Any],
    expected: tuple[str, Severity, bool] | None,
) -> None:
    report = scan(make_step, zipped(vendored(license_)), **{**settings, "scanners": ("license",)})
    found = [(f.id, f.severity, f in report.blocking) for f in report.findings if f.package == "other"]
    assert found == ([expected] if expected else [])


INSTALLED = {**WHEEL, "leaky-1.0.dist-info/METADATA": METADATA.format("leaky", "MIT")}
VULNERABILITIES: dict[str, Any] = {"scanners": ("vulnerability",), "database": "present"}


def test_vulnerability_in_lock_file_and_installed_package_blocks(
    make_step: StepMaker, zipped: Archive, write_database: Callable[..., Path]
) -> None:
    report = scan(
        make_step,
        zipped(INSTALLED),
        {"requirements.txt": "leaky==1.0\nfine==1.0\n"},
        **VULNERABILITIES,
        database_directory=str(write_database(timedelta(days=2, hours=3))),
    )
    assert report.database is not None
    assert report.database.startswith("2 days old, of ")
    installed = "shop-1.0.0-py3-none-any.whl: leaky-1.0.dist-info/METADATA"
    assert sorted(places(report)) == [
        ("CVE-2099-0001", "requirements.txt"),
        ("CVE-2099-0001", installed),
        ("CVE-2099-0002", "requirements.txt"),
        ("CVE-2099-0002", installed),
    ]
    assert next(f for f in report.findings if f.id == "CVE-2099-0001" and f.location == installed) == Finding(
        id="CVE-2099-0001",
        kind="vulnerability",
        severity=Severity.high,
        title="Bad thing",
        location=installed,
        package="leaky",
        version="1.0",
        fixed_in="1.1",
    )


def test_exemptions_and_fixed_only(make_step: StepMaker, write_database: Callable[..., Path]) -> None:
    today = datetime.now(UTC).date()
    files = {"requirements.txt": "leaky==1.0\n"}
    settings: dict[str, Any] = {
        **VULNERABILITIES,
        "database_directory": str(write_database()),
        "fixed_only": True,
    }

    def ignored(until: date) -> dict[str, str | None]:
        entry = {"id": "CVE-2099-0001", "reason": "not reached", "until": until}
        report = scan(make_step, files=files, **settings, ignore=[entry])
        return {finding.id: finding.ignored for finding in report.findings}

    assert ignored(today) == {
        "CVE-2099-0001": f"not reached (until {today})",
        "CVE-2099-0002": "no fixed version yet (fixed_only)",
    }
    yesterday = today - timedelta(days=1)
    assert ignored(yesterday)["CVE-2099-0001"] is None
    assert (
        f"ignore: CVE-2099-0001 counts again, its exemption ended on {yesterday}. Mend it, or set a later"
        in make_step.log_of(make_step.steps[-1])
    )


def test_without_database_the_scan_fails_and_says_how_to_go_on(make_step: StepMaker, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        scan(make_step, files={"x.py": "x = 1\n"}, **VULNERABILITIES)
    assert str(caught.value) == (
        f"there is no vulnerability database in {tmp_path}/cache/trivy/db: nothing was scanned. Let it be "
        'fetched (database = "fetch", the default), or leave vulnerabilities out: '
        'scanners = ["secret", "misconfiguration", "license"]'
    )


def test_database_that_cannot_be_fetched_fails_the_default_scan(make_step: StepMaker) -> None:
    step = make_step("scan.all", files={"x.py": "x = 1\n"})
    with pytest.raises(StepFailed) as caught:
        penstock_scan(Trivy(database_repository="127.0.0.1:9/none/db:2"), step)
    assert str(caught.value).startswith(
        "the vulnerability database can't be fetched: trivy filesystem ended with"
    )
    assert "127.0.0.1:9" in str(caught.value)
    assert 'leave vulnerabilities out: scanners = ["secret", "misconfiguration", "license"]' in str(
        caught.value
    )


def test_database_that_is_there_is_used_where_a_newer_one_cannot_be_fetched(
    make_step: StepMaker, write_database: Callable[..., Path]
) -> None:
    directory = write_database(timedelta(hours=2))  # Trivy asks for none within an hour of the last one
    metadata = directory / "db" / "metadata.json"
    metadata.write_text(
        metadata.read_text().replace(f'"NextUpdate": "{datetime.now(UTC).year}', '"NextUpdate": "2020')
    )
    settings: dict[str, Any] = {
        "scanners": ("vulnerability",),
        "database_repository": "127.0.0.1:9/none/db:2",
    }
    report = scan(
        make_step, files={"requirements.txt": "leaky==1.0\n"}, **settings, database_directory=str(directory)
    )
    assert report.database is not None
    assert len(report.blocking) == 2
    assert "is used as it stands, a newer one can't be fetched" in make_step.log_of(make_step.steps[-1])


def test_broken_database_fails_the_scan(make_step: StepMaker, write_database: Callable[..., Path]) -> None:
    directory = write_database(content=b"not a database")
    with pytest.raises(StepFailed, match="trivy fs ended with status 1"):
        scan(make_step, files={"x.py": "x = 1\n"}, **VULNERABILITIES, database_directory=str(directory))


def test_java_archive_without_its_index_fails_the_scan(
    make_step: StepMaker, zipped: Archive, write_database: Callable[..., Path]
) -> None:
    jar = zipped({"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n"}, "x.jar")
    wheel = zipped({**WHEEL, "shop/x.jar": jar.read_bytes()})
    with pytest.raises(StepFailed, match="can't look into Java archives without its Java index"):
        scan(make_step, wheel, **VULNERABILITIES, database_directory=str(write_database()))


def test_package_named_like_the_planted_one_is_not_hidden(make_step: StepMaker, zipped: Archive) -> None:
    posing = {"x/penstock_canary-1.0.dist-info/METADATA": METADATA.format("penstock-canary", "AGPL-3.0")}
    report = scan(
        make_step, zipped({**WHEEL, **posing, "canary/x.py": LEAK}), {"canary/y.py": LEAK}, sbom=True
    )
    assert sorted(finding.id for finding in report.blocking) == [
        *("AGPL-3.0-only", "aws-access-key-id", "aws-access-key-id"),
    ]
    assert report.sbom is not None
    assert b'"penstock-canary"' in make_step.store.read(report.sbom.digest)


def test_bill_of_materials_names_packages_without_this_machine(make_step: StepMaker, zipped: Archive) -> None:
    report = scan(
        make_step, zipped(INSTALLED), {"requirements.txt": "leaky==1.0\n"}, scanners=("secret",), sbom=True
    )
    assert report.findings == ()
    assert report.sbom is not None
    assert report.sbom.kind == "sbom"
    text = make_step.store.read(report.sbom.digest).decode()
    assert str(make_step.root) not in text
    assert "canary" not in text
    document = json.loads(text)
    assert document["bomFormat"] == "CycloneDX"
    found = {(c["name"], c.get("version")) for c in document["components"] if c["type"] == "library"}
    assert found == {("leaky", "1.0"), ("shop", "1.0")}


def test_skipped_and_unreadable_things_are_said(make_step: StepMaker, zipped: Archive) -> None:
    inner = zipped({"x": "y"}, "inner.zip").read_bytes()
    wheel = zipped({**WHEEL, "shop/data.zip": inner, "docs/a.py": LEAK})
    report = scan(make_step, wheel, {"docs/a.py": LEAK}, skip=["docs/*"])
    assert report.blocking == ()
    assert report.not_looked_for["skipped files"] == '2 (skip = ["docs/*"])'
    assert report.not_looked_for["archives inside"] == (
        "shop-1.0.0-py3-none-any.whl: shop/data.zip (what they hold was not unpacked)"
    )


def test_tools_name_the_real_program(trivy: Path) -> None:
    tool, *_ = penstock_tools(Trivy(path=str(trivy)))
    assert tool.name == "trivy"
    assert tool.path == str(trivy)
    assert tool.sha256 is not None
    assert len(tool.sha256) == 64


def test_other_program_than_the_pinned_one_is_refused(make_step: StepMaker, trivy: Path) -> None:
    tool, *_ = penstock_tools(Trivy())
    assert scan(make_step, files={"x.py": "x"}, sha256=f"sha256:{tool.sha256}").findings == ()
    with pytest.raises(StepFailed, match="and `sha256` says sha256:0000"):
        scan(make_step, files={"x.py": "x"}, sha256="sha256:" + "0" * 64)
