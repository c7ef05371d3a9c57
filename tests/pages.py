"""The documentation as its test sees it: the fenced blocks of each page, and what is to be done with them.

An HTML comment `<!-- test: … -->` says it, and no reader sees it. CONTRIBUTING.md lists what it may say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.projects import ROOT

LANGUAGES = ("console", "js", "json", "python", "sh", "text", "toml", "yaml")
_KEYS = ("project", "ports", "file", "append", "plugin", "config", "with", "real")
_FENCE = re.compile(r"^( *)(`{3,})([\w+-]*)[^`]*$")
_COMMENT = re.compile(r"<!--\s*test:(.*?)-->", re.DOTALL)
_SKIP = re.compile(r"skip, because \S.+", re.DOTALL)


class PageError(Exception):
    """A page says something that its test can't follow; the message says where, and what is allowed."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    says: Mapping[str, str] = field(default_factory=dict)
    """The words of the comment above it."""

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def skipped(self) -> str | None:
        """Why it is not tested; None if it is."""
        return self.says.get("skip")


@dataclass(frozen=True)
class Page:
    """One page: its blocks, and the project that its transcripts start from."""

    name: str
    blocks: tuple[Block, ...]
    says: Mapping[str, str]

    @property
    def project(self) -> str | None:
        return self.says.get("project")

    @property
    def ports(self) -> tuple[str, ...]:
        """The ports that the page names; its test takes free ones."""
        return tuple(self.says.get("ports", "").split(",")) if "ports" in self.says else ()

    @property
    def real(self) -> bool:
        return "real" in self.says

    def file(self, block: Block) -> str:
        """A block's text, below what the page has put into the same file before."""
        where = block.says.get("append")
        before = self.blocks[: self.blocks.index(block)] if where else ()
        parts = [
            other.text for other in before if where in (other.says.get("file"), other.says.get("append"))
        ]
        return "\n".join([*parts, block.text])

    def of(self, language: str) -> list[Block]:
        return [block for block in self.blocks if block.language == language]


def files() -> list[Path]:
    """Every page of the repository that a user reads."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for pattern in ("docs/**/*.md", "plugins/*/README.md", "examples/*/README.md"):
        found += sorted(ROOT.glob(pattern))
    return found


def read(path: Path) -> Page:
    """The blocks of a page. Raises PageError where a comment or a fence can't be understood."""
    name = path.relative_to(ROOT).as_posix()
    return parse(name, path.read_text())


def parse(name: str, text: str) -> Page:
    """The same of a text."""
    blocks: list[Block] = []
    whole: dict[str, str] = {}
    pending: dict[str, str] = {}
    for line, kind, value in _pieces(name, text):
        if kind == "comment":
            says = _directive(f"{name}:{line}", value)
            if "project" in says:
                if whole or blocks:
                    raise PageError(f"{name}:{line}: `project=` stands once, before the first block")
                whole = says
            elif pending:
                raise PageError(f"{name}:{line}: a comment follows another, with no block between them")
            else:
                pending = says
            continue
        if kind not in LANGUAGES and "skip" not in pending:
            allowed = ", ".join(LANGUAGES)
            raise PageError(f'{name}:{line}: a block of "{kind}" is not tested; what is: {allowed}')
        blocks.append(Block(name, line, kind, value, pending))
        pending = {}
    if pending:
        raise PageError(f"{name}: the last comment has no block below it")
    return Page(name, tuple(blocks), whole)


def _pieces(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Comments and blocks in their order, with their lines."""
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        if fence := _FENCE.match(lines[number]):
            start, close = number, fence[1] + fence[2]
            number += 1
            while number < len(lines) and lines[number].rstrip() != close:
                number += 1
            if number == len(lines):
                raise PageError(f"{name}:{start + 1}: the block is not closed")
            inside = [line.removeprefix(fence[1]) for line in lines[start + 1 : number]]
            yield start + 1, fence[3], "\n".join(inside) + "\n"
        elif lines[number].lstrip().startswith("<!--"):
            start = number
            while "-->" not in lines[number]:
                number += 1
            if comment := _COMMENT.search("\n".join(lines[start : number + 1])):
                yield start + 1, "comment", " ".join(comment[1].split())
        number += 1


def _directive(where: str, text: str) -> dict[str, str]:
    if text.startswith("skip"):
        if not _SKIP.fullmatch(text):
            raise PageError(f"{where}: a block that is skipped says why: `skip, because …`")
        return {"skip": text.removeprefix("skip, because ")}
    says = {}
    for word in text.split():
        key, _, value = word.partition("=")
        if key not in _KEYS:
            raise PageError(f'{where}: "{word}" is none of {", ".join(_KEYS)}, skip')
        says[key] = value
    return says
