"""What `penstock init` says about a project's tests. Reads files alone, and runs nothing."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from penstock import ConfigError, Proposal
from pydantic import JsonValue

from penstock_pytest import Pytest
from penstock_pytest.inventory import Inventory
from penstock_pytest.python import fitting, own
from penstock_pytest.requirements import Choice
from penstock_pytest.wheels import is_test

_SHOWN = 2
# By these a directory shows that it is a project of its own.
_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini", "requirements.txt", "Pipfile")
_NONE = 'nothing will test what is built. Once there is a test: [test.pytest] with uses = "pytest"'


def propose(root: Path) -> Proposal | None:
    """A test step with pytest; a word about it where a Python project has no tests, None where it is none."""
    tests = Inventory(root, own().version)
    if not tests.files.anything and not tests.config.doctests:
        if not any((root / name).is_file() for name in ("pyproject.toml", "setup.py")):
            return None
        return Proposal(saw="no tests", unsure=(_NONE,), enable=False)
    if members := _members(root, tests):
        return _of_members(members)
    where = _where(tests)
    try:
        wanted = tests.wanted(Choice())
    except ConfigError as error:
        return Proposal(saw=where, sections={"test.pytest": {}}, unsure=(str(error),))
    more = [need.distribution for need in wanted.added]
    origin = f"{wanted.origin}, and {', '.join(more)}" if more else wanted.origin
    if tests.unittests(Pytest(), wanted):
        where = f"{where}, with unittest"
    if wanted.lock.file:
        origin = f"{origin}, in the versions of {wanted.lock.file}"
    saw = f"{where}, requirements: {origin}"
    requires = tests.project.requires_python
    python = fitting(requires)
    if python is None:
        why = f"the project needs Python {requires}, and here is {own().version}. With one that fits"
        unsure = (f"not added: {why}: penstock init --add test.pytest",)
        return Proposal(saw=saw, unsure=unsure, enable=False)
    wanted_python = {} if python == own() else {"python": ".".join(map(str, python.release))}
    return Proposal(saw=saw, sections={"test.pytest": {**wanted_python}})


def _members(root: Path, tests: Inventory) -> dict[str, list[str]]:
    """The projects of a workspace, or of a repository that is none itself, each with its files of tests.

    None: it is one project.
    """
    data = _pyproject(root)
    own = _members_of_uv(root, data)
    built = "build-system" in data or any((root / name).is_file() for name in ("setup.py", "setup.cfg"))
    if built and not own:
        return {}
    # A root that says nothing of itself leaves that to the directories below it.
    marks = _MARKS[:1] if _has_any(root, _MARKS) else _MARKS
    found: dict[str, list[str]] = {}
    for file in tests.files.usual or tests.files.unusual:
        parents = [parent for parent in PurePosixPath(file).parents if not is_test(parent.name)]
        homes = (str(parent) for parent in parents if _has_any(root / parent, marks))
        found.setdefault(next((home for home in homes if not built or home in own), "."), []).append(file)
    return found if set(found) - {"."} else {}


def _has_any(place: Path, names: Iterable[str]) -> bool:
    return any((place / name).is_file() for name in names)


def _members_of_uv(root: Path, data: Mapping[str, Any]) -> frozenset[str]:
    """The directories of a uv workspace's members."""
    table: Any = data
    for key in ("tool", "uv", "workspace", "members"):
        table = table.get(key) if isinstance(table, dict) else None
    patterns = [item for item in table if isinstance(item, str)] if isinstance(table, list) else []
    found = (path for pattern in patterns for path in root.glob(pattern) if path != root)
    return frozenset(path.relative_to(root).as_posix() for path in found)


def _pyproject(root: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _of_members(members: dict[str, list[str]]) -> Proposal:
    """A step for each project of the repository, and one for the tests that belong to none."""
    sections: dict[str, dict[str, JsonValue]] = {}
    for directory, files in sorted(members.items()):
        if directory == ".":
            sections["test.pytest"] = {"paths": list(dict.fromkeys(map(_place, files)))}
            continue
        sections[f"test.{_name(PurePosixPath(directory).name, sections)}"] = {"directory": directory}
    return Proposal(saw=f"tests of {', '.join(sorted(set(members) - {'.'}))}", sections=sections)


def _name(word: str, taken: dict[str, dict[str, JsonValue]]) -> str:
    """A section's name for a directory's, each once."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", word)[:60].strip("-") or "package"
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(name for name in names if f"test.{name}" not in taken)


def _where(tests: Inventory) -> str:
    """Where the tests are, the place with most of them first."""
    files = tests.files.usual or tests.files.unusual
    places = [place for place, _ in Counter(map(_place, files)).most_common()]
    if not places:
        return "examples in the documentation (doctest)"
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _place(file: str) -> str:
    """The directory of tests that a file lies in, or the file itself."""
    path = PurePosixPath(file)
    for depth, part in enumerate(path.parts[:-1], 1):
        if "test" in part.lower():
            return "/".join(path.parts[:depth]) + "/"
    return file
