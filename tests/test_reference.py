"""The reference is complete: what is made from the code at each build, and the page about JSON, which is not."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from penstock import hookspecs
from penstock.cli import cli
from penstock.keys import Keys
from penstock.plugins import HOOK_OF, Plugins, installed
from penstock.state import RunState

from tests.projects import ROOT, Project, free_port

JSON = (ROOT / "docs" / "reference" / "json.md").read_text()


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """What mkdocs calls for each page."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(reference: ModuleType) -> Callable[[str], str]:
    """A page of the reference as it is built."""

    def build(name: str) -> str:
        built: str = reference.on_page_markdown((ROOT / "docs" / "reference" / f"{name}.md").read_text())
        assert "\n::: " not in built
        return built

    return build


def test_every_command_has_its_section(page: Callable[[str], str]) -> None:
    built = page("command-line")
    for name in cli.list_commands(None):  # type: ignore[arg-type]  # ours looks at no context
        assert f"\n## penstock {name}\n" in built
    for name in ("keys", "keys import", "local stop"):
        assert f"\n## penstock {name}\n" in built
    assert "--export DIR" in built
    assert "-C, --directory DIR" in built


def test_every_hook_has_its_section(page: Callable[[str], str]) -> None:
    built = page("hooks")
    assert [name for name in vars(hookspecs) if name.startswith("penstock_")] == re.findall(
        r"^## (penstock_\w+)$", built, re.MULTILINE
    )


def test_every_key_of_a_section_is_there_with_type_default_and_description(
    page: Callable[[str], str],
) -> None:
    rows = table(page("configuration"), "## Every section")
    wanted = [name for name in Keys.model_fields if name != "rollout"]
    assert [name for name in rows if not name.startswith("rollout.")] == wanted
    assert "rollout.strategy" in rows
    assert all(cell for row in rows.values() for cell in row)


def test_every_setting_of_every_plugin_is_there(page: Callable[[str], str]) -> None:
    built = page("plugins")
    loaded = Plugins.load(installed())
    for name in loaded.modules:
        for phase in loaded.phases(name):
            rows = table(built, f'### [{phase}.NAME] with uses = "{name}"')
            fields = loaded.settings_model(name, HOOK_OF[phase]).model_fields
            assert {row.partition(".")[0] for row in rows} == set(fields), (name, phase)
            assert all(cell for row in rows.values() for cell in row), (name, phase)
        if loaded.observes_by_section(name):
            rows = table(built, f'### [observe.NAME] with uses = "{name}"')
            assert set(rows) == set(loaded.settings_model(name, "penstock_event").model_fields)


def test_every_type_of_event_is_there() -> None:
    handled = {name.removeprefix("_on_").replace("_", ".", 1) for name in dir(RunState) if "_on_" in name}
    told_only = {"step.repeated", "journal.unsealed"}  # what they say changes nothing about the run
    assert documented_events().keys() == handled | {"step.started"} | told_only


def test_events_and_runs_hold_what_the_reference_says(project: Project, tmp_path: Path) -> None:
    """Of a run that waits, one that is approved, one that fails, a rollback, and one that is rejected."""
    shutil.copytree(ROOT / "tests" / "docs_projects" / "site", project.root, dirs_exist_ok=True)
    config = project.root / "penstock.toml"
    text = config.read_text()
    for port in ("41901", "41902"):
        text = text.replace(port, str(free_port()))
    text = text.replace("[test.words]\n", "[test.words]\nwhen = 'ref == \"main\"'\n")
    config.write_text(text)
    project.deployed = [tmp_path / "releases" / name for name in ("staging", "production")]
    events: list[dict[str, Any]] = []
    try:
        for words in ("one", "two"):
            project.commit({"pages/index.html": f"welcome {words}"})
            events += run(project, "run", code=3)
            project.passes("approve", "production", "--no-resume")
            events += run(project, "resume")
        documents = [project.json("show")]
        events += run(project, "rollback", "production")
        project.commit({"pages/new.html": "TODO"})
        config.write_text(text.replace('run = "! grep', 'retries = 1\nrun = "! grep'))
        events += run(project, "run", code=1)
        documents.append(project.json("show"))
    finally:
        project.stop()
    known = documented_events()
    for event in events:
        assert set(event) == set(table(JSON, "## penstock run --json"))
        assert set(event["data"]) <= known[event["type"]], event
    assert {event["type"] for event in events} == known.keys() - {
        *("approval.given", "approval.rejected", "run.cancelled", "run.pruned", "rollout.failed"),
        "rollout.approved",
        *("tests.flaky", "change.superseded", "step.repeated", "journal.unsealed"),
    }
    step_keys = set(table(JSON, "A step:"))
    for document in documents:
        assert set(document) == set(table(JSON, "## penstock show --json"))
        for step in document["steps"]:
            assert set(step) <= step_keys
            optional = {"tests", "findings", "publications", "release", "superseded_by", "flaky", "retried"}
            assert step_keys - set(step) <= {*optional, "origin"}


def run(project: Project, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = project.run(*arguments, "--json")
    assert done.code == code, done.said
    return [json.loads(line) for line in done.out.splitlines()]


def documented_events() -> dict[str, set[str]]:
    """The types of event in the table, each with the keys of its data."""
    section = JSON.partition("| type | when | `data` |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| (.+) \|$", section, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", data)) - set(names_of_operations()) for name, data in rows}


def names_of_operations() -> Iterable[str]:
    return ("observe", "apply", "probe", "restore")


def table(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by their first cell."""
    below = text.partition(f"{heading}\n")[2].partition("\n| --- ")[2].partition("\n\n")[0]
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in below.splitlines()[1:]]
    return {row[0].strip("`"): row[1:] for row in rows}
