"""The `source` plugin: exactly what is committed in git, byte for byte."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from penstock import Proposal, Revision, Settings, Step, StepFailed, Tool, hookimpl
from pydantic import AfterValidator, Field

from penstock_git import parse, program, repository, snapshot
from penstock_git.parse import Commit
from penstock_git.repository import HEAD, Repository
from penstock_git.snapshot import Snapshot

PENSTOCK_API = 1

_CONFIGURATION = b"penstock.toml"
_OWN_DIRECTORY = b".penstock/"
_REMOTE = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_SHOWN = 3  # of a kind, to whoever watches
_NAMED = 200
"""So many files are named in a revision, which every event and piece of evidence may carry."""


@hookimpl
def penstock_propose(root: Path, add: str | None) -> Proposal | None:
    """The source: no section is needed, the plugin is the default."""
    from penstock_git import propose

    return propose.propose(root) if add is None else None


def _check_ref(ref: str) -> str:
    if not ref.strip() or not ref.isprintable():
        raise ValueError('must name a commit, such as "HEAD", "main", "v1.2.0" or the start of its hash')
    return ref


def _check_remote(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(_REMOTE, name):
        raise ValueError('must be the name of a remote, such as "origin"')
    return name


class Git(Settings):
    """Takes the project's files from git as they are committed."""

    ref: Annotated[str, AfterValidator(_check_ref)] = Field(
        default="HEAD",
        description="Takes this commit: a branch, a tag, a commit's hash, or anything else that git "
        "understands as one. By default what is checked out.",
    )
    dirty: bool = Field(
        default=False,
        description="Takes files of the working tree that are not committed, too: changed, new (unless "
        "ignored) and deleted ones. The revision is recorded as dirty where that makes a difference. The "
        "same as --dirty.",
    )
    remote: Annotated[str | None, AfterValidator(_check_remote)] = Field(
        default=None,
        description='Watches the branches of this remote, such as "origin", rather than those of the local '
        "repository: `penstock watch` fetches what is new there.",
    )


@hookimpl
def penstock_source(settings: Git, step: Step) -> Revision:
    """Write the snapshot into the workspace, and say what it is of."""
    asked = step.revision.commit
    with program.Git(step, step.project.resolve()) as git:
        return _take(settings, git) if asked is None else _take_asked(git, asked)


def _take(settings: Git, git: program.Git) -> Revision:
    step = git.step
    found, head, commit = repository.find(git, settings.ref)
    if settings.dirty and (head is None or head.name != commit.name):
        raise StepFailed(
            f'files that are not committed belong to what is checked out, not to ref "{settings.ref}". Leave '
            f"out `ref` or --dirty, or check it out: git checkout {settings.ref}"
        )
    looking = repository.look(found, commit.name)  # which takes as long as it takes to write the files
    written = snapshot.write(found, commit.name)
    notes = _say_what_is_missing(step, found, written)
    standing = repository.standing(found, looking)
    taken, left_out = _compare(settings, step, standing.uncommitted)
    _refuse_empty(settings, step, found, commit)
    ref = standing.branch if settings.ref in HEAD else settings.ref
    _say(step, commit, ref, len(written.entries), taken, left_out)
    return _revision(commit, ref).model_copy(
        update={
            "tag": standing.tag,
            "distance": standing.distance,
            "dirty": bool(taken),
            "left_out": tuple(named(left_out)),
            "notes": tuple(notes),
        }
    )


def _revision(commit: Commit, ref: str | None) -> Revision:
    """What a commit itself tells of a revision."""
    return Revision(
        commit=commit.name, ref=ref, author=commit.author, subject=commit.subject, time=commit.time
    )


def _take_asked(git: program.Git, asked: str) -> Revision:
    """The snapshot of a commit that the run is about: what lies in the working tree has no part in it."""
    step = git.step
    found, _, commit = repository.find(git, asked)
    written = snapshot.write(found, commit.name)
    notes = _say_what_is_missing(step, found, written)
    _refuse_empty(Git(), step, found, commit)
    ref = step.revision.ref
    _say(step, commit, ref, len(written.entries), [], [])
    tag, distance = repository.nearest_tag(found, commit.name)
    return _revision(commit, ref).model_copy(update={"tag": tag, "distance": distance, "notes": tuple(notes)})


@hookimpl
def penstock_find_revision(settings: Git, root: Path, name: str) -> Revision:  # noqa: ARG001 - as below
    """The commit that a name means, and the branch or tag that it is the name of."""
    from penstock_git import look

    commit, ref = look.find(root, name)
    return _revision(commit, ref)


@hookimpl
def penstock_read_file(settings: Git, root: Path, revision: Revision, path: str) -> bytes | None:  # noqa: ARG001
    """A file out of a commit; a link in it is followed as long as it does not lead out of the commit."""
    from penstock_git import look

    return look.read(root, str(revision.commit), path)


@hookimpl
def penstock_changes(
    settings: Git, root: Path, branches: Sequence[str], since: Mapping[str, str]
) -> list[Revision]:
    """The commits that are new on the branches, here or at the remote."""
    from penstock_git import news

    found = news.new(root, settings.remote, branches, since)
    return [_revision(commit, branch) for branch, commit in found]


@hookimpl
def penstock_tools(settings: Git) -> list[Tool]:  # noqa: ARG001 - its type tells the core what may be set
    """Name the git that would be run."""
    from penstock_git import tools

    return tools.find()


def named(paths: Sequence[bytes]) -> list[str]:
    """Files as they are shown; where they are too many, how many more there are."""
    shown = [parse.shown(path) for path in paths[:_NAMED]]
    return [*shown, f"… and {len(paths) - _NAMED:,} more"] if len(paths) > _NAMED else shown


def _compare(settings: Git, step: Step, uncommitted: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """What was taken from the working tree, and what was left out."""
    paths = [path for path in uncommitted if not path.startswith(_OWN_DIRECTORY)]
    if not paths:
        return [], []
    from penstock_git.changes import Trees

    trees = Trees(step.project.resolve(), step.workspace)
    # Git names a directory only where it is a repository of its own.
    nested = [path for path in paths if path.endswith(b"/")]
    differing = trees.differing(path for path in paths if not path.endswith(b"/"))
    if not settings.dirty:
        # The pipeline is read from the working tree in any case.
        return [], sorted([*(path for path in differing if path != _CONFIGURATION), *nested])
    for path in differing:
        trees.take(path)
    return differing, nested


def _refuse_empty(settings: Git, step: Step, found: Repository, commit: Commit) -> None:
    if _holds_a_file(step.workspace):
        return
    place = f'the directory "{parse.shown(found.prefix)}" of ' if found.prefix else ""
    way_out = (
        "the working tree adds none that git does not ignore. To see which it ignores: git status --ignored"
        if settings.dirty
        else "so there is nothing to build or test. Commit the project's files (git add --all && git "
        "commit), or take them as they are with --dirty"
    )
    raise StepFailed(f"{place}commit {commit.name[:7]} holds no file, {way_out}")


def _holds_a_file(root: Path) -> bool:
    """Whether there is anything below a directory but directories."""
    return any(
        files or any((Path(place) / name).is_symlink() for name in directories)
        for place, directories, files in os.walk(root)
    )


def _say_what_is_missing(step: Step, found: Repository, written: Snapshot) -> list[str]:
    """Tell the log of all that is missing; the result is what everybody should see."""
    modules, pointers = written.submodules, written.pointers
    _list(step, "Submodules are not fetched; their directories are empty", modules)
    _list(step, "Git LFS is not asked; these files are pointers, as they are committed", pointers)
    if found.shallow:
        step.log("The clone is shallow, so tags may be missing. To have all: git fetch --unshallow --tags")
    return [
        *_noted("! not fetched, empty: submodule", modules),
        *_noted("! a pointer, as committed: Git LFS file", pointers),
    ]


def _noted(what: str, paths: Sequence[bytes]) -> list[str]:
    shown = [f"{what} {parse.shown(path)}" for path in paths[:_SHOWN]]
    return [*shown, f"  and {len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else shown


def _say(
    step: Step, commit: Commit, ref: str | None, count: int, taken: list[bytes], left_out: list[bytes]
) -> None:
    step.log(f"Commit {commit.name}{f' ({ref})' if ref else ''}: {commit.subject or 'no message'}")
    step.log(f"Files in it: {count}")
    _list(step, "Not committed, taken", taken)
    _list(step, "Not committed, left out", left_out)


def _list(step: Step, what: str, paths: Sequence[bytes]) -> None:
    if paths:
        step.log("\n  ".join([f"{what}:", *named(paths)]))
