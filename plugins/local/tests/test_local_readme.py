from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
from penstock_local import penstock_commands
from penstock_local.settings import Local

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_configuration_is_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        for section in tomllib.loads(block)["deploy"].values():
            Local.model_validate({key: value for key, value in section.items() if key != "uses"})


def test_every_setting_and_its_default_are_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE))
    assert list(rows) == list(Local.model_fields)
    settings = Local(directory="x")
    for name, default in rows.items():
        if default.startswith("`"):
            given = Local.model_validate(
                {"directory": "x", name: tomllib.loads(f"x = {_toml(default)}")["x"]}
            )
            assert getattr(given, name) == getattr(settings, name)


def _toml(default: str) -> str:
    text = default.strip("`")
    return text if text.isdigit() else f'"{text}"'


def test_every_command_is_in_the_table() -> None:
    (local,) = penstock_commands()
    assert isinstance(local, click.Group)
    found = re.findall(r"^\| `penstock local (\w+)", README, re.MULTILINE)
    assert sorted(found) == sorted(local.commands)
