"""`completion`: the script that makes a shell complete what one types after `penstock`."""

from __future__ import annotations

import os
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

from penstock.cli.complete import VARIABLE
from penstock.errors import ConfigError

_HOW = {
    "bash": """\
To complete in this shell and in each new one, put this line into ~/.bashrc:
    eval "$(penstock completion bash)"
Or, where the package bash-completion is installed, once:
    mkdir -p ~/.local/share/bash-completion/completions
    penstock completion bash > ~/.local/share/bash-completion/completions/penstock""",
    "zsh": """\
To complete in each new shell, put this line into ~/.zshrc, below the one with compinit:
    eval "$(penstock completion zsh)"
Or write it once to a file _penstock in a directory of your $fpath.""",
    "fish": """\
To complete in each new shell, once:
    penstock completion fish > ~/.config/fish/completions/penstock.fish""",
}


@click.command()
@click.argument("shell", required=False, metavar="[bash|zsh|fish]")
def completion(shell: str | None) -> int:
    """Print the script for a shell, yours by default; its last lines say where to put it."""
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    if name not in _HOW:
        what = f'there is no completion for "{name}"' if name else "name your shell"
        raise ConfigError(f"{what}: penstock completion bash, zsh or fish")
    made = get_completion_class(name)
    assert made is not None  # click has these three
    click.echo(made(click.Group(), {}, "penstock", VARIABLE).source().rstrip())
    click.echo("".join(f"\n# {line}" for line in _HOW[name].splitlines()))
    return 0
