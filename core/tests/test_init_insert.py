"""Adding to a configuration as text: nothing that was there may change."""

from __future__ import annotations

import tomllib

import pytest
from penstock.cli.init.insert import added

SECTION = '[deploy.staging]\nuses = "local"\n'
HEAD = ("penstock",)
NAME = ("deploy", "staging")


def add(text: str, plugin: str | None = "local") -> str:
    return added(text, HEAD, NAME, SECTION, plugin)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('[penstock]\nplugins = ["git"]\n', '[penstock]\nplugins = ["git", "local"]\n\n'),
        ('[penstock]\nplugins = ["git",]', '[penstock]\nplugins = ["git", "local",]\n\n'),
        ("[penstock]\nplugins = [ ] # none\n", '[penstock]\nplugins = ["local" ] # none\n\n'),
        (
            '[penstock]\nplugins = [\n    "git",  # the ] source\n    "trivy"  # and scans\n]\n',
            '[penstock]\nplugins = [\n    "git",  # the ] source\n    "trivy",\n    "local"  # and scans\n]\n\n',
        ),
        ("[penstock]\nplugins = ['git']  # [x]\n", "[penstock]\nplugins = ['git', \"local\"]  # [x]\n\n"),
        (
            '[build.a]\nplugins = ["x"]\n\n[ penstock ] # head\nname = "a"\n',
            '[build.a]\nplugins = ["x"]\n\n[ penstock ] # head\nplugins = ["local"]\nname = "a"\n\n',
        ),
        ("# nothing", '# nothing\n\n[penstock]\nplugins = ["local"]\n\n'),
        ("", '\n[penstock]\nplugins = ["local"]\n\n'),
        (
            '[penstock]\r\nplugins = ["git"]\r\n',
            '[penstock]\r\nplugins = ["git", "local"]\r\n\r\n',
        ),
    ],
    ids=["one", "comma", "empty", "lines", "single quotes", "no plugins", "no head", "no text", "CRLF"],
)
def test_the_plugin_is_enabled_and_the_rest_stays(old: str, new: str) -> None:
    section = SECTION.replace("\n", "\r\n") if "\r\n" in old else SECTION
    assert add(old) == new + section


def test_a_plugin_that_is_enabled_is_not_named_twice() -> None:
    old = '[penstock]\nplugins = ["local"]  # ours\n\n# the end'
    assert add(old) == old + "\n\n" + SECTION
    assert add(old, None) == old + "\n\n" + SECTION


@pytest.mark.parametrize(
    "old",
    [
        'penstock = { plugins = ["git"] }\n',
        'penstock.plugins = ["git"]\n',
        '"penstock".plugins = ["git"]\n',
        '[penstock]\n"plugins" = ["git"]\n',
        'deploy = { production = { uses = "local" } }\n[penstock]\nplugins = ["git"]\n',
        '[deploy]\nstaging = 1\n[penstock]\nplugins = ["local"]\n',
        '[penstock]\ntext = """\nplugins = [\n"""\nplugins = ["git"]\n',
        '[penstock]\nplugins = "git"\n',
        "deploy = 1\n",
    ],
)
def test_what_can_not_be_added_to_safely_is_left_alone(old: str) -> None:
    try:
        new = add(old)
    except (ValueError, AttributeError):  # a TOMLDecodeError is a ValueError
        return
    before, after = tomllib.loads(old), tomllib.loads(new)
    assert after["penstock"].pop("plugins") == [*before["penstock"].pop("plugins"), "local"]
    assert after.pop("deploy") == {"staging": {"uses": "local"}}
    assert after == before


def test_in_pyproject_the_head_is_tool_penstock() -> None:
    old = '[project]\nname = "a"\n\n[tool.penstock]\nplugins = ["git"]\n\n[tool.ruff]\n'
    new = added(
        old,
        ("tool", "penstock"),
        ("tool", "penstock", "deploy", "staging"),
        "[tool.penstock.deploy.staging]\n",
        "x",
    )
    assert new == (
        '[project]\nname = "a"\n\n[tool.penstock]\nplugins = ["git", "x"]\n\n[tool.ruff]\n\n'
        "[tool.penstock.deploy.staging]\n"
    )
