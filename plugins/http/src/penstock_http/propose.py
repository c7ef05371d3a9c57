"""What `penstock init --add verify.NAME` writes for this plugin. Reads files alone, and asks nobody."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from penstock import Proposal


def propose(root: Path, add: str) -> Proposal:
    """The address at which the environment's deploy section serves; without one it is to be filled in."""
    environment = add.partition(".")[2]
    url = _url(_deploy_section(root, environment))
    if url is None:
        return Proposal(saw=f"[deploy.{environment}] doesn't say where it serves", sections={add: {}})
    return Proposal(saw=f"[deploy.{environment}] serves at {url}", sections={add: {"url": url}})


def _url(section: dict[str, Any]) -> str | None:
    """Where a section says that it serves, in the keys that deploy plugins share."""
    port, health = section.get("port"), section.get("health", "/")
    if isinstance(health, str) and health.startswith(("http://", "https://")):
        return health.replace("{port}", str(port))
    if not isinstance(port, int) or not isinstance(health, str):
        return None
    return f"http://127.0.0.1:{port}{health}"


def _deploy_section(root: Path, environment: str) -> dict[str, Any]:
    project = _table(_table(_read(root / "pyproject.toml"), "tool"), "penstock")
    data = _read(root / "penstock.toml") or project
    return _table(_table(data, "deploy"), environment)


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
