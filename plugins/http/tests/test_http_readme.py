from __future__ import annotations

import re
import tomllib
from pathlib import Path

from penstock.model import Duration
from penstock.plugins import CORE_KEYS
from penstock_http.settings import Http
from pydantic import TypeAdapter

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_configuration_is_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        for section in tomllib.loads(block)["verify"].values():
            Http.model_validate({k: v for k, v in section.items() if k not in CORE_KEYS})


def test_every_setting_and_its_default_are_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE))
    assert list(rows) == list(Http.model_fields)
    seconds = TypeAdapter[float](Duration)
    for name in ("interval", "wait", "request_timeout"):
        assert seconds.validate_python(rows[name].strip("`")) == Http.model_fields[name].default
    for name in ("status", "count", "method"):
        assert rows[name] == f"`{Http.model_fields[name].default}`"
