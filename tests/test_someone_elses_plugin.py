"""A plugin that Penstock's makers have never seen: built, pip-installed, found by its entry point, used."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.projects import ROOT, Project

PIPELINE = """\
[penstock]
plugins = ["acme"]

[build.box]
uses = "acme"
level = "fancy"

[test.look]
uses = "acme"

[deploy.production]
uses = "acme"
places = {places}
broken = {broken}
rollout = {{ strategy = "rolling" }}
"""


def write(project: Project, *, places: list[Path], broken: list[Path] = [], source: str = "good") -> None:  # noqa: B006 - read only
    project.write(
        {
            "source.txt": source,
            "penstock.toml": PIPELINE.format(
                places=json.dumps([str(place) for place in places]),
                broken=json.dumps([str(place) for place in broken]),
            ),
        }
    )


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    return [tmp_path / "web" / str(number) for number in range(4)]


def boxes(places: list[Path]) -> list[str]:
    """What stands in each place."""
    return [(place / "current" / "box.txt").read_text() for place in places]


@pytest.mark.real
def test_a_plugin_found_by_entry_point_runs_in_a_fresh_environment(
    acme_project: Project, places: list[Path]
) -> None:
    write(acme_project, places=places)
    listed = acme_project.json("plugins", "list")
    assert [(row["name"], row["version"], row["enabled"], row["broken"]) for row in listed] == [
        ("acme", "1.2.3", True, None)
    ]
    acme_project.passes("run")
    assert boxes(places) == ["fancy: good"] * 4
    assert acme_project.step("build.box")["artifacts"][0]["name"] == "box.txt"


@pytest.mark.real
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'level = "fancier"',
            'penstock.toml:6: [build.box] level: "fancier" is none of the allowed values "plain" or "fancy"',
        ),
        (
            'levle = "plain"',
            'penstock.toml:6: [build.box] levle: there is no such key. Did you mean "level"? '
            "The keys are level, and those of every section",
        ),
        (
            "level = 3",
            'penstock.toml:6: [build.box] level: 3 is none of the allowed values "plain" or "fancy"',
        ),
    ],
    ids=["value", "key", "type"],
)
def test_bad_settings_are_refused_with_file_section_key_and_what_is_allowed(
    acme_project: Project, places: list[Path], line: str, message: str
) -> None:
    write(acme_project, places=places)
    text = (acme_project.root / "penstock.toml").read_text().replace('level = "fancy"', line)
    acme_project.write({"penstock.toml": text})
    for command in ("validate", "run", "plan"):
        done = acme_project.run(command)
        assert (done.code, done.out) == (2, "")
        assert done.err.strip() == f"penstock: {message}"


@pytest.mark.real
def test_a_deploy_target_is_put_back_where_a_probe_fails(acme_project: Project, places: list[Path]) -> None:
    write(acme_project, places=places)
    acme_project.passes("run")
    write(acme_project, places=places, broken=[places[2]], source="bad but good")
    done = acme_project.run("run")
    assert done.code == 1
    reason = acme_project.step("deploy.production")["reason"]
    assert reason.startswith(f"{places[2]} is unhealthy: it smells; put back to what ran before: ")
    assert boxes(places) == ["fancy: good"] * 4
    assert [(place / "current").resolve().name for place in places] == [boxes_name(acme_project)] * 4


def boxes_name(project: Project) -> str:
    """The directory that a place gives to the release of the first run."""
    digest: str = project.step("build.box", "1")["artifacts"][0]["digest"]
    return digest.removeprefix("sha256:")


@pytest.mark.real
def test_a_rolling_deployment_touches_one_target_at_a_time(acme_project: Project, places: list[Path]) -> None:
    write(acme_project, places=places)
    done = acme_project.passes("run", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    changes = [
        (event["data"]["target"], event["type"], event["data"]["op"])
        for event in events
        if event["type"].startswith("rollout.") and event["data"].get("op") in ("apply", "probe")
    ]
    order = [target for target, kind, op in changes if (kind, op) == ("rollout.started", "apply")]
    assert order == [str(place) for place in places]
    for place in order:  # nothing of another target comes between its first and its last event
        own = [index for index, change in enumerate(changes) if change[0] == place]
        assert own == list(range(own[0], own[-1] + 1))


@pytest.mark.real
def test_rollback_brings_back_the_release_before(acme_project: Project, places: list[Path]) -> None:
    for source in ("good 1", "good 2"):
        write(acme_project, places=places, source=source)
        acme_project.passes("run")
    assert boxes(places) == ["fancy: good 2"] * 4
    acme_project.passes("rollback", "production")
    assert boxes(places) == ["fancy: good 1"] * 4
    status = acme_project.json("status", "production")
    assert status["release"] == acme_project.step("build.box", "1")["artifacts"][0]["digest"]
    assert [target["drifted"] for target in status["targets"]] == [False] * 4


def test_the_target_is_short() -> None:
    import ast

    source = ROOT / "tests" / "acme" / "src" / "penstock_acme" / "__init__.py"
    tree = ast.parse(source.read_text())
    sizes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert sizes["Places"] + sizes["Place"] + sizes["penstock_targets"] < 60
    place = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Place")
    methods = {node.name for node in place.body if isinstance(node, ast.FunctionDef)}
    assert methods == {"observe", "apply", "probe", "restore", "_point"}, inspect.cleandoc(
        "rolling, restore on a failed probe and rollback come from the core"
    )


@pytest.mark.real
def test_what_is_not_enabled_is_not_imported(acme: Path, acme_project: Project, tmp_path: Path) -> None:
    """A second plugin that is installed beside acme leaves a mark when it is imported."""
    site = tmp_path / "site"
    mark = tmp_path / "imported"
    (site / "nosy-1.dist-info").mkdir(parents=True)
    (site / "nosy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: nosy\nVersion: 1\n")
    (site / "nosy-1.dist-info" / "entry_points.txt").write_text("[penstock]\nnosy = nosy\n")
    (site / "nosy.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    acme_project.env["PYTHONPATH"] = str(site)
    write(acme_project, places=[tmp_path / "one"])
    for command in (["validate"], ["plan"], ["run"], ["status"], ["show"], ["plugins", "list"], ["--help"]):
        acme_project.passes(*command)
    assert [row["name"] for row in acme_project.json("plugins", "list")] == ["acme", "nosy"]
    assert not mark.exists()
    (acme_project.root / "penstock.toml").write_text('[penstock]\nplugins = ["acme", "nosy"]\n')
    acme_project.run("validate")
    assert mark.exists()


@pytest.mark.real
def test_a_broken_plugin_hurts_only_the_steps_that_use_it(acme_project: Project, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "sick-2.dist-info").mkdir(parents=True)
    (site / "sick-2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sick\nVersion: 2\n")
    (site / "sick-2.dist-info" / "entry_points.txt").write_text("[penstock]\nsick = sick\n")
    (site / "sick.py").write_text("raise RuntimeError('no such luck')\n")
    acme_project.env["PYTHONPATH"] = str(site)
    write(acme_project, places=[tmp_path / "one"])
    text = (acme_project.root / "penstock.toml").read_text()
    acme_project.write({"penstock.toml": text.replace('["acme"]', '["acme", "sick"]')})
    done = acme_project.run("run")
    assert done.code == 1
    assert "Nothing is deployed until it is repaired, or taken out here" in done.err
    assert set(acme_project.states().values()) == {"passed", "refused"}
    assert acme_project.states()["deploy.production"] == "refused"
    acme_project.write(
        {"penstock.toml": text.replace('["acme"]', '["acme", "sick"]') + '[scan.all]\nuses = "sick"\n'}
    )
    done = acme_project.run("run")
    assert done.code == 2
    assert 'the plugin "sick" (of sick 2) can\'t be used: RuntimeError: no such luck' in done.err
    listed = {row["name"]: row["broken"] for row in acme_project.json("plugins", "list")}
    assert listed == {"acme": None, "sick": "RuntimeError: no such luck"}


@pytest.mark.real
def test_the_plugin_needs_nothing_of_this_repository(acme: Path) -> None:
    python = acme.with_name("python")
    shown = subprocess.run(
        [python, "-c", "import penstock, penstock_acme; print(penstock.__file__, penstock_acme.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert str(ROOT) not in shown.stdout
