"""What git prints, as values. Pure: nothing here runs a program or looks at a file."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from penstock.errors import PluginError

SUBMODULE = b"160000"
FILES = (b"100644", b"100755", b"100664")  # the last one stands in trees that old versions of git wrote
_LFS = (
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d{1,18})\n?"
)
_ENCODING_OF_GIT = "utf-8"
_BRANCH = b"## "


class Commit(NamedTuple):
    """The part of a commit that a revision tells."""

    name: str
    author: str | None
    time: int | None
    subject: str | None


class Entry(NamedTuple):
    """One file, link or submodule of a commit; `path` is relative to the project, `size` in bytes."""

    mode: bytes
    path: bytes
    size: int = 0


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


def commits(output: bytes, count: int) -> list[Commit | None]:
    """The answers of `git cat-file --batch` to `count` names; None for one that names no commit."""
    found: list[Commit | None] = []
    rest = output
    for _ in range(count):
        head, _, rest = rest.partition(b"\n")
        words = head.split(b" ")
        if len(words) < 3 or words[-2] not in (b"commit", b"tree", b"blob", b"tag"):
            found.append(None)  # "NAME missing" or "NAME ambiguous"
            continue
        size = _number(words[-1], head)
        raw, rest = rest[:size], rest[size + 1 :]
        found.append(commit(words[0].decode(), raw) if words[-2] == b"commit" else None)
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


def entries(output: bytes, prefix: bytes) -> list[Entry]:
    """The answer of `git ls-tree -r -l -z`, relative to the directory `prefix` ("" or ending in a slash)."""
    found = []
    for line in output.split(b"\0")[:-1]:
        about, tab, path = line.partition(b"\t")
        words = about.split()
        if not tab or len(words) != 4 or not path.startswith(prefix):
            raise PluginError(f"git ls-tree printed {shown(line)}")
        # Submodules, and objects that a partial clone lacks, have no size.
        size = int(words[3]) if words[3].isdigit() else 0
        found.append(Entry(mode=words[0], path=path[len(prefix) :], size=size))
    return found


def twice(entries: Sequence[Entry]) -> bytes | None:
    """A path that stands in a tree more than once, or as a file and as a directory. Git makes none such."""
    names = {entry.path for entry in entries}
    if len(names) < len(entries):
        return next(path for path, count in Counter(entry.path for entry in entries).items() if count > 1)
    above = {path[: at.start()] for path in names for at in re.finditer(b"/", path)}
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
    match = re.fullmatch(_LFS, content)
    return None if match is None else Pointer(oid=match["oid"].decode(), size=int(match["size"]))


def _person(line: bytes, encoding: str) -> tuple[str | None, int | None]:
    """`Name <mail>` and the time, out of a line of a commit that may be damaged in any way."""
    who, close, when = line.rpartition(b">")
    seconds = when.split()[:1]
    time = int(seconds[0]) if seconds and re.fullmatch(rb"\d{1,15}", seconds[0]) else None
    return _text(who + close, encoding) or None, time


def _text(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding, "backslashreplace")
    except (LookupError, ValueError):
        text = raw.decode(_ENCODING_OF_GIT, "backslashreplace")
    return printable(text.strip())


def _number(digits: bytes, line: bytes) -> int:
    if not digits.isdigit():
        raise PluginError(f"git cat-file printed {shown(line)}")
    return int(digits)
