from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
from penstock_sigstore import Sigstore, penstock_commands, trust

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_configuration_is_valid_and_its_keys_are_keys() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    trusted = 0
    for block in blocks:
        section = tomllib.loads(block)["sign"]["release"]
        settings = Sigstore.model_validate({k: v for k, v in section.items() if k not in ("uses", "secrets")})
        if settings.trusted:
            trusted += len(trust.trusted_keys(settings.key, settings.trusted))
    assert trusted == 1


def test_every_setting_and_its_default_are_in_the_table() -> None:
    for name in Sigstore.model_fields:
        assert f"| `{name}` |" in README
    assert f"| `{Sigstore().passphrase_secret}` |" in README


def test_every_command_is_in_the_table() -> None:
    (keys,) = penstock_commands()
    assert isinstance(keys, click.Group)
    found = re.findall(r"^\| `penstock keys (\w+)", README, re.MULTILINE)
    assert sorted(found) == sorted(keys.commands)
