"""The user's repository, read only: where it is, what its commits say, what is not committed."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from penstock import StepFailed
from penstock.errors import did_you_mean

from penstock_git import parse
from penstock_git.objects import Objects, UnreadableError
from penstock_git.parse import Commit
from penstock_git.program import Answer, Git, Running, brief

_UP = re.compile(r"(\.\./)*")
HEAD = ("HEAD", "@")
_ABOUT = (
    "rev-parse",
    "--is-inside-work-tree",
    "--is-shallow-repository",
    "--show-cdup",
    "--tags",
)
_FILTERS = ("config", "-z", "--name-only", "--get-regexp", r"^filter\.")
_STATUS = (
    "status",
    "--porcelain",
    "-z",
    "--branch",
    "--no-ahead-behind",
    "--untracked-files=all",
    "--no-renames",
    # A submodule would be looked at with its own configuration, and its files are not taken anyway.
    "--ignore-submodules=all",
    "--",
    ".",
)


class Repository(NamedTuple):
    """A repository, and the place of the project in it."""

    git: Git
    objects: Objects
    prefix: bytes
    """The project's directory within it: "" for its root, otherwise with a slash at its end."""
    shallow: bool
    tagged: bool
    """Whether there is any tag."""
    filters: tuple[str, ...] = ()
    """The filter drivers that are configured, whose programs git would start to compare files."""


class Standing(NamedTuple):
    """How a commit stands to the working tree and to the tags."""

    uncommitted: tuple[bytes, ...]
    """What git does not find as HEAD has it: paths in the project, one that is a directory with a slash."""
    branch: str | None
    """The branch that HEAD is on; None where it is on none."""
    tag: str | None
    """The nearest tag at or before the commit."""
    distance: int
    """How many commits it lies back."""


def find(git: Git, ref: str) -> tuple[Repository, Commit | None, Commit]:
    """The repository that the project lies in, the commit that HEAD names, if any, and that of `ref`.

    Raises StepFailed where there is no repository that git accepts, or `ref` names no commit.
    """
    about, filters, objects = git.start(*_ABOUT), git.start(*_FILTERS), Objects(git)
    names = tuple(dict.fromkeys(("HEAD", ref)))
    objects.ask([f"{name}^{{commit}}" for name in names])
    found = _described(git, objects, about.answer())
    found = found._replace(filters=tuple(parse.filters(filters.answer().output)))
    try:
        commits = {name: objects.commit() for name in names}
    except UnreadableError as error:
        raise StepFailed(f"reading the commit failed: {error}") from None
    wanted = commits[ref]
    if wanted is not None:
        return found, commits["HEAD"], wanted
    raise StepFailed(_no_head(found) if ref in HEAD else _unknown(found, ref))


def look(repository: Repository, commit: str) -> tuple[Running, Running | None]:
    """Have git find out how a commit stands to the working tree and to the tags, where there are any.

    Filter drivers are not run, so what one of them would undo may be among what is not committed.
    """
    return repository.git.start(*_STATUS, without=repository.filters), _describe(repository, commit)


def standing(repository: Repository, looking: tuple[Running, Running | None]) -> Standing:
    """What it has found out."""
    status, described = looking
    output = repository.git.must(status.answer(), "status", what="looking for files that are not committed")
    tag, distance = _nearest(described)
    return Standing(
        uncommitted=tuple(parse.changed(output, repository.prefix)),
        branch=parse.branch(output),
        tag=tag,
        distance=distance,
    )


def nearest_tag(repository: Repository, commit: str) -> tuple[str | None, int]:
    """The nearest tag at or before a commit, and how many commits it lies back."""
    return _nearest(_describe(repository, commit))


def _describe(repository: Repository, commit: str) -> Running | None:
    return repository.git.start("describe", "--tags", "--long", commit) if repository.tagged else None


def _nearest(described: Running | None) -> tuple[str | None, int]:
    answer = described.answer() if described else None
    return parse.describe(answer.output) if answer and answer.ok else (None, 0)


def _described(git: Git, objects: Objects, answer: Answer) -> Repository:
    project = git.cwd
    if not answer.ok:
        raise refusal(project, answer.complaint)
    inside, shallow, rest = answer.output.split(b"\n", 2)
    if inside != b"true":
        raise StepFailed(
            f"{project} lies inside a git directory or a bare repository, which has no working files. Run "
            "Penstock in a clone: git clone"
        )
    up, _, tags = rest.partition(b"\n")
    levels = up.decode("utf-8", "surrogateescape")
    if not _UP.fullmatch(levels):
        raise StepFailed(
            f"{project} is not in the working tree of its repository: core.worktree names {levels}. "
            "Remove that setting, or run Penstock there"
        )
    steps = levels.count("/")
    prefix = "".join(f"{part}/" for part in project.parts[len(project.parts) - steps :])
    return Repository(git, objects, os.fsencode(prefix), shallow == b"true", tagged=bool(tags))


def _no_head(repository: Repository) -> str:
    named = repository.git.ask("rev-parse", "--verify", "--quiet", "HEAD")
    if named.ok:
        return (
            f"the commit that is checked out, {parse.shown(named.output[:12])}, is not in the repository, "
            "which is damaged. To see what is missing: git fsck"
        )
    answer = repository.git.ask("symbolic-ref", "--quiet", "--short", "HEAD")
    on = parse.shown(answer.output.rstrip(b"\n")) if answer.ok else None
    return (
        f"the repository has no commit yet{f' (branch {on})' if on else ''}, and a run is about one. "
        "Make it: git add --all && git commit"
    )


def _unknown(repository: Repository, ref: str) -> str:
    listed = repository.git.ask("for-each-ref", "--format=%(refname:lstrip=2)")
    near = did_you_mean(ref, listed.output.decode("utf-8", "replace").splitlines())
    # A branch that only the remote has is listed under the remote's name.
    shallow = (
        " The clone is shallow and may lack it: git fetch --unshallow --tags" if repository.shallow else ""
    )
    return f'ref: "{ref}" names no commit in this repository{near or "."}{shallow}'


def refusal(project: Path, complaint: str) -> StepFailed:
    """Why git does not read the repository of a project, and what to do about it."""
    if "safe.directory" in complaint:
        said = re.search(r"git config --global --add safe\.directory .+", complaint)
        command = said[0].strip() if said else "git config --global --add safe.directory DIRECTORY"
        return StepFailed(
            f"the repository of {project} belongs to another user, so git does not read it: its settings "
            f"could run programs as you. If you trust it: {command}"
        )
    if "not a git repository" in complaint:
        return StepFailed(
            f"{project} is in no git repository, and the source is what is committed. Make one: "
            "git init && git add --all && git commit"
        )
    return StepFailed(f"the git repository of {project} can't be read: {brief(complaint)}")
