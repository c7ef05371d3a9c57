"""What tox's configuration says of a project's tests: what they need, and how they are run."""

from __future__ import annotations

import configparser
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_pytest.files import logical_lines

_FACTOR = re.compile(r"^!?[\w.{}!-]+(?:,[\w.{}!-]+)*:\s+")
_PYTEST = re.compile(r"(?:^|[\s/])(?:-m\s*)?(?:pytest|py\.test)(?=\s|$)")
_UNITTEST = re.compile(r"(?:^|\s)-m\s*unittest(?=\s|$)")
_OTHER_RUNNER = re.compile(
    r"(?:^|\s)-m\s*unittest(?=\s|$)|\btesttools\.run\b|(?:^|[\s/])(?:stestr|nose2|nosetests|trial|zope-testrunner)(?=\s|$)"
)
_PROGRAM = re.compile(
    r"^-?\s*(?:\S*python[\d.]*|\{envpython\}|coverage\s+run|\S*python\S*\s+-m\s+coverage\s+run)\s+(.*)"
)
_FLAG = re.compile(
    r"-[vqxslb]+$|-r[a-zA-Z]+$|--(?:verbose|quiet|exitfirst|strict\S*|pyargs|doctest-modules)$"
)


@dataclass(frozen=True)
class Tox:
    """tox's test environment."""

    origin: str
    lines: Sequence[str] = ()
    """What it installs."""
    extras: Sequence[str] = ()
    groups: Sequence[str] = ()
    commands: Sequence[str] = ()

    @property
    def runs_pytest(self) -> bool:
        """Whether it tests with pytest."""
        return any(_PYTEST.search(line) for line in self.commands)

    def unittests(self, project: Path) -> tuple[tuple[str, ...], ...]:
        """What it runs with unittest instead: `-m unittest …`, or a script or module of tests."""
        found = (_unittest(project, line) for line in self.commands)
        return () if self.runs_pytest else tuple(words for words in found if words)

    def paths(self, project: Path) -> tuple[str, ...]:
        """The files and directories of the project that pytest is started with; none: all that it finds.

        Where it is started once for each of several, all of them; where another runner has the rest, none.
        """
        always = [line for line in self.commands if not _FACTOR.match(line)]
        if any(_OTHER_RUNNER.search(line) for line in always):
            return ()
        starts = [line for line in always if _PYTEST.search(line)]
        starts = starts or [line for line in self.commands if _PYTEST.search(line)][:1]
        found = [tuple(_paths(project, _PYTEST.split(line, maxsplit=1)[1])) for line in starts]
        return tuple(dict.fromkeys(itertools.chain.from_iterable(found))) if all(found) else ()


def read(root: Path, pyproject: Mapping[str, Any]) -> Tox | None:
    """Tox's base environment, from wherever the project has it; None where there is none."""
    table = _dict(_dict(pyproject.get("tool")).get("tox"))
    legacy = table.get("legacy_tox_ini")
    found = (
        _of_ini(_text(root / "tox.ini"), "tox.ini"),
        _of_ini(_text(root / "setup.cfg"), "setup.cfg", "tox:testenv"),
        _of_toml(_dict(_toml(root / "tox.toml").get("env_run_base")), "tox.toml"),
        _of_ini(legacy if isinstance(legacy, str) else "", "pyproject.toml"),
        _of_toml(_dict(table.get("env_run_base")), "pyproject.toml"),
    )
    return next((one for one in found if one is not None), None)


def _of_ini(text: str, file: str, section: str = "testenv") -> Tox | None:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None  # not for us to judge: tox reads it otherwise
    if not parser.has_section(section):
        return None

    def listed(key: str, separator: str = "\n") -> list[str]:
        value = parser.get(section, key, fallback="")
        parts = [part for line in logical_lines(value) for part in re.split(separator, line)]
        # A line for some environments only, or one that refers to other settings, is not simple.
        simple = (part.strip() for part in parts if not _FACTOR.match(part))
        return [part for part in simple if part and "{" not in part.replace("{toxinidir}", "")]

    return Tox(
        f"[{section}] of {file}",
        listed("deps"),
        listed("extras", r"[,\s]+"),
        listed("dependency_groups", r"[,\s]+"),
        logical_lines(parser.get(section, "commands", fallback="")),
    )


def _of_toml(table: Mapping[str, Any], file: str) -> Tox | None:
    if not table:
        return None
    commands = [shlex.join(_strings(command)) for command in _list(table.get("commands"))]
    deps, extras, groups = (_strings(table.get(key)) for key in ("deps", "extras", "dependency_groups"))
    return Tox(f"env_run_base of {file}", deps, extras, groups, commands)


def _unittest(project: Path, line: str) -> tuple[str, ...]:
    if match := _UNITTEST.search(line):
        words = _words(line[match.end() :])
        return () if any("{" in word for word in words) else ("-m", "unittest", *words)
    match = _PROGRAM.match(line)
    words = _words(match[1]) if match else []
    while words and words[0].startswith("-") and words[0] != "-m":
        words.pop(0)
    if "{" in "".join(words) or not _is_of_tests(project, words):
        return ()
    return tuple(words)


def _is_of_tests(project: Path, words: Sequence[str]) -> bool:
    """Whether it is a script of the project's, or a module, that is named for tests."""
    if words[:1] == ["-m"]:
        return len(words) > 1 and "test" in words[1]
    if not words or not words[0].endswith(".py") or "test" not in words[0]:
        return False
    script = (project / words[0]).resolve()
    return script.is_file() and project.resolve() in script.parents


def _words(text: str) -> list[str]:
    # "{posargs:tests}" stands for "tests" unless somebody says otherwise.
    text = re.sub(r"\{(?:posargs|tty):?([^{}]*)\}", r" \1 ", re.sub(r"\{tox(?:inidir|_root)\}/?", "./", text))
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _paths(project: Path, rest: str) -> Iterator[str]:
    words = _words(rest)
    root = project.resolve()
    for before, word in zip(["", *words], words, strict=False):
        is_a_value = before.startswith("-") and "=" not in before and not _FLAG.match(before)
        place = (root / word.partition("::")[0]).resolve()
        if not word.startswith("-") and not is_a_value and place.exists() and root in place.parents:
            yield word.removeprefix("./")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def _strings(value: object) -> list[str]:
    return [item for item in _list(value) if isinstance(item, str)]
