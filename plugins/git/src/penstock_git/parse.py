"""What git prints, as values. Pure: nothing here runs a program or looks at a file."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from penstock.errors import PluginError

SUBMODULE = 0o160000
_LFS_BEGIN = b"version https://git-lfs.github.com/spec/v1\n"
_LFS = rb"(?:ext-[^\n]*\n)*oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d{1,18})\n?"
_ENCODING_OF_GIT = "utf-8"
_UNSEEN = dict.fromkeys((*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF))
"""What macOS does not see in a file's name."""
_GIT_DIRECTORY = (b".git", b"git~1")
_LONGEST_MODE = 7
_BRANCH = b"## "


class Commit(NamedTuple):
    """The part of a commit that a revision tells."""

    name: str
    author: str | None
    time: int | None
    subject: str | None


class Header(NamedTuple):
    """What git says of an object before its bytes."""

    name: str
    kind: bytes
    size: int


class Entry(NamedTuple):
    """One file, link, submodule or directory of a tree; `path` is relative to the project."""

    mode: int
    path: bytes
    object: str = ""


class Pointer(NamedTuple):
    """What Git LFS commits in place of a file."""

    oid: str
    size: int


def shown(name: bytes) -> str:
    """A file's name as text that can be stored and printed: what is not printable is escaped."""
    return printable(name.decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """A text without line breaks and control characters, which could rewrite a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def header(line: bytes) -> Header | None:
    """A line of `git cat-file --batch` before an object; None where it says that there is none."""
    words = line.rstrip(b"\n").split(b" ")
    if len(words) != 3 or words[1] not in (b"commit", b"tree", b"blob", b"tag"):
        return None  # "NAME missing" or "NAME ambiguous"
    if not words[2].isdigit():
        raise PluginError(f"git cat-file printed {shown(line)}")
    return Header(words[0].decode("ascii", "backslashreplace"), words[1], int(words[2]))


def commits(output: bytes, count: int) -> list[Commit | None]:
    """The answers of `git cat-file --batch` to `count` names; None for one that names no commit."""
    found: list[Commit | None] = []
    rest = output
    for _ in range(count):
        line, _, rest = rest.partition(b"\n")
        head = header(line)
        if head is None:
            found.append(None)
            continue
        raw, rest = rest[: head.size], rest[head.size + 1 :]
        found.append(commit(head.name, raw) if head.kind == b"commit" else None)
    return found


def commit(name: str, raw: bytes) -> Commit:
    """A commit, from its raw object."""
    head, _, message = raw.partition(b"\n\n")
    # A line that begins with a space continues the one before it: signatures do.
    fields = {
        key: value
        for key, _, value in (line.partition(b" ") for line in head.split(b"\n") if line[:1] != b" ")
        if key in (b"author", b"committer", b"encoding")
    }
    encoding = fields.get(b"encoding", b"").decode("ascii", "replace") or _ENCODING_OF_GIT
    author, _ = _person(fields.get(b"author", b""), encoding)
    _, time = _person(fields.get(b"committer", b""), encoding)
    subject = message.lstrip(b"\n").partition(b"\n")[0]
    return Commit(name=name, author=author, time=time, subject=_text(subject, encoding) or None)


def describe(output: bytes) -> tuple[str | None, int]:
    """The tag and how far it lies back, from `git describe --tags --long`."""
    parts = output.strip().rsplit(b"-", 2)
    if len(parts) != 3 or not parts[0] or not parts[1].isdigit():
        return None, 0
    return shown(parts[0]), int(parts[1])


def tree(raw: bytes, above: bytes, digest: int) -> list[Entry]:
    """The entries of a tree whose path is `above` ("" or ending in a slash); digests have so many bytes.

    Raises ValueError where it is no tree.
    """
    found, at = [], 0
    while at < len(raw):
        end = raw.index(b"\0", at)
        mode, _, name = raw[at:end].partition(b" ")
        at = end + 1 + digest
        if not mode.isdigit() or len(mode) > _LONGEST_MODE or not name or b"/" in name or at > len(raw):
            raise ValueError("no tree is like that")
        found.append(Entry(int(mode, 8), above + name, raw[end + 1 : at].hex()))
    return found


def leads_out(name: bytes) -> bool:
    """Whether a name means another place than the one that it stands in, or a git directory there."""
    if name in (b".", b".."):
        return True
    seen = name.lower()
    if not seen.isascii():
        seen = (
            name.decode("utf-8", "surrogateescape")
            .translate(_UNSEEN)
            .lower()
            .encode("utf-8", "surrogateescape")
        )
    # One file system or another leaves out what follows, or takes it for a part of the same file.
    ends = (seen.removeprefix(each).lstrip(b". ") for each in _GIT_DIRECTORY if seen.startswith(each))
    return any(not end or end[:1] in (b":", b"\\") for end in ends)


def twice(entries: Sequence[Entry]) -> bytes | None:
    """A path that stands in a tree more than once, or as a file and as a directory. Git makes none such."""
    names = {entry.path for entry in entries}
    if len(names) < len(entries):
        return next(path for path, count in Counter(entry.path for entry in entries).items() if count > 1)
    above: set[bytes] = set()
    for name in names:
        directory = name.rpartition(b"/")[0]
        while directory and directory not in above:
            above.add(directory)
            directory = directory.rpartition(b"/")[0]
    return min(names & above, default=None)


def changed(output: bytes, prefix: bytes) -> list[bytes]:
    """The paths in the answer of `git status --porcelain -z`, relative to `prefix`, each once, sorted."""
    found = set()
    for line in output.split(b"\0")[:-1]:
        if line.startswith(_BRANCH):
            continue
        path = line[3:]
        if line[2:3] != b" " or not path.startswith(prefix):
            raise PluginError(f"git status printed {shown(line)}")
        found.add(path[len(prefix) :])
    return sorted(found)


def branch(output: bytes) -> str | None:
    """The branch in the answer of `git status --porcelain --branch -z`; None where HEAD is on none."""
    first = output.partition(b"\0")[0]
    # What it follows stands after three dots, which no name of a branch may hold.
    name = first.removeprefix(_BRANCH).partition(b"...")[0]
    return None if not first.startswith(_BRANCH) or b" " in name else shown(name)


def filters(output: bytes) -> list[str]:
    """The names of the filter drivers in the answer of `git config -z --name-only --get-regexp`."""
    keys = [os_text(key) for key in output.split(b"\0")[:-1]]
    return sorted({key[len("filter.") :].rpartition(".")[0] for key in keys if key.count(".") > 1})


def os_text(name: bytes) -> str:
    """A name as the operating system's functions take it: every byte comes back as it was."""
    return name.decode("utf-8", "surrogateescape")


def lfs_pointer(content: bytes) -> Pointer | None:
    """What a Git LFS pointer stands for; None for a file that is none."""
    if not content.startswith(_LFS_BEGIN):
        return None
    match = re.fullmatch(_LFS, content.removeprefix(_LFS_BEGIN))
    return None if match is None else Pointer(oid=match["oid"].decode(), size=int(match["size"]))


def _person(line: bytes, encoding: str) -> tuple[str | None, int | None]:
    """`Name <mail>` and the time, out of a line of a commit that may be damaged in any way."""
    who, close, when = line.rpartition(b">")
    seconds = when.split()[:1]
    time = int(seconds[0]) if seconds and seconds[0].isdigit() and len(seconds[0]) <= 15 else None
    return _text(who + close, encoding) or None, time


def _text(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding, "backslashreplace")
    except (LookupError, ValueError):
        text = raw.decode(_ENCODING_OF_GIT, "backslashreplace")
    return printable(text.strip())
