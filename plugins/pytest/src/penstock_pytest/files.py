"""Requirements files: found, read, and made into one flat list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock import ConfigError

_FOLDERS = ("requirements", "requirements-files", "reqs", "")
_FOR_USE = ("requirements.txt", "base.txt", "main.txt", "common.txt", "prod.txt", "production.txt")
_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"\s--hash[=\s]\S+")
_OWN = re.compile(
    r"^(?:-e\s*|--editable[ =])?(?:\.|\./|\{toxinidir\}/?)(?:\[(?P<extras>[^\]]*)\])?(?:\s*;.*)?$"
)


@dataclass
class Flat:
    """The lines of requirements files, without those that only lead to other files."""

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


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


def for_use(root: Path) -> str | None:
    """The requirements file of an application: what it needs where it runs."""
    places = [_FOR_USE[0], *(str(Path(folder, name)) for folder in _FOLDERS if folder for name in _FOR_USE)]
    return next((path for path in places if (root / path).is_file()), None)


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
    """The lines of a requirements file: continued ones joined, comments and empty ones left out.

    Hashes too: pip wants them of all or of none, and not all that the tests need stands in such a file.
    """
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (_HASH.sub("", _COMMENT.sub("", line)).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _is_local(line: str) -> bool:
    """Whether a line would install from a path: what lies there is neither built nor recorded."""
    if line.startswith(("-e", "--editable")):
        return True
    return line.startswith((".", "/", "file:", "~")) or " @ file:" in line
