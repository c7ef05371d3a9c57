"""Images with the real Trivy: what is found, where it is said to be, and what keeps the gate shut."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from penstock import Artifact, Finding, ScanReport, Severity, StepFailed
from penstock.testing import StepMaker
from penstock_trivy import Trivy, penstock_scan

from tests.images import BASH, DEBIAN, image

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("trivy")]

KEY = "AKIA" + "Q3EGRZ7T4WLP2NXA"  # in two parts, or a scan of this repository would find it
LEAK = f'\nAWS_KEY = "{KEY}"\n'
LEAKY = {
    "usr/lib/python3/dist-packages/leaky-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\nLicense: MIT\n"
    )
}
CLEAN: dict[str, str | bytes] = {"app/main.py": "x = 1\n"}
SECRETS: dict[str, Any] = {"scanners": ("secret",), "sbom": False}
BUILDKIT = {"created_by": "COPY . /app # buildkit"}

WriteDatabase = Callable[..., Path]


def scan(make_step: StepMaker, *artifacts: Artifact, **settings: Any) -> ScanReport:
    step = make_step("scan.image", artifacts=artifacts)
    return penstock_scan(Trivy.model_validate({"targets": "artifacts", **settings}), step)


def places(report: ScanReport) -> list[tuple[str, str]]:
    return [(finding.id, finding.location) for finding in report.blocking]


def test_a_clean_image_passes_in_all_four_kinds(make_step: StepMaker, write_database: WriteDatabase) -> None:
    report = scan(
        make_step,
        image(make_step, {**DEBIAN, **BASH, **LEAKY}, CLEAN, config={"User": "shop"}),
        ignore=[
            {"id": f"CVE-2099-000{n}", "reason": "of this test", "package": package}
            for n, package in ((1, "leaky"), (2, "leaky"), (3, "bash"))
        ],
        database_directory=str(write_database()),
        database="present",
    )
    assert report.blocking == ()
    assert report.looked_for == ("vulnerability", "secret", "misconfiguration", "license")
    assert {entry.state for entry in report.exemptions} == {"applied"}
    assert report.not_looked_for == {
        "licences of the operating system of shop": (
            "of 1 packages they ask for more than to be named (system_licenses = false)"
        )
    }


def test_vulnerable_packages_block_and_name_layer_file_and_versions(
    make_step: StepMaker, write_database: WriteDatabase
) -> None:
    report = scan(
        make_step,
        image(make_step, {**DEBIAN, **BASH}, LEAKY, CLEAN),
        scanners=("vulnerability",),
        database_directory=str(write_database(timedelta(days=2))),
        database="present",
    )
    assert report.findings == (
        Finding(
            id="CVE-2099-0002",
            kind="vulnerability",
            severity=Severity.critical,
            title="Worse",
            location="shop: layer 2/3: usr/lib/python3/dist-packages/leaky-1.0.dist-info/METADATA",
            package="leaky",
            version="1.0",
        ),
        Finding(
            id="CVE-2099-0003",
            kind="vulnerability",
            severity=Severity.high,
            title="In a shell",
            location="shop: layer 1/3: debian 12.5",
            package="bash",
            version="5.2-1",
            fixed_in="5.2-2",
        ),
        Finding(
            id="CVE-2099-0001",
            kind="vulnerability",
            severity=Severity.high,
            title="Bad thing",
            location="shop: layer 2/3: usr/lib/python3/dist-packages/leaky-1.0.dist-info/METADATA",
            package="leaky",
            version="1.0",
            fixed_in="1.1",
        ),
    )
    assert report.database is not None
    assert report.database.startswith("2 days old, of ")
    assert report.database_updated is not None
    assert timedelta(days=2) - timedelta(minutes=5) < datetime.now(UTC) - report.database_updated
    log = make_step.log_of(make_step.steps[-1])
    assert "high  vulnerability  CVE-2099-0001  shop: layer 2/3: " in log
    assert "leaky 1.0, fixed in 1.1" in log


def test_a_secret_anywhere_in_an_image_blocks(make_step: StepMaker) -> None:
    everywhere = (
        *("app/a.py", "app/tests/test_a.py", "examples/x.py", "README.md", "vendor/x.py", "app/.git/config"),
        *("dev/x", "proc/x", "sys/x", "usr/lib/x.py", "app/logo.svg", "app/poetry.lock"),
    )
    files = {**dict.fromkeys(everywhere, LEAK), "./app/dot.py": LEAK}
    report = scan(make_step, image(make_step, DEBIAN, files), **SECRETS)
    expected = [("aws-access-key-id", f"shop: layer 2/2: {place}:2") for place in (*everywhere, "app/dot.py")]
    assert sorted(places(report)) == sorted(expected)
    assert KEY not in report.model_dump_json()


def test_secrets_of_all_layers_and_of_the_configuration_block(make_step: StepMaker) -> None:
    layers: list[Mapping[str, str | bytes]] = [
        {"base/key.py": LEAK},
        {"gone.py": LEAK, "app/settings.reg": LEAK.encode("utf-16")},
        {".wh.gone.py": "", ".wh..wh..opq": ""},
    ]
    history = [
        {"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
        {"created_by": '/bin/sh -c #(nop)  CMD ["sh"]', "empty_layer": True},
        BUILDKIT,
        {"created_by": 'CMD ["python3"]', "empty_layer": True},
        {"created_by": "RUN /bin/sh -c rm gone.py # buildkit"},
        {"created_by": 'CMD ["shop"]', "empty_layer": True},
    ]
    config = {"Env": [f"KEY={KEY}"]}
    report = scan(make_step, image(make_step, *layers, history=history, config=config), **SECRETS)
    found = [(name, place.rpartition("configuration")[0] or place) for name, place in places(report)]
    assert sorted(found) == [
        ("aws-access-key-id", "shop: image "),
        ("aws-access-key-id", "shop: layer 1/3: base/key.py:2"),
        ("aws-access-key-id", "shop: layer 2/3: app/settings.reg:2"),
        ("aws-access-key-id", "shop: layer 2/3: gone.py:2"),
    ]
    assert "layer 2/3 sha256:" in make_step.log_of(make_step.steps[-1])
    assert "COPY . /app # buildkit" in make_step.log_of(make_step.steps[-1])


ROOT, UPDATE = "DS-0002", "DS-0017"
RUNS = (
    "RUN /bin/sh -c apt-get update # buildkit",
    "/bin/sh -c apt-get update",
    "RUN /bin/sh -c true\napt-get update\n # buildkit",
    "RUN /bin/sh -c true\n#trivy:ignore:*\napt-get update # trivy:ignore:DS-0017\n # buildkit",
)


@pytest.mark.parametrize(
    ("config", "made_by", "expected"),
    [
        pytest.param({"User": "shop"}, RUNS, [UPDATE] * 4, id="commands, however they are written down"),
        pytest.param({"User": "root\n#trivy:ignore:DS-0002"}, (), [ROOT], id="root, with a comment"),
        pytest.param({}, (), [ROOT], id="no user"),
        pytest.param({"User": "shop"}, ("bazel build //x",), [], id="good, and of another builder"),
    ],
)
def test_misconfigurations_of_the_image_itself(
    make_step: StepMaker, config: dict[str, Any], made_by: tuple[str, ...], expected: list[str]
) -> None:
    told = [{"created_by": text, "empty_layer": True} for text in made_by]
    history = [{"comment": "Imported from -"}, BUILDKIT, *told]
    made = image(make_step, DEBIAN, CLEAN, config=config, history=history)
    report = scan(make_step, made, scanners=("misconfiguration",), sbom=False)
    assert [finding.id for finding in report.blocking] == expected
    assert all(f.location.startswith("shop: image configuration") for f in report.findings)


def test_a_configuration_that_cannot_be_checked_keeps_the_gate_shut(make_step: StepMaker) -> None:
    history = [{"created_by": "/bin/sh -c #(nop) ADD file:1"}]
    made = image(make_step, CLEAN, history=history)
    with pytest.raises(StepFailed) as caught:
        scan(make_step, made, scanners=("misconfiguration",), sbom=False)
    assert "couldn't check the configuration of shop: " in str(caught.value)
    assert "the gate stays shut. Or leave misconfigurations out" in str(caught.value)
    assert scan(make_step, made, **SECRETS).blocking == ()


def test_comments_in_the_files_of_an_image_cannot_silence_the_scan(make_step: StepMaker) -> None:
    files = {"app/Dockerfile": "FROM alpine:3.9\n#trivy:ignore:DS-0002\nUSER root\n"}
    report = scan(make_step, image(make_step, files), scanners=("misconfiguration",), sbom=False)
    assert places(report) == [("DS-0002", "shop: layer 1/1: app/Dockerfile:3")]


def test_licences_of_the_operating_system_count_where_that_is_wanted(make_step: StepMaker) -> None:
    gpl = {"app/x-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: x\nVersion: 1\nLicense: GPL-3.0\n"}
    made = image(make_step, {**DEBIAN, **BASH}, gpl)
    found = [
        {
            (f.id, f.package, f.location)
            for f in scan(make_step, made, scanners=("license",), sbom=False, **settings).blocking
        }
        for settings in ({}, {"system_licenses": True}, {"license_forbidden": ["GPL-3.0-only"]})
    ]
    own = ("GPL-3.0-only", "x", "shop: layer 2/2: app/x-1.dist-info/METADATA")
    of_the_system = ("GPL-3.0-only", "bash", "shop: layer 1/2: OS Packages")
    assert found == [{own}, {own, of_the_system}, {own, of_the_system}]


def test_bill_of_materials_is_about_the_image_and_nothing_planted(make_step: StepMaker, trivy: Path) -> None:
    made = image(make_step, {**DEBIAN, **BASH}, LEAKY, name="registry.example.com/shop")
    report = scan(make_step, made, scanners=("secret",))
    assert report.sbom is not None
    text = make_step.store.read(report.sbom.digest).decode()
    assert "canary" not in text
    assert str(make_step.root) not in text
    document = json.loads(text)
    about = document["metadata"]["component"]
    assert (about["type"], about["name"]) == ("container", "registry.example.com/shop")
    said = {entry["name"]: entry["value"] for entry in about["properties"]}
    assert said["aquasecurity:trivy:ImageID"] == made.digests["image ID"]
    assert said["aquasecurity:trivy:RepoDigest"] == f"registry.example.com/shop@{made.digest}"
    found = {(c["type"], c["name"], c.get("version")) for c in document["components"]}
    assert found == {
        ("operating-system", "debian", "12.5"),
        ("library", "bash", "5.2-1"),
        ("library", "leaky", "1.0"),
    }


def test_source_and_several_images_are_scanned_together(make_step: StepMaker) -> None:
    step = make_step(
        "scan.all",
        files={"x.py": LEAK},
        artifacts=[image(make_step, {"a": LEAK}), image(make_step, {"b": LEAK}, packed=False, name="db")],
    )
    report = penstock_scan(Trivy.model_validate({**SECRETS, "sbom": True}), step)
    assert [place for _, place in places(report)] == ["db: layer 1/1: b:2", "shop: layer 1/1: a:2", "x.py:2"]
    assert report.sbom is not None


def test_files_of_an_image_are_skipped_by_name(make_step: StepMaker) -> None:
    files = {"app/[a]*.pem": LEAK, "app/b.pem": LEAK, "docs/{x}": LEAK, "docs/y": LEAK}
    report = scan(make_step, image(make_step, files), **SECRETS, skip=["docs/*", "app/[[]a*"])
    assert places(report) == [("aws-access-key-id", "shop: layer 1/1: app/b.pem:2")]
    assert report.not_looked_for["skipped files"] == '3 (skip = ["docs/*", "app/[[]a*"])'


def test_an_operating_system_that_is_not_known_is_said(
    make_step: StepMaker, write_database: WriteDatabase
) -> None:
    report = scan(
        make_step,
        image(make_step, CLEAN),
        scanners=("vulnerability",),
        database_directory=str(write_database()),
        database="present",
    )
    assert report.not_looked_for["operating system of shop"] == (
        "not recognised: what it installed was not looked at, packages of languages were"
    )


@pytest.mark.parametrize(("days", "passes"), [(0, True), (-1, False)])
def test_an_exemption_lets_nothing_pass_after_its_day(
    make_step: StepMaker, days: int, *, passes: bool
) -> None:
    until = datetime.now(UTC).date() + timedelta(days=days)
    entry = {"id": "aws-access-key-id", "reason": "of this test", "until": until, "path": "/app/*"}
    report = scan(make_step, image(make_step, {"app/x.py": LEAK}), **SECRETS, ignore=[entry])
    assert (not report.blocking) is passes
    [ended] = report.exemptions
    assert (ended.state, ended.until) == ("applied" if passes else "ended", until)
