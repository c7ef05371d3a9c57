"""A deployment whose evidence can't be made is taken back; a step that times out is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Project

pytestmark = pytest.mark.real  # acme is installed by pip, with what the core needs

NOTARY = """
import hashlib, os
from penstock import Settings, Signature, Signer, StepFailed, hookimpl

class Notary(Settings):
    pass

@hookimpl
def penstock_sign(settings: Notary, statements):
    if os.environ.get("CLOSED") and any(b"attestation/deployment" in s for s in statements):
        raise StepFailed("the notary is closed")
    return [
        Signature(bundle="{}", statement="sha256:" + hashlib.sha256(s).hexdigest(), signer="notary")
        for s in statements
    ]

@hookimpl
def penstock_check_signature(settings: Notary) -> Signer:
    return Signer(identity="notary")
"""
PIPELINE = """\
[penstock]
plugins = ["acme", "notary"]
[build.box]
uses = "acme"
[sign.release]
uses = "notary"
[deploy.production]
uses = "acme"
places = ["{place}"]
"""


@pytest.fixture
def project(acme_project: Project, tmp_path: Path) -> Project:
    site = tmp_path / "site"
    (site / "notary-1.dist-info").mkdir(parents=True)
    (site / "notary-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: notary\nVersion: 1\n")
    (site / "notary-1.dist-info" / "entry_points.txt").write_text("[penstock]\nnotary = notary\n")
    (site / "notary.py").write_text(NOTARY)
    acme_project.env["PYTHONPATH"] = str(site)
    toml = PIPELINE.format(place=tmp_path / "production")
    acme_project.write({"source.txt": "good 1", "penstock.toml": toml})
    return acme_project


def test_a_deployment_without_evidence_is_taken_back(project: Project, tmp_path: Path) -> None:
    project.passes("run")
    project.write({"source.txt": "good 2"})
    done = project.run("run", env={"CLOSED": "1"})
    assert done.code == 1
    reason = project.step("deploy.production")["reason"]
    assert reason.startswith("the notary is closed; put back to what ran before: ")
    assert (tmp_path / "production" / "current" / "box.txt").read_text() == "plain: good 1"


def test_a_step_that_took_too_long_is_tried_again(project: Project) -> None:
    toml = (project.root / "penstock.toml").read_text()
    step = '[test.look]\nuses = "acme"\npause = "1m"\ntimeout = "0.3s"\nretries = { times = 1, on = ["timeout"] }\n'
    project.write({"penstock.toml": toml + step})
    done = project.run("run")
    assert done.code == 1
    assert project.step("test.look")["attempts"] == 2
    assert project.step("test.look")["reason"] == "it took longer than 0.3 s (timeout)"
    assert "↻ test.look" in done.out
