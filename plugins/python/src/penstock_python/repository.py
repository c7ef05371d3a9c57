"""A git repository around the snapshot, for backends that ask git which files there are.

A step's files come without their `.git`. Without one, setuptools-scm and pbr leave data files out in
silence, meson-python builds no sdist, and hatchling looks for a `.gitignore` in the directories above,
where one that ignores everything may be found. So the files are put into a repository of one commit;
on a tag, that tag is on it. It is gone with the workspace.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from penstock import Step, StepFailed
from penstock.model import Revision

_AUTHOR = re.compile(r"\s*([^<>]*?)\s*<([^<>\s]+)>\s*")
# Set where Penstock was started by a git hook: git would work on the user's own repository.
_POINTERS = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "NAMESPACE", "PREFIX")
WITHOUT_GIT_DIR = ("env", *(word for name in _POINTERS for word in ("-u", f"GIT_{name}")))
"""What a command begins with that must not be led to another repository."""

_TAG = re.compile(r"[A-Za-z0-9][\w./@+-]*")


def make(step: Step) -> None:
    """Put the workspace into a repository, unless it is one. Raises StepFailed where git can't."""
    if (step.workspace / ".git").exists():
        return
    if shutil.which("git") is None:
        # No backend can ask it either, and the mark still ends hatchling's search.
        boundary(step.workspace)
        step.log("git is not there: a build backend that asks it for the project's files gets none")
        return
    env = environment(step.stamp)
    for argv in commands(step.stamp):
        done = step.run([*WITHOUT_GIT_DIR, *argv], env=env, quiet=True, check=False)
        if done.returncode != 0:
            raise StepFailed(
                f"the files can't be put into a git repository for the backend: git ended "
                f"with status {done.returncode}. The output: penstock logs {step.number} {step.name}"
            )


def boundary(directory: Path) -> None:
    """Mark a directory so that hatchling looks for no `.gitignore` above it."""
    (directory / ".git").mkdir(parents=True, exist_ok=True)


def commands(revision: Revision) -> list[list[str]]:
    """What makes the repository, one command after another."""
    git = ["git", "-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
    made = [
        [*git, "-c", "init.defaultBranch=main", "init", "-q", "--template="],
        # What is in the snapshot was committed, whatever .gitignore says of it.
        [*git, "-c", "advice.addEmbeddedRepo=false", "add", "--all", "--force", "."],
        [*git, "-c", "gc.auto=0", "commit", "-q", "--no-verify", "--allow-empty", "-m", "snapshot"],
    ]
    if revision.tag and revision.distance == 0 and not revision.dirty and _TAG.fullmatch(revision.tag):
        made.append([*git, "-c", "tag.gpgSign=false", "tag", "-a", "-m", revision.tag, revision.tag])
    return made


def environment(revision: Revision) -> dict[str, str]:
    """The environment of git: nobody's configuration, and the revision's own author and time."""
    match = _AUTHOR.fullmatch(revision.author or "")
    name, mail = match.groups() if match else (revision.author or "unknown", "unknown@localhost")
    when = f"{revision.time or 0} +0000"
    person = {"NAME": name or mail, "EMAIL": mail, "DATE": when}
    return {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()},
    }
