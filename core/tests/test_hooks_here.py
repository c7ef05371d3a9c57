"""Hooks that run in a command's own process: whatever one does there, the command answers, and names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from penstock import plan
from penstock.cli import invoke
from penstock.config import load
from penstock.errors import PluginError
from penstock.revisions import Sources

HEAD = """
import os, sys
import click
from penstock import hookimpl

@hookimpl
def penstock_source(step): ...

@hookimpl
def penstock_propose(root, add): ...
"""
OTHER = """
import click
from penstock import hookimpl

@click.command()
def hello():
    click.echo("Hello.")

@hookimpl
def penstock_commands():
    return [hello]
"""
DOES = {
    "raises": ('raise ValueError("odd")', "ValueError: odd"),
    "ends the process": ("sys.exit(0)", "SystemExit: 0"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "recurses": (
        "def deep(): deep()\n    deep()",
        "RecursionError: maximum recursion depth exceeded",
    ),
}
WRONG = ("object()", "5", "[None]", '"text"', '{"a": 1}')


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penstock.toml").write_text('[penstock]\nplugins = ["./ours.py", "./other.py"]\n')
    (tmp_path / "other.py").write_text(OTHER)
    return tmp_path


def plugin(root: Path, hook: str, body: str) -> None:
    parameters = "root, name" if hook == "penstock_find_revision" else ""
    (root / "ours.py").write_text(f"{HEAD}\n@hookimpl\ndef {hook}({parameters}):\n    {body}\n")


@pytest.mark.parametrize(("body", "why"), DOES.values(), ids=DOES.keys())
@pytest.mark.parametrize("hook", ["penstock_tools", "penstock_doctor"])
def test_doctor_tells_what_a_plugin_can_not(
    hook: str, body: str, why: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(root, hook, body)

    assert invoke(["doctor"]) == 1
    said = capsys.readouterr()
    assert f'x ours: the plugin "ours" failed in {hook}: {why}\n' in said.out.replace("✗", "x")
    assert "GiB free on disk" in said.out


@pytest.mark.parametrize("answer", WRONG)
def test_doctor_goes_on_after_an_answer_of_another_kind(
    answer: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(root, "penstock_tools", f"return {answer}")

    assert invoke(["doctor"]) == 1
    assert "GiB free on disk" in capsys.readouterr().out


@pytest.mark.parametrize(("body", "why"), DOES.values(), ids=DOES.keys())
def test_commands_of_other_plugins_are_there(
    body: str, why: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(root, "penstock_commands", body)
    message = f'penstock: the plugin "ours" failed in penstock_commands: {why}\n'

    assert invoke(["hello"]) == 0
    assert capsys.readouterr() == ("Hello.\n", message)
    assert invoke(["hullo"]) == 2
    assert capsys.readouterr().err.startswith(f'{message}penstock: there is no command "hullo"')
    assert invoke(["plugins", "list"]) == 0
    assert "adds penstock hello" in capsys.readouterr().out


@pytest.mark.parametrize("answer", WRONG[2:])
def test_what_is_no_command_is_none(answer: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin(root, "penstock_commands", f"return {answer}")

    assert invoke(["hello"]) == 0
    assert capsys.readouterr().out == "Hello.\n"


def test_what_closes_the_streams_does_not_close_ours(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin(root, "penstock_doctor", "os.close(1); os.close(2)")
    (root / "penstock.toml").write_text('[penstock]\nplugins = ["./ours.py"]\n')

    assert invoke(["doctor"]) == 0
    assert "GiB free on disk" in capfd.readouterr().out


@pytest.mark.parametrize(("body", "why"), DOES.values(), ids=DOES.keys())
def test_a_question_about_a_revision_has_an_answer(body: str, why: str, root: Path) -> None:
    plugin(root, "penstock_find_revision", body)
    project, plugins = load(root / "penstock.toml")
    step = plan.make(project, plugins.versions).steps[0]

    with pytest.raises(PluginError) as caught:
        Sources(root, plugins, step).ask("penstock_find_revision", name="main")
    assert str(caught.value) == f'the plugin "ours" failed in penstock_find_revision: {why}'
