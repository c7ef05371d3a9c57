"""Looks into the repository outside of any step: what a name means, and what a file held at a commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from penstock import ConfigError, StepFailed
from penstock.errors import did_you_mean

from penstock_git import parse, program, repository
from penstock_git.parse import Commit

_PATIENCE = 60.0
"""Seconds that git has for a question that it answers from the disk."""


def find(root: Path, name: str) -> tuple[Commit, str | None]:
    """The commit that a name means, and the branch or tag that it names; None for a hash.

    Raises ConfigError where it means no commit.
    """
    if not name.strip() or not name.isprintable() or name.startswith("-"):
        raise ConfigError(f'--rev: "{parse.printable(name)}" is no name of a commit, such as main or v1.2.0')
    commit = commits(root, [name])[0]
    if commit is None:
        listed = ask(root, "for-each-ref", "--format=%(refname:lstrip=2)")
        near = did_you_mean(name, listed.decode("utf-8", "replace").splitlines())
        raise ConfigError(f'--rev: "{name}" names no commit in this repository{near or "."}')
    short = program.ask_at(root, "rev-parse", "--abbrev-ref=strict", name, patience=_PATIENCE)
    ref = parse.shown(short.output.strip()) if short.ok else ""
    return commit, ref if ref not in ("", "HEAD") else None


def commits(root: Path, names: Sequence[str]) -> list[Commit | None]:
    """The commits that names mean; None for each that means none."""
    given = "".join(f"{name}^{{commit}}\n" for name in names)
    return parse.commits(ask(root, "cat-file", "--batch", given=os.fsencode(given)), len(names))


def read(root: Path, commit: str, path: str) -> bytes | None:
    """A file of the project as it was committed; None where there was none."""
    if "\n" in path:
        return None
    given = os.fsencode(f"{commit}:./{path}\n")
    answer = program.ask_at(root, "cat-file", "--batch", "--follow-symlinks", given=given, patience=_PATIENCE)
    if not answer.ok:
        raise StepFailed(f"commit {commit[:12]} can't be read: {program.brief(answer.complaint)}")
    head, _, rest = answer.output.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or words[1] != b"blob":
        return None
    return rest[: int(words[2])]


def ask(root: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git prints. Raises ConfigError with git's own reason where it does not do it."""
    answer = program.ask_at(root, *arguments, given=given, patience=_PATIENCE)
    if not answer.ok:
        raise refusal(root, answer)
    return answer.output


def refusal(root: Path, answer: program.Answer) -> ConfigError:
    """Why git did not do what it was asked to."""
    if answer.returncode == program.NOT_THERE:
        return ConfigError("git is not on the PATH. Install it: https://git-scm.com/downloads")
    return ConfigError(str(repository.refusal(root, answer.complaint)))
