"""What `penstock init` says about tox. Reads files alone, and runs nothing."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

from penstock import Proposal

from penstock_tox import project
from penstock_tox.project import Config

_SHOWN = 4
_SUITES = ("tests", "test", "testing")
_OTHERS = ("venv", "env", "build", "dist", "node_modules", "site-packages")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RUNNER = re.compile(r"\b(?:pytest|py\.test|unittest)\b")
_MOST = 200  # names that a line with braces may stand for
_ADD = "penstock init --add test.tox adds it"


def propose(root: Path, add: str | None) -> Proposal | None:
    """A test step with tox; None where the project has no environments for tox that run anything.

    Where another plugin would test the same suite, it is left to that one: otherwise each test ran twice.
    """
    config = project.read(root)
    if config is None or not config.commands:
        return None
    names = ", ".join(config.environments[:_SHOWN]) + (", …" if len(config.environments) > _SHOWN else "")
    saw = f"{config.path.name}: {names}" if names else config.path.name
    if add is not None:
        return _for_section(config, saw, add)
    # A directory of tests says more than a single file, which may be a module that is called so.
    suite = min(_suites(root), key=lambda place: not place.endswith("/"), default=None)
    if suite is not None and _another_tests():
        return Proposal(
            saw=saw, unsure=(f"not added, since {suite} is tested already: {_ADD}",), enable=False
        )
    if suite is None and any(_RUNNER.search(command) for command in config.commands):
        why = f"not added, since there is no test here that it could run: {_ADD}"
        return Proposal(saw=saw, unsure=(why,), enable=False)
    here = _here(config)
    if here is None:
        why = f"not added, since none of these is plainly one for this Python: {_ADD}"
        return Proposal(saw=saw, unsure=(why,), enable=False)
    return Proposal(saw=f"{saw}; added as test.tox", sections={"test.tox": {"environments": [here]}})


def _for_section(config: Config, saw: str, add: str) -> Proposal | None:
    """`test.tox`, or a step by the name of an environment."""
    phase, _, name = add.partition(".")
    known = [*_expanded(config.environments)]
    if phase != "test" or name not in ("tox", *known):
        return None
    here = name if name in known else _here(config)
    return Proposal(saw=saw, sections={add: {"environments": [here]} if here else {}})


def _here(config: Config) -> str | None:
    """The first environment that is for the Python that Penstock runs on, by its name."""
    major, minor = sys.version_info[:2]
    names = {"py", f"py{major}", f"py{major}{minor}", f"py{major}.{minor}", f"{major}.{minor}"}
    environments = [*_expanded(config.environments)] or ["py"]
    return next((name for name in environments if names & set(name.split("-"))), None)


def _expanded(names: Iterable[str]) -> Iterator[str]:
    """The names that tox makes of those with braces: `py{310,311}-x` is `py310-x` and `py311-x`."""
    for name in names:
        parts = _BRACES.split(name)
        choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
        for words in itertools.islice(itertools.product(*choices), _MOST):
            yield "".join(word.strip() for word in words)


def _suites(root: Path) -> Iterator[str]:
    """Where there are files that a runner of Python tests would find by itself."""
    for place, directories, files in os.walk(root):
        directories[:] = sorted(name for name in directories if name[0] != "." and name not in _OTHERS)
        inside = Path(place).relative_to(root)
        named = next((number for number, part in enumerate(inside.parts, 1) if part in _SUITES), None)
        found = next((name for name in sorted(files) if _is_test(name, within=named is not None)), None)
        if found is not None:
            yield f"{Path(*inside.parts[:named]).as_posix()}/" if named else (inside / found).as_posix()


def _is_test(name: str, *, within: bool) -> bool:
    stem = name.removesuffix(".py")
    tests = within or stem.startswith("test") or stem.endswith(("_test", "_tests"))
    return name.endswith(".py") and tests and stem not in ("__init__", "conftest")


def _another_tests() -> bool:
    """Whether the plugin is installed that proposes to run such a suite."""
    return any(entry.name == "pytest" for entry in entry_points(group="penstock"))
