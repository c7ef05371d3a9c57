"""What is new on branches, here or at a remote. Fetches into refs of its own; the user's stay as they are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock import ConfigError, StepFailed

from penstock_git import look, parse, program
from penstock_git.parse import Commit
from penstock_git.program import Answer, brief

_HEADS = "refs/heads/"
_OURS = "refs/penstock/"
"""Where fetched commits are kept from being cleared away: one ref for each remote and branch."""
_PATIENCE = 300.0
"""Seconds that a remote has."""
_HERE = 60.0
_NO_NAME = re.compile(r"[\x00-\x20\x7f~^:\\]|\.\.|^-|^/|/$|^$")


def new(
    root: Path, remote: str | None, patterns: Sequence[str], since: Mapping[str, str]
) -> list[tuple[str, Commit]]:
    """The new commits of the branches that match, with the branch, each branch's oldest first."""
    wanted = [pattern(text) for text in patterns]

    def matching(heads: Mapping[str, str]) -> dict[str, str]:
        return {name: head for name, head in heads.items() if any(p.fullmatch(name) for p in wanted)}

    heads = matching(_heads(root, _HEADS) if remote is None else _at_remote(root, remote))
    changed = {name: head for name, head in heads.items() if since.get(name) != head}
    if remote is not None and changed:
        fetched = _fetch(root, remote, sorted(changed))
        changed = {
            name: fetched[name] for name in changed if fetched.get(name, "") not in ("", since.get(name))
        }
    named = [
        (branch, name)
        for branch, head in sorted(changed.items())
        for name in _between(root, since.get(branch), head)
    ]
    found = look.commits(root, [name for _, name in named]) if named else []
    return [(branch, commit) for (branch, _), commit in zip(named, found, strict=True) if commit is not None]


def pattern(text: str) -> re.Pattern[str]:
    """What a branch has to be named: `*` stands for anything but a slash, `**` for anything."""
    if _NO_NAME.search(text):
        raise ConfigError(
            f'--branch: "{parse.printable(text)}" is no name of a branch. Names and patterns are such as '
            "main or release/*"
        )
    parts = re.split(r"(\*\*|\*|\?)", text)
    meant = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meant.get(part) or re.escape(part) for part in parts))


def _heads(root: Path, below: str) -> dict[str, str]:
    listed = look.ask(root, "for-each-ref", "--format=%(objectname) %(refname)", below)
    return _refs(listed, " ", below)


def _at_remote(root: Path, remote: str) -> dict[str, str]:
    url = program.ask_at(root, "config", "--get", f"remote.{remote}.url", patience=_HERE)
    if not url.ok:
        names = look.ask(root, "remote").decode("utf-8", "replace").split()
        there = (
            f"The remotes are {', '.join(names)}" if names else "There are none: git remote add origin URL"
        )
        raise ConfigError(f'the source\'s remote "{remote}" is none of this repository. {there}')
    return _refs(_must(_away(root, "ls-remote", "--heads", remote), remote), "\t", _HEADS)


def _fetch(root: Path, remote: str, branches: Sequence[str]) -> dict[str, str]:
    """Fetch branches; the commits that they are at by now."""
    place = f"{_OURS}{remote}/"
    answer = _away(
        root,
        *("fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", "--refmap=", remote),
        *(f"+{_HEADS}{name}:{place}{name}" for name in branches),
    )
    _must(answer, remote)
    return _heads(root, place)


def _away(root: Path, *arguments: str) -> Answer:
    try:
        return program.ask_at(root, *arguments, network=True, patience=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise StepFailed(f"git {arguments[0]} took longer than {_PATIENCE:.0f} s") from None


def _must(answer: Answer, remote: str) -> bytes:
    if not answer.ok:
        raise StepFailed(f'the remote "{remote}" can\'t be asked: {brief(answer.complaint)}')
    return answer.output


def _refs(listed: bytes, between: str, below: str) -> dict[str, str]:
    lines = [line.partition(between) for line in listed.decode("utf-8", "replace").splitlines()]
    return {ref.removeprefix(below): commit for commit, _, ref in lines if ref.startswith(below)}


def _between(root: Path, since: str | None, head: str) -> list[str]:
    """What a branch went through since a commit, oldest first; its head alone where that is not known."""
    if since is None:
        return [head]
    # The branch's own line: what a merge brought in was never its head.
    answer = program.ask_at(
        root, "rev-list", "--first-parent", "--reverse", f"{since}..{head}", "--", patience=_HERE
    )
    return answer.output.decode().split() if answer.ok and answer.output else [head]
