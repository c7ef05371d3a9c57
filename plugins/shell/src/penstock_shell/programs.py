"""Which programs a command runs, as far as it can be told without running it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from penstock import Tool

_PUNCTUATION = frozenset("();<>|&")
_BEFORE_A_COMMAND = frozenset(
    ("then", "else", "do", "if", "elif", "while", "until", "!", "{", "exec", "env", "time", "command")
)


def tools(run: str | Sequence[str]) -> list[Tool]:
    """Each program once. What it runs in turn, or what a script makes up, is not among them."""
    names = ["sh", *_first_words(run)] if isinstance(run, str) else [run[0]]
    found = (_tool(name) for name in dict.fromkeys(names))
    return [tool for tool in found if tool is not None]


def _first_words(script: str) -> Iterator[str]:
    """The words of a script that stand where a command's name does."""
    for line in script.replace("\\\n", " ").splitlines():
        try:
            words = _words(line)
        except ValueError:  # a quotation over several lines: any of its words may be a program
            yield from line.split()
            continue
        first = True
        for word in words:
            if set(word) <= _PUNCTUATION:
                first = "<" not in word and ">" not in word
            elif first and "=" not in word and word not in _BEFORE_A_COMMAND:
                yield word
                first = False


def _words(line: str) -> list[str]:
    import shlex

    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    return list(lexer)


def _tool(name: str) -> Tool | None:
    """A program that is found where the step would find it."""
    if "/" in name and not name.startswith("/"):  # a file of the revision, or one that the step makes
        return Tool(name=name.rpartition("/")[2] or name, version="", path=name)
    # A relative entry of PATH would lead into whatever directory this is asked in.
    places = [
        entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry.startswith("/")
    ]
    path = shutil.which(name, path=os.pathsep.join([*places, str(Path(sys.executable).parent)]))
    if path is None:
        return None
    try:
        info = Path(path).stat()
        digest = _digest(path, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    except OSError:
        return None
    return Tool(name=Path(name).name, version="", path=path, sha256=digest)


@lru_cache(maxsize=64)
def _digest(path: str, *_: int) -> str:
    """Of a file's bytes, read again where what tells of a change is not as it was."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
