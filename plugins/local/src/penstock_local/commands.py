"""`penstock local`: what runs out of a directory that was deployed to, and an end to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from penstock import StepFailed

from penstock_local import control, health, layout, releases
from penstock_local.layout import Instance

_DIRECTORIES = click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
_GRACE = 10.0


@click.group()
def local() -> None:
    """See and stop the services of directories on this machine."""


@local.command()
@_DIRECTORIES
def stop(directories: tuple[Path, ...]) -> None:
    """Stop the services of these directories; returns when they are gone, with all that they started.

    They stay stopped until the next deployment. Where nothing runs there is nothing to do.
    """
    for directory in directories:
        root = directory.resolve()
        found = layout.instances(root)
        if not found:
            click.echo(f"{directory}: nothing runs" if root.is_dir() else f"{directory}: not there")
            continue
        try:
            _stop_all(directory, found)
        except OSError as error:
            raise StepFailed(f"{directory}: its services can't be stopped: {error.strerror}") from None


@local.command()
@_DIRECTORIES
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects, for programs.")
def status(directories: tuple[Path, ...], as_json: bool) -> None:
    """Say what runs out of these directories, and how it is."""
    entries = [_entry(d, instance) for d in directories for instance in layout.instances(d.resolve())]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    for entry in entries:
        where = entry["url"] or f"process {entry['pid']}" if entry["pid"] else "no process"
        release = entry["place"] or "no release"
        click.echo(f"{entry['directory']}#{entry['instance']}: {release}, {entry['state']}, {where}")
        if entry["detail"]:
            click.echo(f"  {entry['detail']}")
    for directory in directories:
        if not layout.instances(directory.resolve()):
            click.echo(f"{directory}: nothing was deployed here")


def _stop_all(directory: Path, found: list[Instance]) -> None:
    root = found[0].root
    with layout.changing(root, lambda: click.echo(f"Waiting for a deployment to {root}", err=True)):
        for instance in found:
            click.echo(f"{directory}#{instance.number}: {_stop(instance)}")


def _stop(instance: Instance) -> str:
    live = control.running(instance)
    control.stop(instance, live.service.stop_grace if live else _GRACE)
    if instance.place() is not None:
        instance.stopped.touch()
    return f"stopped process {live.status.pid}" if live else "nothing runs"


def _entry(directory: Path, instance: Instance) -> dict[str, Any]:
    live = control.running(instance)
    made = releases.find(instance.root, instance.place())
    seen = health.look(instance) if live else None
    if seen is None and not instance.stopped.exists() and control.told(instance):
        seen = health.look(instance)
    return {
        "directory": str(directory),
        "instance": instance.number,
        "release": made.digest if made else None,
        "place": made.path.name if made else None,
        "state": seen.status if seen else "stopped",
        "detail": seen.detail if seen and seen.status != "healthy" else "",
        "pid": live.status.pid if live else None,
        "supervisor": live.supervisor if live else None,
        "url": live.service.url if live else None,
        "started": live.status.since if live else None,
        "restarts": live.status.deaths if live else None,
    }
