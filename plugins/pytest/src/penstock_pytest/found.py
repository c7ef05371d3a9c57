"""Which files of a project hold tests, by their names and their text. Reads files alone, and runs nothing."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from penstock import Model

from penstock_pytest.pytestconfig import PytestConfig
from penstock_pytest.wheels import is_test

_USUAL = ("test_*.py", "*_test.py")
_UNITTEST = "test*.py"  # what unittest's own discovery looks for
_PASSED_OVER = frozenset({"__pycache__", "build", "dist", "node_modules", "venv", "site-packages"})
_LARGEST = 2_000_000  # bytes of a file; a test is smaller
_TEST = re.compile(
    r"^[ \t]*(?:async[ \t]+)?def test\w*\(|^class \w*\([^)]*TestCase\b|\bdef load_tests\(", re.MULTILINE
)
_MAIN = re.compile(
    r"^unittest\.main\(|^from[ \t]+unittest[ \t]+import\b[^\n]*\bmain\b(?:.*\n)+?main\(", re.MULTILINE
)
_PROGRAM = re.compile(r"""^if __name__ == ["']__main__["']""", re.MULTILINE)
_IMPORTED = re.compile(r"^(?:import|from)[ \t]+pytest\b", re.MULTILINE)
_ABSOLUTE = re.compile(r"^[ \t]*(?:import|from)[ \t]+(\w+)", re.MULTILINE)
_OWN_NAME = re.compile(r"\bpytest\b|\bpy\.test\b")


class Found(Model):
    """The files of a suite, as paths relative to the project."""

    usual: tuple[str, ...] = ()
    """Those that pytest finds by itself."""
    unusual: tuple[str, ...] = ()
    """Those that hold tests, and have names that pytest does not look for."""
    texts: dict[str, str] = {}
    """All Python files that lie with them or are named like them, conftest too."""

    @property
    def anything(self) -> bool:
        """Whether there are tests."""
        return bool(self.usual or self.unusual)

    @property
    def speaks_of_pytest(self) -> bool:
        """Whether a file of the suite is written for pytest."""
        return any(_OWN_NAME.search(text) for text in self.texts.values())

    @property
    def imports_pytest(self) -> bool:
        """Whether a file of the suite can't be run without pytest."""
        return any(_IMPORTED.search(self.texts[file]) for file in (*self.usual, *self.unusual))

    def beside(self, project: Path) -> tuple[str, ...]:
        """The directories and modules of tests at the root that the suite imports by their names.

        `python -m pytest` finds them, and so does pytest where they are packages; without, it doesn't.
        """
        named = {name for text in self.texts.values() for name in _ABSOLUTE.findall(text) if is_test(name)}
        there = (name for name in named if (project / name).is_dir() or (project / f"{name}.py").is_file())
        return tuple(sorted(there))

    @property
    def programs(self) -> tuple[str, ...]:
        """All files with tests, where each runs them when it is imported: that bears no other runner."""
        files = (*self.usual, *self.unusual)
        return files if all(_MAIN.search(self.texts[file]) for file in files) else ()

    @property
    def needed(self) -> dict[str, str]:
        """All but programs among the tests, such as a benchmark, that no other file imports."""
        return {file: text for file, text in self.texts.items() if not self._is_aside(file)}

    def _is_aside(self, file: str) -> bool:
        text, name = self.texts[file], PurePosixPath(file).stem
        if name == "conftest" or _TEST.search(text) or not _PROGRAM.search(text):
            return False
        imports = re.compile(rf"^[ \t]*(?:import|from)[ \t].*\b{re.escape(name)}\b", re.MULTILINE)
        return not any(imports.search(other) for one, other in self.texts.items() if one != file)

    @property
    def all_of_unittest(self) -> tuple[str, ...]:
        """What unittest's own discovery would find."""
        return tuple(sorted(f for f in (*self.usual, *self.unusual) if _matches(f, (_UNITTEST,))))

    @property
    def local(self) -> frozenset[str]:
        """The modules that lie beside the tests or above them."""
        parts = {part for file in self.texts for part in PurePosixPath(file).parts[:-1]}
        return frozenset({*parts, *(PurePosixPath(file).stem for file in self.texts)})

    def beyond(self, *, unittest: bool) -> tuple[str, ...]:
        """The files to name to pytest, since it would not find what there is; none: it finds it.

        Where a suite is unittest's, all counts that its own discovery would find.
        """
        named = tuple(file for file in self.unusual if _matches(file, (_UNITTEST,)))
        if unittest and named:
            return tuple(sorted({*self.usual, *named}))
        return () if self.usual else named or self.unusual


def look(project: Path, config: PytestConfig) -> Found:
    """Read the files of a project that may be of its suite."""
    texts = {file: text for file in _files(project) if (text := _text(project / file)) is not None}
    holding = [file for file, text in texts.items() if _TEST.search(text)]
    usual = [file for file in holding if _matches(file, config.python_files or _USUAL)]
    under = [file for file in usual if _under(file, config.testpaths)]
    if config.testpaths and any((project / path).exists() for path in config.testpaths):
        usual = under
    others = [file for file in holding if not _matches(file, config.python_files or _USUAL)]
    unusual = [file for file in others if PurePosixPath(file).name not in ("conftest.py", "__init__.py")]
    return Found(usual=tuple(usual), unusual=tuple(unusual), texts=texts)


def _files(project: Path) -> Iterator[str]:
    """Python files with "test" in their path: no other is looked into."""
    for parent, directories, files in os.walk(project):
        here = Path(parent)
        directories[:] = [
            name
            for name in sorted(directories)
            if not name.startswith(".")
            and name not in _PASSED_OVER
            and not name.endswith((".egg", ".egg-info"))
            and not (here / name / "pyvenv.cfg").exists()
        ]
        for name in sorted(files):
            path = (here / name).relative_to(project).as_posix()
            if name.endswith(".py") and ("test" in path.lower() or name == "conftest.py"):
                yield path


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _matches(file: str, patterns: tuple[str, ...]) -> bool:
    name = PurePosixPath(file).name
    return any(fnmatch.fnmatch(file if "/" in pattern else name, pattern) for pattern in patterns)


def _under(file: str, paths: tuple[str, ...]) -> bool:
    plain = [path.rstrip("/") for path in paths]
    return any(_is_or_holds(path, file) for path in plain)


def _is_or_holds(path: str, file: str) -> bool:
    return path in ("", ".") or fnmatch.fnmatch(file, path) or fnmatch.fnmatch(file, f"{path}/*")
