"""What `penstock init --add publish.NAME` writes. Nobody else is offered what can't be taken back."""

from __future__ import annotations

from typing import Any

from penstock import Proposal

from penstock_twine.settings import NAMED

_SECRET = "INDEX_TOKEN"  # noqa: S105 - the name of one


def propose(add: str | None) -> Proposal | None:
    """A section with a token out of the environment, and the index where the step is called after one."""
    phase, _, name = (add or "").partition(".")
    if add is None or phase != "publish":
        return None
    settings: dict[str, Any] = {"repository": name} if name in NAMED else {}
    settings |= {"password": _SECRET, "secrets": {_SECRET: f"env:{_SECRET}"}}
    return Proposal(
        saw="wheels and sdists, for a package index",
        sections={add: settings},
        unsure=(f"it needs an API token of the index, in the variable {_SECRET}",),
    )
