"""What `penstock init` says about the repository. Reads files alone, and runs nothing."""

from __future__ import annotations

from pathlib import Path

from penstock import Proposal


def propose(root: Path) -> Proposal:
    """The source: no section is needed, the plugin is the default."""
    if any((place / ".git").exists() for place in (root, *root.parents)):
        return Proposal(saw="what is committed; --dirty takes the rest too")
    return Proposal(
        saw="no repository yet",
        unsure=("a run takes what is committed. Make a repository: git init && git add . && git commit",),
    )
