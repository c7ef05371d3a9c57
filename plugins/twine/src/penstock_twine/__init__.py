"""The `twine` plugin: what was built, published to a package index, once and unchanged."""

from __future__ import annotations

from penstock import Proposal, Publication, Step, Tool, hookimpl

from penstock_twine.settings import Twine

PENSTOCK_API = 1

__all__ = ["Twine", "penstock_propose", "penstock_publish", "penstock_tools"]


@hookimpl
def penstock_publish(settings: Twine, step: Step) -> list[Publication]:
    """Upload what the index does not have yet, and see that it serves these very bytes."""
    from penstock_twine import publishing

    return publishing.publish(settings, step)


@hookimpl
def penstock_tools(settings: Twine) -> list[Tool]:  # noqa: ARG001 - the core hands it over
    """The program that uploads."""
    from penstock_twine import upload

    return upload.tools()


@hookimpl
def penstock_propose(add: str | None) -> Proposal | None:
    """A publish step, for those who ask for one."""
    from penstock_twine import propose

    return propose.propose(add)
