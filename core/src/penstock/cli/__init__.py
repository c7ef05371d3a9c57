"""The command line. Each command's module is imported when the command is used.

`--help` and `--version` read nothing but this file: neither pydantic nor any plugin.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import gc
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from penstock import __version__

_COMMANDS = {
    # name: (module, what it does); the first eight are for every day
    "init": ("init", "Write a penstock.toml for this project."),
    "run": ("run", "Run the pipeline."),
    "show": ("look", "Show a run, or one step of it."),
    "logs": ("look", "Show what a step printed, or a service writes."),
    "approve": ("word", "Approve what a run waits with."),
    "status": ("environments", "Show what runs in an environment."),
    "rollback": ("environments", "Bring back the last good release."),
    "resume": ("run", "Go on with a run that was cut off."),
    # the others
    "audit": ("audit", "Check that the journal is as it was written."),
    "rerun": ("again", "Run a revision again, from a step on."),
    "cancel": ("word", "Stop a run."),
    "completion": ("completion", "Print what makes your shell complete commands and names."),
    "diff": ("diff", "Show what differs between two runs."),
    "flaky": ("flaky", "List tests that failed and passed on the same inputs."),
    "doctor": ("begin", "Check that everything needed is there."),
    "get": ("get", "Take an artifact out of the store."),
    "plan": ("begin", "Show the steps, their order, and why."),
    "plugins": ("plugins", "List plugins, tell about one, or begin one."),
    "prune": ("prune", "Remove what old runs left."),
    "reject": ("word", "Refuse what a run waits with."),
    "report": ("report", "Write JUnit XML and SARIF of a run."),
    "runs": ("look", "List the runs."),
    "schema": ("schema", "Print the JSON Schema of penstock.toml."),
    "shell": ("shell", "Open a shell where a step ran."),
    "validate": ("begin", "Check the configuration."),
    "verify": ("proof", "Prove where an artifact comes from."),
    "watch": ("watch", "Run each new commit of some branches."),
}
_EVERYDAY = 8
_COMPLETE = "_PENSTOCK_COMPLETE"
"""Set by the scripts of `penstock completion`, which ask for what may follow."""


class _Commands(click.Group):
    """The core's commands, imported late, and those of the project's plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = import_module(f"penstock.cli.{_COMMANDS[cmd_name][0]}")
            command: click.Command = getattr(module, cmd_name)
            return command
        gc.enable()  # a plugin's command may go on for ever
        return import_module("penstock.cli.plugins").command_of_plugin(cmd_name)  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            raise click.UsageError(f'there is no command "{name}"{_nearest(name, _COMMANDS)}', ctx)
        return name, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, what) for name, (_, what) in _COMMANDS.items()]
        for title, part in (("Every day", rows[:_EVERYDAY]), ("More", rows[_EVERYDAY:])):
            with formatter.section(title):
                formatter.write_dl(part)
        formatter.write_text("Plugins add commands of their own: penstock plugins list")


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-C", "--directory", metavar="DIR", help="Work in DIR instead of here.", type=str)
@click.version_option(__version__, prog_name="penstock")
def cli(directory: str | None) -> None:
    """A deployment pipeline: what was tested is what is deployed, and it can be proved."""
    if directory is not None:
        try:
            os.chdir(directory)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds a NUL character"
            raise click.UsageError(f'-C: can\'t work in "{directory}": {why}') from None
    try:
        Path.cwd()
    except OSError:
        raise click.UsageError(
            "the current directory is not there any more. Go to one that is, or name one with -C DIR"
        ) from None


def main(arguments: list[str] | None = None) -> None:
    """Run a command, and end the process with its exit code."""
    _leave(invoke(arguments))


def _leave(code: int) -> NoReturn:
    """End the process, as `sys.exit` does, without taking apart first all that is in it: that takes long."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if not stream.closed:
                stream.flush()
        except BrokenPipeError:
            pass  # nobody reads it any more
        except OSError as error:
            code = explain(error)
    os._exit(code)


def invoke(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code. Every error is one message on standard error."""
    _open_streams()
    if arguments is None and _COMPLETE in os.environ:
        from penstock.cli import complete

        return complete.main(_COMMANDS, lambda: cli.main(prog_name="penstock", complete_var=_COMPLETE))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="penstock")
    try:
        result: Any = cli.main(arguments, prog_name="penstock", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo("cancelled", err=True)
        return 130
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # since click 8.2
            error.show()
        else:
            from penstock.cli.text import clean

            click.echo(clean(_usage(error)), err=True)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:  # the last place where a message can be made of it
        return explain(error)


def _usage(error: click.ClickException) -> str:
    """A mistake on the command line, in one line: what is wrong, and where to read on."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    command = ctx.command_path if ctx else "penstock"
    if isinstance(error, click.NoSuchOption):
        message = f'there is no option "{error.option_name}"{_nearest(error.option_name, _options(ctx))}'
    else:
        message = error.format_message()
        message = (message[:1].lower() + message[1:]).rstrip(".")
    end = "" if message.endswith("?") else "."
    return f"{command}: {message}{end} See: {command} --help"


def _options(ctx: click.Context | None) -> list[str]:
    parameters = ctx.command.params if ctx else []
    return [name for parameter in parameters for name in parameter.opts if name.startswith("--")]


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f'. Did you mean "{near[0]}"?' if near else ""


_PLAIN = {"✓": "+", "✗": "x", "–": "-", "…": "...", "›": ">", "↻": "~", "→": "->", "←": "<-"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What stands for a character that a terminal without Unicode can't show."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in text), error.end


codecs.register_error("penstock", _in_ascii)


def _open_streams() -> None:
    """Where a standard stream was closed, the next file opened would take its place, the journal for one."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115


def _of_stdout(error: Exception) -> str:
    """Why what was printed could not be written, if that is what it says: it names no file."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO) and not error.filename:
        return str(error.strerror)
    return ""


_ROOM = ". Make room. A run that was cut off goes on with: penstock resume"
_CURES = {
    errno.EMFILE: ". Allow more: ulimit -n",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EAGAIN: ". No further process can be started: allow more (ulimit -u), or end some. "
    "A run that was cut off goes on with: penstock resume",
}


def explain(error: Exception) -> int:
    """Say what went wrong, in one message on standard error; the exit code that it leads to."""
    from penstock.cli.text import harmless
    from penstock.errors import PenstockError

    if isinstance(error, PenstockError):
        cause = error.__cause__
        cure = _CURES.get(cause.errno or 0, "") if isinstance(cause, OSError) else ""
        click.echo(harmless(f"penstock: {error}{cure}"), err=True)
        return error.exit_code
    if why := _of_stdout(error):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left would be tried once more, and told
        click.echo(f"penstock: standard output can't be written: {why}", err=True)
        return 4
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"penstock: {error.strerror}{where}{_CURES.get(error.errno, '')}", err=True)
        return 4
    if os.environ.get("PENSTOCK_TRACEBACK"):
        raise error
    click.echo(
        f"penstock: a fault of Penstock itself: {type(error).__name__}: {error}\n"
        "Please report it, with what PENSTOCK_TRACEBACK=1 shows.",
        err=True,
    )
    return 4
