"""The `deploy` plugin for this machine: releases side by side in a directory, and a supervised service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from penstock import ConfigError, Proposal, Step, StepFailed, Target, Tool, hookimpl

from penstock_local.settings import Local

if TYPE_CHECKING:
    import click

PENSTOCK_API = 1


@hookimpl
def penstock_targets(settings: Local, step: Step) -> list[Target]:
    """One target an instance of the service; without a service, the directory."""
    from penstock_local import layout
    from penstock_local.target import Directory

    if sys.platform != "linux":
        raise StepFailed(f"[{step.name}] the local plugin knows processes by /proc, so it needs Linux")
    for name in settings.service_secrets:
        step.secret(name)
    try:
        root = layout.resolve(settings.directory, step.project)
    except ConfigError as error:
        raise StepFailed(f"[{step.name}] {error}") from None
    return [
        Directory(id=f"local:{settings.directory}#{number}", root=str(root), number=number, settings=settings)
        for number in range(1, settings.instances + 1)
    ]


@hookimpl
def penstock_tools(settings: Local) -> list[Tool]:
    """What makes the environments of wheels."""
    from penstock_local import environment

    del settings
    return environment.tools()


@hookimpl
def penstock_commands() -> list[click.Command]:
    """`penstock local`."""
    from penstock_local.commands import local

    return [local]


@hookimpl
def penstock_propose(root: Path, add: str | None) -> Proposal | None:
    """For a deploy section: a directory of its own, and the service that the project seems to have."""
    from penstock_local import propose

    return propose.propose(root, add) if add and add.startswith("deploy.") else None
