"""What `penstock init --add deploy.NAME` writes for this plugin. Reads files alone, and runs nothing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from penstock import Proposal

_WORD = re.compile(r"[A-Za-z0-9_.-]+")


def propose(root: Path, add: str) -> Proposal:
    """A directory of its own, and the service that the project seems to have."""
    project = _table(_pyproject(root), "project")
    name = str(project.get("name") or root.resolve().name)
    settings: dict[str, Any] = {"directory": f"~/releases/{_tidy(name)}/{add.partition('.')[2]}"}
    service, whence = _service(root, project)
    if service:
        settings["run"] = service
        remark = f"`run` is {whence}: take it out if that is no service, or add `port` and `health` if it is"
    else:
        remark = "no service was found, so files alone are deployed; `run` names one"
    return Proposal(saw=f"releases in {settings['directory']}", sections={add: settings}, unsure=(remark,))


def _service(root: Path, project: dict[str, Any]) -> tuple[list[str], str]:
    """What the project would run, and where that was found; nothing where it is not plain."""
    scripts = _table(project, "scripts") or _table(
        _table(_table(_pyproject(root), "tool"), "poetry"), "scripts"
    )
    if len(scripts) == 1:
        return [next(iter(scripts))], "its one console script"
    mains = [path.parent.name for path in (*root.glob("src/*/__main__.py"), *root.glob("*/__main__.py"))]
    if len(mains) == 1:
        return ["python", "-m", mains[0]], f"{mains[0]}/__main__.py"
    return [], ""


def _tidy(name: str) -> str:
    return "-".join(_WORD.findall(name)).strip(".-") or "project"


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _pyproject(root: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
