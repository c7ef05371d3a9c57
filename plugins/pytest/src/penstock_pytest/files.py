"""Requirements files and tox's configuration: found, read, and made into one flat list."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock import ConfigError

_FOLDERS = ("requirements", "requirements-files", "reqs", "")
_COMMENT = re.compile(r"(^|\s)#.*$")
_OWN = re.compile(
    r"^(?:-e\s*|--editable[ =])?(?:\.|\./|\{toxinidir\}/?)(?:\[(?P<extras>[^\]]*)\])?(?:\s*;.*)?$"
)
_FACTOR = re.compile(r"^!?[\w.{}!-]+(?:,[\w.{}!-]+)*:\s+")


@dataclass
class Flat:
    """The lines of requirements files, without those that only lead to other files."""

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tox:
    """What tox installs into its test environments."""

    origin: str
    lines: Sequence[str] = ()
    extras: Sequence[str] = ()
    groups: Sequence[str] = field(default=())


def find(root: Path, names: Sequence[str]) -> Iterator[str]:
    """Requirements files whose names say that they are for tests, best first."""
    for folder in _FOLDERS:
        for name in names:
            forms = [f"{name}-requirements.txt", f"requirements-{name}.txt", f"requirements_{name}.txt"]
            forms += [f"{name}_requirements.txt", f"requirements.{name}.txt"]
            forms += [f"{name}.txt"] if folder else []
            for form in forms:
                path = str(Path(folder, form))
                if (root / path).is_file():
                    yield path
    if (root / names[0]).is_dir():
        yield from (
            (f"{names[0]}/requirements.txt",) if (root / names[0] / "requirements.txt").is_file() else ()
        )
    for folder in ("tests",) if "tests" in names else ():
        yield from (f"{folder}/requirements.txt",) if (root / folder / "requirements.txt").is_file() else ()


def flatten(root: Path, lines: Sequence[str]) -> Flat:
    """Follow `-r` and `-c`; take out what would install a tree. Raises ConfigError for a missing file."""
    flat = _Flattener(root)
    flat.read(lines, root, flat.lines, "the requirements")
    return Flat(
        *(tuple(dict.fromkeys(part)) for part in (flat.lines, flat.constraints, flat.extras, flat.left_out))
    )


class _Flattener:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.lines: list[str] = []
        self.constraints: list[str] = []
        self.extras: list[str] = []
        self.left_out: list[str] = []
        self._seen: set[Path] = set()

    def read(self, lines: Sequence[str], base: Path, into: list[str], where: str) -> None:
        for line in lines:
            reference = re.match(r"^(-r|-c|--requirement|--constraint)[ =]*(.+)$", line)
            own = _OWN.match(line)
            if reference:
                target = self.constraints if reference[1] in ("-c", "--constraint") else into
                self._follow(reference[2].strip(), base, target, where)
            elif own:
                self.extras += [extra.strip() for extra in (own["extras"] or "").split(",") if extra.strip()]
            elif _is_local(line):
                self.left_out.append(line)
            else:
                into.append(line)

    def _follow(self, name: str, base: Path, into: list[str], where: str) -> None:
        if "://" in name:
            self.left_out.append(name)
            return
        path = (base / name.replace("{toxinidir}", str(self.root))).resolve()
        if path in self._seen:
            return
        self._seen.add(path)
        # A link or ".." must not lead out of the revision, to a file that nobody recorded.
        if not path.is_relative_to(self.root) or not path.is_file():
            raise ConfigError(f'{where} names "{name}", and there is no such file in the revision')
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        self.read(logical_lines(text), path.parent, into, str(path.relative_to(self.root)))


def logical_lines(text: str) -> list[str]:
    """The lines of a requirements file: continued ones joined, comments and empty ones left out."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (_COMMENT.sub("", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def tox(root: Path, pyproject: Mapping[str, Any]) -> Tox | None:
    """What tox's base environment installs; None where there is none."""
    table = _dict(_dict(pyproject.get("tool")).get("tox"))
    legacy = table.get("legacy_tox_ini")
    readers: tuple[Callable[[], Tox | None], ...] = (
        lambda: _tox_ini(_text(root / "tox.ini"), "tox.ini"),
        lambda: _tox_ini(_text(root / "setup.cfg"), "setup.cfg", "tox:testenv"),
        lambda: _tox_toml(_dict(_toml(root / "tox.toml").get("env_run_base")), "tox.toml"),
        lambda: _tox_ini(legacy if isinstance(legacy, str) else "", "pyproject.toml"),
        lambda: _tox_toml(_dict(table.get("env_run_base")), "pyproject.toml"),
    )
    return next((found for reader in readers if (found := reader()) is not None), None)


def _tox_ini(text: str, file: str, section: str = "testenv") -> Tox | None:
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

    lines, extras = listed("deps"), listed("extras", r"[,\s]+")
    groups = listed("dependency_groups", r"[,\s]+")
    return Tox(f"[{section}] of {file}", lines, extras, groups) if lines or extras or groups else None


def _tox_toml(table: Mapping[str, Any], file: str) -> Tox | None:
    def listed(key: str) -> list[str]:
        value = table.get(key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    found = Tox(f"env_run_base of {file}", listed("deps"), listed("extras"), listed("dependency_groups"))
    return found if found.lines or found.extras or found.groups else None


def _is_local(line: str) -> bool:
    """Whether a line would install from a path: what lies there is neither built nor recorded."""
    if line.startswith(("-e", "--editable")):
        return True
    return line.startswith((".", "/", "file:", "~")) or " @ file:" in line


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
