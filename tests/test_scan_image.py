"""An image of a real engine, scanned by the real Trivy before it is signed and deployed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import vulnerabilities
from tests.engines import BASE, Engine, engine
from tests.projects import Project

__all__ = ["engine"]

pytestmark = [pytest.mark.real, pytest.mark.slow]

CONFIG = """\
[penstock]
plugins = ["git", "docker", "trivy", "sigstore", "shell"]

[build.image]
uses = "docker"
name = "shop"

[scan.image]
uses = "trivy"
targets = "artifacts"
database = "present"
database_directory = "{database}"
{more}

[sign.release]
uses = "sigstore"
"""
DOCKERFILE = f"FROM {BASE}\nCOPY app /app\nUSER 65534\nHEALTHCHECK CMD true\n"
LEAKY = "Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\nLicense: MIT\n"
KEY = "AKIA" + "Q3EGRZ7T4WLP2NXA"  # in two parts, or a scan of this repository would find it
IGNORE = """
[[scan.image.ignore]]
id = "{id}"
package = "leaky"
reason = "the parser concerned is never called"
until = {until}
"""


@pytest.fixture
def shop(project: Project, engine: Engine, tmp_path: Path) -> Project:
    """A project whose image is clean."""
    project.env["DOCKER_HOST"] = engine.host
    vulnerabilities.write(tmp_path / "database")
    configure(project)
    project.commit({"Dockerfile": DOCKERFILE, "app/main.py": "x = 1\n"})
    return project


def configure(project: Project, more: str = "") -> None:
    text = CONFIG.format(database=project.root.parent / "database", more=more)
    project.write({"penstock.toml": text})


def statements(project: Project) -> dict[str, Any]:
    """The scan's statements, by their types."""
    evidence = project.json("verify", project.digest("image"))["evidence"]
    found = [json.loads(project.stored(one["statement"]).read_text()) for one in evidence]
    return {statement["predicateType"]: statement for statement in found}


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_a_clean_image_passes_in_all_four_kinds(shop: Project, builder: str) -> None:
    text = (shop.root / "penstock.toml").read_text()
    shop.commit({"penstock.toml": text.replace('name = "shop"', f'name = "shop"\nbuilder = "{builder}"')})

    done = shop.passes("run", timeout=600)

    assert "no vulnerabilities, no secrets, no misconfigurations, licences in order" in done.said
    assert "! operating system of shop: not recognised" in done.said
    assert shop.states()["sign.release"] == "passed"


def test_a_secret_that_a_later_layer_takes_away_is_stopped_at_the_scan(shop: Project) -> None:
    text = DOCKERFILE.replace("USER", "RUN rm /app/key.py\nUSER")
    shop.commit({"app/key.py": f'KEY = "{KEY}"\n', "Dockerfile": text})

    done = shop.run("run", timeout=600)

    assert done.code == 1
    assert "refused: critical secret aws-access-key-id in shop: layer 2/3: app/key.py:1" in done.said
    assert KEY not in done.said
    assert shop.states()["sign.release"] == "skipped"


def test_an_exemption_of_yesterday_does_not_let_a_vulnerability_through(shop: Project) -> None:
    today = datetime.now(UTC).date()
    kinds = 'scanners = ["vulnerability"]\n'
    configure(shop, kinds)
    shop.commit({"app/leaky-1.0.dist-info/METADATA": LEAKY})

    done = shop.run("run", timeout=600)
    assert done.code == 1
    where = "shop: layer 2/2: app/leaky-1.0.dist-info/METADATA"
    assert f"refused: critical vulnerability CVE-2099-0002 in {where} (leaky 1.0) and 1 more" in done.said
    assert f"high  CVE-2099-0001  {where}  leaky 1.0, fixed in 1.1" in done.said
    assert shop.states()["sign.release"] == "skipped"

    # One has no fix, the other's exemption ended.
    yesterday = today - timedelta(days=1)
    configure(shop, kinds + "fixed_only = true\n" + IGNORE.format(id="CVE-2099-0001", until=yesterday))
    done = shop.run("run", timeout=600)
    assert done.code == 1
    assert f"refused: high vulnerability CVE-2099-0001 in {where} (leaky 1.0, fixed in 1.1)" in done.said
    assert f"! ignore: CVE-2099-0001 counts again, its exemption ended on {yesterday}. Mend it" in done.said

    # Until today it passes, and all of it is on record. One that nothing needs is said.
    entries = IGNORE.format(id="CVE-2099-0001", until=today) + IGNORE.format(id="CVE-2099-9999", until=today)
    configure(shop, kinds + "fixed_only = true\n" + entries)
    done = shop.passes("run", timeout=600)
    assert "(2 ignored)" in done.said
    assert "vulnerability database: 1 hour old, of " in done.said
    assert "! ignore: CVE-2099-9999 matches nothing any more. Remove it" in done.said
    found = statements(shop)
    assert shop.digest("image")[7:] in [one["digest"]["sha256"] for one in found[SCAN]["subject"]]
    assert {(e["id"], e["state"], e["until"]) for e in found[SCAN]["predicate"]["exemptions"]} == {
        ("CVE-2099-0001", "applied", str(today)),
        ("CVE-2099-9999", "unused", str(today)),
    }
    scanner = found[VULNERABILITIES]["predicate"]["scanner"]
    assert datetime.fromisoformat(scanner["db"]["lastUpdate"]) < datetime.now(UTC)
    assert {entry["id"]: entry["annotations"][0]["ignored"] for entry in scanner["result"]} == {
        "CVE-2099-0001": f"the parser concerned is never called (until {today})",
        "CVE-2099-0002": "no fixed version yet (fixed_only)",
    }
    assert found[SBOM]["predicate"]["metadata"]["component"]["type"] == "container"


SCAN = "https://penstock.dev/attestation/scan/v0.1"
VULNERABILITIES = "https://in-toto.io/attestation/vulns/v0.2"
SBOM = "https://cyclonedx.org/bom"
