from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

from penstock.model import Duration
from penstock_notify.messages import Message
from penstock_notify.settings import Kind, Notify
from pydantic import TypeAdapter

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_configuration_is_valid() -> None:
    [block] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    for section in tomllib.loads(block)["observe"].values():
        Notify.model_validate({key: value for key, value in section.items() if key != "uses"})


def test_every_setting_and_its_default_are_in_the_table() -> None:
    table = README.partition("## Settings")[2].partition("##")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    assert list(rows) == list(Notify.model_fields)
    keep_trying = rows["keep_trying"].strip('`"')
    assert (
        TypeAdapter[float](Duration).validate_python(keep_trying)
        == Notify.model_fields["keep_trying"].default
    )


def test_everything_that_is_told_and_every_field_is_named() -> None:
    told = README.partition("## What is told")[2].partition("##")[0]
    kinds = re.findall(r"^\| `([\w ]+)` \|", told, re.MULTILINE)
    assert kinds[1:] == list(get_args(Kind)), "below the head of the table"
    for name in (*Message.__dataclass_fields__, "text"):
        assert f"`{name}`" in told
