from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from penstock_http import penstock_propose


@pytest.mark.parametrize(
    ("name", "text", "url"),
    [
        ("penstock.toml", "[deploy.a]\nport = 80\nhealth = '/up'\n", "http://127.0.0.1:80/up"),
        ("penstock.toml", "[deploy.a]\nport = 80\n", "http://127.0.0.1:80/"),
        (
            "penstock.toml",
            "[deploy.a]\nport = 80\nhealth = 'https://h.example:{port}/up'\n",
            "https://h.example:80/up",
        ),
        ("pyproject.toml", "[tool.penstock.deploy.a]\nport = 80\n", "http://127.0.0.1:80/"),
        ("penstock.toml", "[deploy.b]\nport = 80\n", None),
        ("penstock.toml", "[deploy.a]\nport = '80'\n", None),
        ("penstock.toml", "deploy = 1\n", None),
        ("penstock.toml", "not TOML", None),
        ("other.toml", "", None),
    ],
)
def test_the_address_comes_from_the_deploy_section(
    tmp_path: Path, name: str, text: str, url: str | None
) -> None:
    (tmp_path / name).write_text(text)
    found: Any = penstock_propose(root=tmp_path, add="verify.a")
    assert found.sections == {"verify.a": {"url": url} if url else {}}


@pytest.mark.parametrize("add", [None, "deploy.a"])
def test_nothing_is_proposed_for_another_section(tmp_path: Path, add: str | None) -> None:
    assert penstock_propose(root=tmp_path, add=add) is None
