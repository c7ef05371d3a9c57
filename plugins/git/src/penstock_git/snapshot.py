"""Writes a commit's files into a directory, byte for byte.

A private git directory borrows the repository's objects and nothing else: no configuration, filter,
hook or attribute of the user takes part, and what git itself would write goes there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from penstock import Step, StepFailed

from penstock_git import parse
from penstock_git.parse import Entry
from penstock_git.program import Answer, Git, brief
from penstock_git.repository import Repository

# Attributes here go before those that are committed: bytes stay as they are.
_ATTRIBUTES = "* -text !eol !filter !ident !working-tree-encoding\n"
_CONFIG = """\
[core]
\trepositoryformatversion = {version}
\tautocrlf = false
\tbare = false
\tfileMode = true
\tignoreCase = false
\tsymlinks = true
[checkout]
\tworkers = 1
"""
_POINTER_SIZES = range(100, 1025)


def write(
    step: Step, repository: Repository, commit: str, *also: Sequence[str]
) -> tuple[list[Entry], list[Answer]]:
    """Put the project's files at a commit into the empty workspace; what they are.

    What stands in `also` is asked of the user's git at the same time: that takes no longer.
    """
    git = private(step, repository)
    what = f"reading commit {commit[:12]}"
    within = ["--", os.fsdecode(repository.prefix)] if repository.prefix else []
    *answers, listed, read = repository.git.ask_all(
        *also,
        beside=git,
        there=(
            ("ls-tree", "-r", "-l", "-z", "--full-tree", commit, *within),
            ("read-tree", f"{commit}:{os.fsdecode(repository.prefix)}"),
        ),
    )
    entries = parse.entries(git.must(listed, "ls-tree", what=what), repository.prefix)
    if not entries:
        return entries, answers
    name = parse.twice(entries)
    if name is not None:
        raise StepFailed(
            f'commit {commit[:12]} holds "{parse.shown(name)}" twice, so it is not clear what its files are. '
            "Somebody made this tree by hand: do not trust it. To see it: git fsck"
        )
    git.must(read, "read-tree", what=what)
    written = git.ask("checkout-index", "--all")
    if not written.ok:
        raise StepFailed(
            f"the files of commit {commit[:12]} can't be written: {brief(written.complaint)}. Where objects "
            "are missing from a partial or damaged clone, check the commit out with git first; where two "
            "names differ by case only, the file system can't hold both"
        )
    return entries, answers


def private(step: Step, repository: Repository) -> Git:
    """A git directory of our own over the repository's objects, with the workspace as its files."""
    home = step.tmp / "git-private"
    for place in ("objects/info", "refs", "info"):
        (home / place).mkdir(parents=True)
    (home / "HEAD").write_text("ref: refs/heads/none\n")
    (home / "info/attributes").write_text(_ATTRIBUTES)
    (home / "objects/info/alternates").write_bytes(quoted(os.fsencode(repository.objects)) + b"\n")
    sha1 = repository.object_format == "sha1"
    config = _CONFIG.format(version=0 if sha1 else 1)
    if not sha1:
        config += f"[extensions]\n\tobjectFormat = {repository.object_format}\n"
    (home / "config").write_text(config)
    env = {
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(home),
        "GIT_WORK_TREE": str(step.workspace),
        # Versions before 2.32 look there for what GIT_CONFIG_GLOBAL names.
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
    }
    return Git(step, step.workspace, tuple(env.items()))


def quoted(path: bytes) -> bytes:
    """A path as git reads it in a list of alternates, whatever bytes it holds."""
    return b'"%b"' % b"".join(
        b"%c" % byte if 0x20 <= byte < 0x7F and byte not in b'"\\' else b"\\%03o" % byte for byte in path
    )


def submodules(entries: Sequence[Entry]) -> list[bytes]:
    """The submodules among the entries."""
    return [entry.path for entry in entries if entry.mode == parse.SUBMODULE]


def lfs_pointers(workspace: Path, entries: Sequence[Entry]) -> list[bytes]:
    """The entries that are Git LFS pointers, not the files that they stand for."""
    root = os.fsencode(workspace)
    return [
        entry.path
        for entry in entries
        if entry.mode in parse.FILES
        and entry.size in _POINTER_SIZES
        and _is_pointer(os.path.join(root, entry.path))  # noqa: PTH118 - bytes
    ]


def _is_pointer(path: bytes) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 - bytes
        return parse.lfs_pointer(file.read()) is not None
