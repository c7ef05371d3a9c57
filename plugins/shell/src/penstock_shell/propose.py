"""What `penstock init` says about linters and the like. Runs none of the project's code.

Only a check that passes today on this machine is proposed; of the others it says why they are not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from penstock import Proposal

_PATIENCE = 60.0  # seconds
_RUFF = "ruff check ."
_NO_FIX = ("--no-fix", "--no-fix-only")
_TYPES = (
    'python3 -m venv "$TMPDIR/types"\n'
    '"$TMPDIR/types/bin/python" -m pip install --quiet mypy .\n'
    '"$TMPDIR/types/bin/mypy"'
)


def propose(root: Path, add: str | None) -> list[Proposal]:
    """What the project has configured, each with what it takes to check it."""
    if add is not None:
        return list(_for_section(root, add))
    return [found for look in (_ruff, _mypy, _pre_commit, _dockerfile) if (found := look(root))]


def _for_section(root: Path, add: str) -> Iterator[Proposal]:
    if add in ("test.style", "test.lint", "test.ruff") and _configures_ruff(root):
        yield Proposal(about="ruff", saw="configured", sections={add: {"run": _check(root)}})
    if add in ("test.types", "test.typing", "test.mypy") and _configures_mypy(root):
        settings = _tools(root).get("mypy")
        unnamed = isinstance(settings, dict) and not {"files", "packages", "modules"} & settings.keys()
        run = f"{_TYPES} ." if unnamed else _TYPES
        yield Proposal(about="mypy", saw="configured", sections={add: {"run": run}})


def _ruff(root: Path) -> Proposal | None:
    if not _configures_ruff(root):
        return None
    program = _find("ruff")
    if program is None:
        return _left_out("ruff", "configured", "it is not on this machine: pip install ruff", "test.style")
    if _reaches_out(root):
        why = "its configuration extends a file outside of this directory, which no step sees"
        return _left_out("ruff", "configured", why)
    if complaint := _complaint(root, program):
        return _left_out("ruff", "configured", complaint, "test.style")
    return Proposal(
        about="ruff",
        saw="configured, finds nothing today; added as test.style",
        sections={"test.style": {"run": _check(root)}},
    )


def _check(root: Path) -> str:
    """Ruff's command; where its configuration says that it repairs what it finds, it must be told not to.

    What it had repaired in a step's own copy of the files would pass, and be as it was everywhere else.
    """
    files = [root / name for name in ("ruff.toml", ".ruff.toml")]
    settings = [*map(_read, files), _tools(root).get("ruff", {})]
    tables = [found for found in settings if isinstance(found, dict)]
    tables += [_read(root / extended) for found in tables if isinstance(extended := found.get("extend"), str)]
    fixes = any(found.get(key) for found in tables for key in ("fix", "fix-only"))
    return _RUFF.replace(" .", f" {' '.join(_NO_FIX)} .") if fixes else _RUFF


def _complaint(root: Path, program: str) -> str:
    """Why the check would not pass; "" where it does. Ruff reads files, and runs nothing of them."""
    argv = [program, "check", *_NO_FIX, "--no-cache", "--quiet", "--output-format=concise", "."]
    try:
        done = subprocess.run(
            argv, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {_PATIENCE:.0f} s"
    except OSError as error:
        return f"it can't be run: {error.strerror}"
    if done.returncode == 0:
        return ""
    if done.returncode == 1:
        count = len(done.stdout.splitlines())
        return f"it finds {count} thing{'' if count == 1 else 's'} today (ruff check .)"
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return f"it ended with {done.returncode}: {said[0] if said else 'it says nothing'}"


def _mypy(root: Path) -> Proposal | None:
    if not _configures_mypy(root):
        return None
    return _left_out("mypy", "configured", "it needs what the project imports beside it", "test.types")


def _pre_commit(root: Path) -> Proposal | None:
    if not (root / ".pre-commit-config.yaml").is_file():
        return None
    why = (
        "it fetches its hooks and wants a git repository, which a step is not given; it runs where you commit"
    )
    return _left_out("pre-commit", "configured", why)


def _dockerfile(root: Path) -> Proposal | None:
    if not any((root / name).is_file() for name in ("Dockerfile", "Containerfile")) or _has("docker"):
        return None
    why = 'the plugin that builds images is not installed: pip install "penstock[docker]"'
    return _left_out("Dockerfile", "seen", why)


def _has(plugin: str) -> bool:
    return any(entry.name == plugin for entry in entry_points(group="penstock"))


def _left_out(about: str, saw: str, why: str, section: str = "") -> Proposal:
    way = f". Then: penstock init --add {section} --uses shell" if section else ""
    return Proposal(about=about, saw=saw, unsure=(f"not added: {why}{way}",), enable=False)


def _find(program: str) -> str | None:
    """The program as a step would find it: on PATH, or else beside Penstock."""
    places = [*os.environ.get("PATH", os.defpath).split(os.pathsep), str(Path(sys.executable).parent)]
    return shutil.which(program, path=os.pathsep.join(place for place in places if Path(place).is_absolute()))


def _configures_ruff(root: Path) -> bool:
    return any((root / name).is_file() for name in ("ruff.toml", ".ruff.toml")) or "ruff" in _tools(root)


def _configures_mypy(root: Path) -> bool:
    if any((root / name).is_file() for name in ("mypy.ini", ".mypy.ini")) or "mypy" in _tools(root):
        return True
    try:
        return "\n[mypy]\n" in "\n" + (root / "setup.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _reaches_out(root: Path) -> bool:
    settings = [_read(root / name) for name in ("ruff.toml", ".ruff.toml")] + [_tools(root).get("ruff", {})]
    extended = [str(found.get("extend", "")) for found in settings if isinstance(found, dict)]
    return any(path.startswith(("..", "/", "~", "$")) for path in extended)


def _tools(root: Path) -> dict[str, Any]:
    tools = _read(root / "pyproject.toml").get("tool", {})
    return tools if isinstance(tools, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
