"""`shell`: a shell in the workspace and environment of a step."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from penstock import process, processes
from penstock.artifacts import remove
from penstock.cli.common import Opened, not_pruned, open_project, plugins_of, run_and_rest
from penstock.cli.text import clean
from penstock.cli.warden import cleaned_up_by
from penstock.errors import ConfigError, StepRefused, nearest
from penstock.home import Home, Lock
from penstock.launching import run_inside
from penstock.model import short
from penstock.provisions import find, launcher_of
from penstock.request import make_request
from penstock.state import RunState
from penstock.step import Places, Step
from penstock.stepinfo import StepInfo
from penstock.workspace import Workspace

_NOT_FOUND, _NOT_TO_BE_RUN = 127, 126  # as shells say it


class _Left(BaseException):
    """The terminal is gone, or somebody ended this process."""


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] STEP [-- COMMAND…]")
@click.option("--secrets", "with_secrets", is_flag=True, help="Hand over the step's secrets, too.")
def shell(words: tuple[str, ...], with_secrets: bool) -> int:
    """Open a shell where a step ran, or run one command there.

    It is a new workspace with the run's files and the variables that the step had. It is removed at the end.
    """
    opened = open_project()
    run, rest = run_and_rest(words)
    if not rest:
        raise ConfigError("name a step, such as: penstock shell last test.unit")
    state = opened.state(run)
    name, command = _step(state, rest[0]), rest[1:]
    not_pruned(state, "and a shell needs its files")
    info = make_request(state.plan, state, name, "hook").info
    without: list[str] = []
    if not with_secrets:
        without = list(info.secrets)
        sources = [ref.removeprefix("env:") for ref in info.secrets.values() if ref.startswith("env:")]
        info = info.model_copy(update={"secrets": {}, "hidden": (*info.hidden, *sources, *without)})
    try:
        with _heard(_leave, signal.SIGTERM, signal.SIGHUP):
            return _in_place(opened, state, info, command, without)
    except _Left:
        return 128 + signal.SIGTERM


def _in_place(
    opened: Opened, state: RunState, info: StepInfo, command: Sequence[str], without: Sequence[str]
) -> int:
    """Make the place, run what is to be run there, and remove it; the exit code."""
    plugins = plugins_of(opened, state) if info.secrets or info.inside else None
    name = info.name
    with _workspace(opened.home) as (workspace, mark):
        files = _files(workspace, info)
        step = Step(
            info,
            _places(opened, state, name, workspace, files),
            opened.home.store,
            find_secret=lambda reference: find(plugins, reference) if plugins else "",
            find_launcher=(lambda step: launcher_of(plugins, info, step)) if plugins else None,
        )
        artifacts = [(artifact.name, step.fetch(artifact)) for artifact in info.artifacts]
        try:
            if info.inside is not None:
                return _inside(step, command)
            env = step.variables({processes.MARK: mark})
            if not command and sys.stdin.isatty():
                click.echo("\n".join(_greeting(state, name, artifacts, without)), err=True)
            return _run(command or _own_shell(workspace, state, name, env), files, env)
        finally:
            step.leave()
            step.close()
            process.end_marked(mark, grace=1.0)


def _inside(step: Step, command: Sequence[str]) -> int:
    """Run one command inside of what the step ran in; its exit code."""
    artifact = step.launched.artifact
    if not command:
        raise ConfigError(
            f"{step.name} runs inside {artifact.name} ({short(artifact.digest)}), and there no shell can be "
            f"opened to type into. Name a command, such as: penstock shell {step.number} {step.name} -- ls -l"
        )
    out, err = sys.stdout.buffer, sys.stderr.buffer
    words = step.command(command, step.variables(inside=True))
    return run_inside(step.launched, words, _shown_on(out), _shown_on(err), None)


def _shown_on(stream: BinaryIO) -> Callable[[bytes], object]:
    def show(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    return show


@contextlib.contextmanager
def _heard(handler: Callable[..., object], *numbers: int) -> Iterator[None]:
    """Have these signals call a handler. What is started meanwhile does not inherit that."""
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, handler_before in before:
            signal.signal(number, handler_before)


def _leave(*_: object) -> NoReturn:
    raise _Left


def _step(state: RunState, name: str) -> str:
    names = state.plan.named(name)
    if not names:
        raise ConfigError(f'run {state.run} has no step "{name}"{nearest(name, state.steps, "steps")}')
    if len(names) > 1:
        raise ConfigError(f"{name} is {len(names)} steps. Name one of them, such as {names[0]}")
    return names[0]


def _places(opened: Opened, state: RunState, name: str, workspace: Workspace, files: Path) -> Places:
    return Places(
        workspace=files,
        tmp=workspace.tmp,
        cache=opened.home.cache(state.plan.by_name[name].uses or "core"),
        log=workspace.root / "shell.log",
        inbox=workspace.inbox,
        project=opened.root,
    )


def _files(workspace: Workspace, info: StepInfo) -> Path:
    """What the step began with. Raises ConfigError where the store does not have that any more."""
    if info.phase == "source" or info.revision.snapshot is None:
        return workspace.empty()
    try:
        return workspace.prepare(info.revision.snapshot)
    except StepRefused as error:
        raise ConfigError(f"the files of run {info.run} can't be had: {error}") from None


@contextlib.contextmanager
def _workspace(home: Home) -> Iterator[tuple[Workspace, str]]:
    """One for this shell alone, and the mark of what runs there. Those that were left behind go, too."""
    for left in home.workspaces.glob("shell-*"):
        lock = Lock(left / "lock")
        with contextlib.suppress(OSError):
            if lock.take():
                remove(left)
                lock.drop()
    root, lock = _taken(home)
    mark = f"{root}:{os.getpid()}"

    def undo() -> None:
        process.end_marked(mark, grace=1.0)
        remove(root)

    try:
        with cleaned_up_by(undo):
            yield Workspace(root, home.store), mark
    finally:
        remove(root)
        lock.drop()


def _taken(home: Home) -> tuple[Path, Lock]:
    while True:
        root = home.workspaces / f"shell-{os.getpid()}-{os.urandom(4).hex()}"
        lock = Lock(root / "lock")
        with contextlib.suppress(FileNotFoundError):  # another shell took it for one that was left behind
            if lock.take() and lock.path.exists():
                return root, lock


def _own_shell(workspace: Workspace, state: RunState, name: str, env: dict[str, str]) -> list[str]:
    """The user's shell, which says in its prompt where one is; `sh` where commands come from elsewhere."""
    if not sys.stdin.isatty():
        return ["sh"]
    program = env.get("SHELL") or "sh"
    where = f"run {state.run} {name}".replace("\\", "").replace("'", "").replace("$", "").replace("`", "")
    kind = Path(program).name
    env["PS1"] = f"({where}) $ "
    if kind == "zsh":
        env["PS1"] = f"({where}) %1~ %# ".replace(f"({where})", f"({where.replace('%', '%%')})")
        return [program, "-f"]  # what it reads at its start sets a prompt of its own
    if kind != "bash":
        return [program]
    start = workspace.root / "bashrc"
    start.write_text(f"test -r ~/.bashrc && . ~/.bashrc\nPS1='({where}) \\W \\$ '\nPROMPT_COMMAND=\n")
    return [program, "--rcfile", str(start)]


def _greeting(
    state: RunState, name: str, artifacts: Sequence[tuple[str, Path]], without: Sequence[str]
) -> list[str]:
    revision = state.revision.short if state.revision else "unknown revision"
    how = state.steps[name].state
    return [
        clean(
            f"Where {name} of run {state.run} ran ({how}): files of revision {revision}, and its variables."
        ),
        "What it left behind is not here: this is a new workspace, and it is removed when you leave.",
        *(clean(f"  artifact  {label}  {place}") for label, place in artifacts),
        *(clean(f"  secret    {label} is not set; --secrets hands it over") for label in without),
        *(f"  service   {each.name} does not run here" for each in state.plan.by_name[name].services),
        clean(f"  output    penstock logs {state.run} {name}"),
    ]


def _run(argv: Sequence[str], files: Path, env: dict[str, str]) -> int:
    """Run a program here, in the terminal's foreground; its exit code."""
    try:
        child = subprocess.Popen(argv, cwd=files, env=env)
    except FileNotFoundError:
        click.echo(f"penstock: {clean(argv[0])} is not on the PATH of the step", err=True)
        return _NOT_FOUND
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        click.echo(f"penstock: {clean(argv[0])} can't be run: {why}", err=True)
        return _NOT_TO_BE_RUN
    try:
        # Ctrl-C is meant for what runs in the terminal.
        with _heard(lambda *_: None, signal.SIGINT, signal.SIGQUIT):
            status = child.wait()
    except _Left:
        child.terminate()
        raise
    return status if status >= 0 else 128 - status
