"""What conditions ask for, out of a journal and a store as earlier runs have left them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from penstock import plan
from penstock.config import Keys, Parameter, Project, Section
from penstock.facts import Facts, Judged
from penstock.home import Home
from penstock.journal import Journal, New
from penstock.plan import Plan
from penstock.runs import load_run, new_run

NOTHING = "sha256:" + "0" * 64
A = {"services/a/x": "1", "services/b/x": "1", "docs/d.md": "d"}


def section(name: str, **keys: Any) -> Section:
    settings = keys.pop("settings", {})
    made = Keys.model_validate({"uses": "shell", **keys})
    phase = name.partition(".")[0]
    return Section(name=name, phase=phase, keys=made, plugin="shell", settings=settings, environment=None)


def make(*sections: Section, version: str = "1", **parameters: Any) -> Plan:
    project = Project(
        name="shop",
        root="/",
        digest=NOTHING,
        plugins=("shell",),
        sections=(section("source"), *sections),
        parameters={name: Parameter(default=value) for name, value in parameters.items()},
    )
    return plan.make(project, {"shell": version})


class Past:
    """A project with some runs."""

    def __init__(self, place: Path) -> None:
        self.home = Home.of(place)
        self.journal = Journal(self.home.journal)
        self.place = place

    def begin(self, made: Plan, files: dict[str, str], **revision: Any) -> int:
        """A run that has its source."""
        tree = self.place / f"tree-{len(self.journal.runs())}"
        for name, text in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        snapshot, _ = self.home.store.add_tree(tree)
        state, _ = new_run(self.journal, self.home, made, {})
        self.end(state.run, "source", revision={"snapshot": snapshot, **revision})
        return state.run

    def end(self, run: int, step: str, state: str = "passed", **data: Any) -> None:
        self.journal.append(run, [New("step.finished", step, {"state": state, **data}, 1.0)])

    def facts(self, run: int) -> Facts:
        return Facts(self.journal, self.home, load_run(self.journal, self.home, run))

    def judge(self, made: Plan, files: dict[str, str], step: str = "test.a", **revision: Any) -> Judged:
        return self.facts(self.begin(made, files, **revision)).judge(step)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


CHANGED = section("test.a", when='changed("services/a/**")')


def test_without_an_earlier_run_everything_has_changed(past: Past) -> None:
    judged = past.judge(make(CHANGED), A)

    assert judged == Judged(True, "", {"when": 'changed("services/a/**")', "holds": True, "base": None})


def test_what_passed_with_the_same_files_has_not_changed(past: Past) -> None:
    past.end(past.begin(make(CHANGED), A), "test.a")

    judged = past.judge(make(CHANGED), {**A, "docs/d.md": "new", "services/b/y": "new"})

    assert judged.reason == 'when: changed("services/a/**") is false, since run 1'
    assert judged.data == {"when": 'changed("services/a/**")', "holds": False, "base": 1}


AFTER = {
    "another text": {**A, "services/a/x": "2"},
    "a new file": {**A, "services/a/y/z": "1"},
    "a file that is gone": {name: text for name, text in A.items() if name != "services/a/x"},
}


@pytest.mark.parametrize("files", AFTER.values(), ids=AFTER)
def test_a_change_is_seen(past: Past, files: dict[str, str]) -> None:
    past.end(past.begin(make(CHANGED), A), "test.a")

    assert past.judge(make(CHANGED), files).holds


def test_what_can_be_executed_now_has_changed(past: Past) -> None:
    past.end(past.begin(make(CHANGED), A), "test.a")
    tree = past.place / "tree-0"
    (tree / "services/a/x").chmod(0o755)
    snapshot, _ = past.home.store.add_tree(tree)

    assert past.judge(make(CHANGED), A, snapshot=snapshot).holds


ENDS = {
    "failed": ("failed", {}, True),
    "refused": ("refused", {}, True),
    "cancelled": ("cancelled", {}, True),
    "skipped": ("skipped", {"condition": {}}, True),
    "passed": ("passed", {}, False),
    "cached": ("cached", {"origin": {"run": 1, "why": ""}}, False),
}


@pytest.mark.parametrize(("state", "data", "holds"), ENDS.values(), ids=ENDS)
def test_only_a_run_in_which_it_passed_is_looked_back_to(
    past: Past, state: str, data: dict[str, Any], holds: bool
) -> None:
    past.end(past.begin(make(CHANGED), A), "test.a")
    changed = {**A, "services/a/x": "2"}
    past.end(past.begin(make(CHANGED), changed), "test.a", state, **data)

    judged = past.judge(make(CHANGED), changed)

    assert judged.holds is holds
    assert judged.data["base"] == (1 if holds else 2)


def test_a_run_that_is_skipped_carries_the_change_on(past: Past) -> None:
    """Of a change that nobody tried, the next run is told as well, however many came between."""
    only_main = section("test.a", when='ref == "main" and changed("services/a/**")')
    past.end(past.begin(make(only_main), A, ref="main"), "test.a")
    changed = {**A, "services/a/x": "2"}
    for _ in range(3):
        run = past.begin(make(only_main), changed, ref="topic")
        judged = past.facts(run).judge("test.a")
        assert judged.reason == 'when: ref == "main" is false (ref is "topic")'
        past.end(run, "test.a", "skipped", condition=judged.data)

    assert past.judge(make(only_main), changed, ref="main").holds


OTHERWISE = {
    "another setting": make(section("test.a", when=CHANGED.keys.when, settings={"run": "other"})),
    "another timeout": make(section("test.a", when=CHANGED.keys.when, timeout="5s")),
    "another version of the plugin": make(CHANGED, version="2"),
}


@pytest.mark.parametrize("now", OTHERWISE.values(), ids=OTHERWISE)
def test_a_step_that_is_done_otherwise_has_changed(past: Past, now: Plan) -> None:
    past.end(past.begin(make(CHANGED), A), "test.a")

    assert past.judge(now, A).holds


def test_other_steps_do_not_make_it_another(past: Past) -> None:
    past.end(past.begin(make(CHANGED), A), "test.a")

    assert not past.judge(make(section("build.x"), CHANGED, section("test.b"), count=3), A).holds


def test_what_is_not_in_the_store_any_more_has_changed(past: Past) -> None:
    run = past.begin(make(CHANGED), A)
    past.end(run, "test.a")
    snapshot = past.journal.events(run)[1].data["revision"]["snapshot"]
    past.home.store.path(snapshot).unlink()

    judged = past.judge(make(CHANGED), {**A, "docs/d.md": "new"})

    assert judged.holds
    assert judged.data["base"] == run


def test_what_was_edited_in_the_store_has_changed(past: Past) -> None:
    run = past.begin(make(CHANGED), A)
    past.end(run, "test.a")
    path = past.home.store.path(past.journal.events(run)[1].data["revision"]["snapshot"])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")

    assert past.judge(make(CHANGED), {**A, "docs/d.md": "new"}).holds


def test_nothing_but_documents_has_changed(past: Past) -> None:
    made = make(section("test.a", when='not changed_only("docs/**", "*.md")'))
    assert past.judge(made, A).holds
    past.end(past.begin(made, A), "test.a")

    assert not past.judge(made, {**A, "docs/d.md": "new"}).holds
    assert past.judge(made, {**A, "docs/d.md": "new", "services/a/x": "new"}).holds
    assert past.judge(made, A).holds


FACTS = {
    "of the revision": ('ref == "main" and commit == "c0ffee" and dirty and tag == "v1"', True),
    "a parameter": ('param.deploy == "no" and param.count == 3 and param.fast', True),
    "a variable of the step": ('env("OWN") == "mine"', True),
    "a variable of whoever runs it": ('env("THEIRS") == "yes"', True),
    "the step's own comes first": ('env("BOTH") == "mine"', True),
    "a variable that is not there": ('env("NOWHERE") == ""', True),
    "a result": ('result("build.x") == "passed"', True),
    "a result that was taken over": ('result("build.y") == "passed"', True),
    "the result of what was left out": ('result("build.z") == "skipped"', True),
    "the result of what may fail": ('result("test.b") == "failed"', True),
}


@pytest.mark.parametrize(("when", "holds"), FACTS.values(), ids=FACTS)
def test_what_a_condition_is_told(
    past: Past, monkeypatch: pytest.MonkeyPatch, when: str, holds: bool
) -> None:
    monkeypatch.setenv("THEIRS", "yes")
    monkeypatch.setenv("BOTH", "theirs")
    monkeypatch.delenv("NOWHERE", raising=False)
    builds = [section("build.x"), section("build.y"), section("build.z", when="dirty")]
    may_fail = section("test.b", allow_failure=True)
    step = section("publish.a", when=when, env={"OWN": "mine", "BOTH": "mine"})
    made = make(*builds, may_fail, step, deploy="no", count=3, fast=True)
    run = past.begin(made, A, ref="main", commit="c0ffee", dirty=True, tag="v1")
    past.end(run, "build.x")
    past.end(run, "build.y", "cached", origin={"run": 1, "why": ""})
    past.end(run, "build.z", "skipped", condition={})
    past.end(run, "test.b", "failed")

    assert past.facts(run).judge("publish.a").holds is holds


def test_a_value_of_the_environment_is_not_put_on_record(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2hunter2")

    judged = past.judge(make(section("test.a", when='env("TOKEN") == "x"')), A)

    assert not judged.holds
    assert "hunter2" not in f"{judged}"
