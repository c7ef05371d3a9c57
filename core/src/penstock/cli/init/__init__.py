"""`init`: writes what a project needs to begin, and never over something that is there."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli.init import ci as for_ci
from penstock.errors import ConfigError


@click.command()
@click.option("--add", metavar="PHASE.NAME", help="Add a section to the configuration that is there.")
@click.option("--uses", metavar="PLUGIN", help="With --add: the plugin that does the work.")
@click.option(
    "--ci",
    "platform",
    type=click.Choice(list(for_ci.PLATFORMS)),
    help="Write the file that runs the pipeline there.",
)
def init(add: str | None, uses: str | None, platform: str | None) -> int:
    """Write a penstock.toml for this project, or add to one.

    Without options, every installed plugin looks at the project, and what they propose is written. With
    --add deploy.staging, such a section is added to the file, which otherwise stays as it is.
    """
    if add is not None and platform is not None:
        raise ConfigError("--add and --ci are two things to do. Do one after the other")
    if uses is not None and add is None:
        raise ConfigError("--uses says what --add shall use. Write: penstock init --add PHASE.NAME --uses …")
    if platform is not None:
        return for_ci.write(Path.cwd(), platform)
    if add is not None:
        from penstock.cli.init.add import add_section

        return add_section(Path.cwd(), add, uses)
    from penstock.cli.init.begin import begin

    return begin(Path.cwd())
