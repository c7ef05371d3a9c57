"""What `penstock init` says about the repository. Reads it, and writes nothing."""

from __future__ import annotations

from pathlib import Path

from penstock import Proposal

from penstock_git import parse, program, repository

_NAMED = 3
_OURS = ("penstock.toml", ".penstock/")
_INIT = "git init"
_COMMIT = ("git add --all", 'git commit -m "Begin"')


def propose(root: Path) -> Proposal:
    """What a run would take, and what has to be done before one can take anything."""
    inside = program.ask_at(root, "rev-parse", "--is-inside-work-tree", "--is-shallow-repository")
    if inside.returncode == program.NOT_THERE:
        return Proposal(saw="git itself is missing", unsure=("install it: https://git-scm.com/downloads",))
    if "not a git repository" in inside.complaint:
        return Proposal(saw="no repository, and a run takes what is committed", first=(_INIT, *_COMMIT))
    if not inside.ok:
        why = str(repository.refusal(root, inside.complaint))
        return Proposal(saw="a repository that no run can be taken from as it is", unsure=(why,))
    if not inside.output.startswith(b"true"):
        return Proposal(saw="the inside of a repository, without working files", unsure=("use a clone",))
    # What other programs would have to be asked about, such as filters, is left to the run itself.
    committed = _names(root, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    if not committed:
        return Proposal(saw="nothing is committed yet, and a run takes what is committed", first=_COMMIT)
    unsure = []
    new = [
        name for name in _names(root, "ls-files", "-z", "--others", "--exclude-standard") if not _ours(name)
    ]
    if new:
        shown = ", ".join(new[:_NAMED]) + (f" and {len(new) - _NAMED} more" if len(new) > _NAMED else "")
        unsure.append(f"not in git, and so not in a run: {shown}")
    if inside.output.splitlines()[1:] == [b"true"]:
        unsure.append(
            "the clone is shallow, so versions made from tags may be wrong: git fetch --unshallow --tags"
        )
    files = f"{len(committed)} file{'' if len(committed) == 1 else 's'}"
    return Proposal(
        saw=f"{files} committed, which a run takes; --dirty takes the rest too", unsure=tuple(unsure)
    )


def _ours(name: str) -> bool:
    return name == _OURS[0] or name.startswith(_OURS[1])


def _names(root: Path, *arguments: str) -> list[str]:
    return [parse.shown(name) for name in program.ask_at(root, *arguments).output.split(b"\0") if name]
