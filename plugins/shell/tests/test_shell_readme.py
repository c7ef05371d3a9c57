from __future__ import annotations

import re
import tomllib
from pathlib import Path

import penstock_shell
from penstock.plugins import CORE_KEYS
from penstock_shell.settings import Build, Scan, Test, Verify

README = (Path(__file__).parent.parent / "README.md").read_text()
MODELS = {"build": Build, "test": Test, "scan": Scan, "verify": Verify}


def test_every_configuration_is_valid() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    document = tomllib.loads(block)
    assert document.pop("penstock") == {"plugins": ["git", "shell"]}
    assert document.keys() == MODELS.keys()
    for phase, sections in document.items():
        for section in sections.values():
            MODELS[phase].model_validate({k: v for k, v in section.items() if k not in CORE_KEYS})


def test_every_setting_its_phases_and_its_default_are_in_the_table() -> None:
    for name in {name for model in MODELS.values() for name in model.model_fields}:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", README, re.MULTILINE)
        having = [phase for phase, model in MODELS.items() if name in model.model_fields]
        assert ("all" if having == list(MODELS) else ", ".join(having)) in row
        default = MODELS[having[-1]].model_fields[name].default
        if isinstance(default, str):
            assert f"| `{default}` |" in row


def test_every_phase_has_its_hook() -> None:
    assert all(hasattr(penstock_shell, f"penstock_{phase}") for phase in MODELS)
