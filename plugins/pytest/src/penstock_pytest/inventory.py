"""A project's suite as its files describe it: what it needs, and what pytest must be told to find it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_pytest import found, known, locks, pytestconfig
from penstock_pytest.requirements import Choice, Project, Wanted, asks_for_pytest
from penstock_pytest.wheels import Wheel

if TYPE_CHECKING:
    from penstock_pytest import Pytest

_DJANGO = "DJANGO_SETTINGS_MODULE"
_RUNNERS = ("runtests.py", "run_tests.py")  # what a project without pytest calls its own


class Inventory:
    """Configuration, files and requirements of a suite. Everything is read once, and nothing is run."""

    def __init__(
        self, root: Path, python: str, wheels: Sequence[Wheel] = (), *, above: Sequence[Path] = ()
    ) -> None:
        self.root = root
        self.above = above
        """Directories that hold the project, such as a workspace's, the nearest first."""
        self.python = python
        self.wheels = wheels
        self.config = pytestconfig.read(root)

    @cached_property
    def project(self) -> Project:
        """What says what the tests need. Raises ConfigError where that can't be read."""
        return Project(self.root, self.wheels)

    @cached_property
    def files(self) -> found.Found:
        """The files with tests."""
        return found.look(self.root, self.config)

    def wanted(self, choice: Choice) -> Wanted:
        """What is to be installed; where nothing is chosen, completed by what configuration and tests use."""
        found = self.project.wanted(choice)
        if not choice.made and not found.anything:
            found = self._wanted_above(choice) or found
        found = found.model_copy(update={"lock": self._lock(choice)})
        if choice.made:
            return found
        imported = known.imported(self.files.needed, self.files.local)
        return self.project.completed(found, self._needs(), imported)

    def _wanted_above(self, choice: Choice) -> Wanted | None:
        """What a workspace says that the tests of all its members need."""
        for place in self.above:
            found = Project(place, self.wheels).wanted(choice)
            if found.anything:
                return found.model_copy(update={"origin": f"{found.origin}, above {self.root.name}"})
        return None

    def unittests(self, settings: Pytest, wanted: Wanted) -> tuple[tuple[str, ...], ...]:
        """What is run with unittest instead of pytest; nothing: pytest it is."""
        if settings.runner == "pytest":
            return ()
        if settings.runner is None and not self._is_unittest(wanted):
            return ()
        tox = self.project.tox
        commands = (tox.unittests(self.root) if tox else ()) or self._django()
        if settings.runner == "unittest" and (settings.paths or not commands):
            names = settings.paths or self.files.all_of_unittest
            return (("-m", "unittest", *settings.args, *names),)
        # Such programs are started where they lie, and find their data there.
        scripts = tuple(("-C", *os.path.split(file)) for file in self.files.programs)
        return tuple((*command, *settings.args) for command in commands or self._own_runner() or scripts)

    def _django(self) -> tuple[tuple[str, ...], ...]:
        """A Django project's own way, which sets up its applications and a database for the tests."""
        for place in (self.root, *sorted(path for path in self.root.iterdir() if path.is_dir())):
            script = place / "manage.py"
            if script.is_file() and _DJANGO in script.read_text(encoding="utf-8", errors="replace"):
                inner = place.relative_to(self.root).as_posix()
                return (("-C", "" if inner == "." else inner, "manage.py", "test", "--noinput"),)
        return ()

    def _own_runner(self) -> tuple[tuple[str, ...], ...]:
        return next((((name,),) for name in _RUNNERS if (self.root / name).is_file()), ())

    def chosen(self, settings: Pytest, wanted: Wanted, log: Callable[[str], None]) -> tuple[str, ...]:
        """The paths that pytest is started with; none: what it finds by itself."""
        if settings.paths:
            return settings.paths
        named = self.files.beyond(unittest=self._is_unittest(wanted))
        if named:
            log(f"Tests with names that pytest does not look for: {len(named)} files are named to it")
            return named
        tox = self.project.tox
        paths = tox.paths(self.root) if tox and not self.config.testpaths else ()
        if tox and paths:
            log(f"What {tox.origin} tests: {' '.join(paths)}")
        return paths

    def _lock(self, choice: Choice) -> locks.Lock:
        read = (locks.read(place, self.python) for place in (self.root, *self.above) if choice.locked)
        lock = next((lock for lock in read if lock.file), locks.Lock())
        own = {wheel.name for wheel in self.wheels}
        return lock.model_copy(
            update={"lines": tuple(line for line in lock.lines if line.partition("==")[0] not in own)}
        )

    def _needs(self) -> list[known.Need]:
        plugins = [
            known.Need(distribution=line, because="required_plugins") for line in self.config.required_plugins
        ]
        used = known.of_configuration(self.config.addopts, self.config.names)
        return [*plugins, *used, *known.of_tests(self.files.needed, self.files.local)]

    def _is_unittest(self, wanted: Wanted) -> bool:
        """Whether tox runs the suite without pytest, or nothing about the project speaks of it."""
        tox = self.project.tox
        if tox is not None and tox.runs_pytest:
            return False
        if tox is not None and tox.unittests(self.root):
            # What is run counts for more than a line of configuration, but not for more than the tests.
            return not self.files.imports_pytest
        asked = any(asks_for_pytest(line) for line in wanted.lines)
        return not (asked or self.config.file or self.files.speaks_of_pytest)
