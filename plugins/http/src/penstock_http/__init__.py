"""The `http` plugin: asks what was deployed whether it answers, with which status and body, and how soon."""

from __future__ import annotations

from pathlib import Path

from penstock import Proposal, Step, Verification, hookimpl

from penstock_http.settings import Http

PENSTOCK_API = 1


@hookimpl
def penstock_verify(settings: Http, step: Step) -> Verification:
    """Ask as often, or for as long, as the section says; every question is a check."""
    # What speaks HTTP and TLS is dear to import, and most commands only need the settings.
    from penstock_http.verify import verify

    return verify(settings, step)


@hookimpl
def penstock_propose(root: Path, add: str | None) -> Proposal | None:
    """For a verify section: the address at which the environment's deploy section serves."""
    from penstock_http import propose

    return propose.propose(root, add) if add and add.startswith("verify.") else None
