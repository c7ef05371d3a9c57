"""The cache with real plugins: what was taken over is signed, verified, approved and deployed like the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Project

PIPELINE = """\
[penstock]
plugins = ["git", "shell", "sigstore", "local"]

[build.site]
uses = "shell"
run = "tar --sort=name --mtime=@0 --owner=0 --group=0 -cf site.tar pages"
artifacts = ["site.tar"]
cache = {{ inputs = ["pages"] }}

[test.words]
uses = "shell"
run = "! grep -r TODO pages"
cache = {{ inputs = ["pages"] }}

[sign.release]
uses = "sigstore"

[approve.production]

[deploy.production]
uses = "local"
directory = "{releases}"
"""
TAKEN = {
    "source": "passed",
    "build.site": "cached",
    "test.words": "cached",
    "sign.release": "passed",
    "approve.production": "passed",
    "deploy.production": "passed",
}


@pytest.fixture
def site(project: Project, tmp_path: Path) -> Project:
    """A project whose pipeline has gone as far as production."""
    text = PIPELINE.format(releases=tmp_path / "releases")
    project.commit({"penstock.toml": text, "pages/index.html": "welcome", "README.md": "A site"})
    project.passes("run", "--approve", "production")
    project.commit({"README.md": "My site"})
    return project


def test_what_was_taken_over_is_signed_verified_and_deployed_again(site: Project) -> None:
    first = site.json("show")

    site.passes("run", "--approve", "production")

    assert site.states() == TAKEN
    second = site.json("show")
    assert second["steps"][1]["artifacts"] == first["steps"][1]["artifacts"]
    found = site.json("verify", site.digest("file"))
    assert (found["verdict"], found["run"]) == ("passed", 2)
    origins = {entry["step"]: (entry["origin"] or {}).get("run") for entry in found["evidence"]}
    assert origins == {
        "build.site": 1,
        "test.words": 1,
        "approve.production": None,
        "deploy.production": None,
    }
    assert all(len(entry["signers"]) == 1 for entry in found["evidence"])
    said = site.passes("verify", site.digest("file")).out
    assert "build.site: built by penstock" in said
    assert said.count("; cached, from run 1\n") == 2
    # The provenance is that of the run that built it, and so is the commit.
    commit = first["revision"]["commit"][:7]
    assert f"✓ source      {commit}, clean\n" in said
    assert second["revision"]["commit"][:7] != commit


def test_what_another_key_signed_then_is_signed_with_the_present_one(site: Project, tmp_path: Path) -> None:
    """A key that is gone, or not trusted any more, does not take the cache with it."""
    signers = {entry["signers"][0] for entry in site.json("verify", site.digest("file"))["evidence"]}
    site.env["XDG_DATA_HOME"] = str(tmp_path / "other")

    site.passes("run", "--approve", "production")

    assert site.states() == TAKEN
    now = site.json("verify", site.digest("file"))
    assert now["verdict"] == "passed"
    assert signers.isdisjoint({signer for entry in now["evidence"] for signer in entry["signers"]})


def test_what_was_not_committed_is_taken_over_by_no_clean_run(site: Project) -> None:
    site.write({"pages/index.html": "hello"})
    site.passes("run", "--dirty", "--no-deploy")
    assert site.states()["build.site"] == "passed"

    site.commit(message="The same, committed")
    assert "would run: files that are not committed were taken then" in site.passes("plan").out
    site.passes("run", "--no-deploy")

    assert site.states()["build.site"] == "passed"
    assert "clean" in site.passes("verify", site.digest("file")).out


def test_a_script_that_names_the_revision_runs_for_each_one(site: Project) -> None:
    path = site.root / "penstock.toml"
    path.write_text(path.read_text().replace('run = "! grep', 'run = "echo $PENSTOCK_REVISION; ! grep'))
    site.commit()
    site.passes("run", "--no-deploy")
    site.passes("run", "--no-deploy")
    assert (site.states()["build.site"], site.states()["test.words"]) == ("cached", "cached")

    site.commit({"README.md": "Our site"})
    site.passes("run", "--no-deploy")

    assert (site.states()["build.site"], site.states()["test.words"]) == ("cached", "passed")


def test_a_step_with_a_cache_is_handed_what_a_step_without_one_has_built(site: Project) -> None:
    text = (site.root / "penstock.toml").read_text().replace('cache = { inputs = ["pages"] }', "", 1)
    site.commit({"penstock.toml": text})

    site.passes("run", "--approve", "production")

    found = site.json("verify", site.digest("file"))
    assert {"build.site", "test.words"} <= {entry["step"] for entry in found["evidence"]}
