"""The README tells the truth about the settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from penstock_git import Git

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_table_names_every_setting_and_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]+)`|none) \|", README, re.MULTILINE)
    defaults = {name: tomllib.loads(f"x = {value}")["x"] if value else None for name, value in rows}
    assert defaults == Git().model_dump()


def test_every_example_of_a_section_is_valid() -> None:
    for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL):
        for section in tomllib.loads(block).get("source", {}).values():
            Git.model_validate({key: value for key, value in section.items() if key != "uses"})
