"""What `penstock init` says about linters. Reads files alone, and runs nothing."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

from penstock import Proposal


def propose(root: Path) -> Proposal | None:
    """A check of style, where the project has configured ruff; None where it has not."""
    if not _configures_ruff(root):
        return None
    beside = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if not (shutil.which("ruff") or beside):
        return Proposal(
            saw="ruff, configured",
            unsure=("it is not on this machine, and so no step was written. First: pip install ruff",),
        )
    return Proposal(saw="ruff, configured", sections={"test.style": {"run": "ruff check ."}})


def _configures_ruff(root: Path) -> bool:
    if any((root / name).is_file() for name in ("ruff.toml", ".ruff.toml")):
        return True
    try:
        return "ruff" in tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return False
