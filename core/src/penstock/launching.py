"""How a step's programs are started: on this machine, or by a plugin inside of something that was built."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from penstock import process
from penstock.errors import PenstockError, PluginError, StepFailed, in_words
from penstock.model import Artifact

Sink = Callable[[bytes], object]


class Command(NamedTuple):
    """A program to be run."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    """What is added to the variables of what it runs inside of. It has secrets in it, and goes into no
    command line, log or file."""
    places: tuple[Path, ...] = ()
    """Directories of this machine that are to be there at the same path, read and written."""
    brought: tuple[Path, ...] = ()
    """Files and directories of this machine that are to be there at the same path, read only."""


class Launcher(ABC):
    """Runs programs inside of one artifact, on behalf of one step.

    Nothing is started before the first `run`. Each is a process tree of its own, and what it leaves is in the
    command's `places` and nowhere else. Where the artifact has a working directory of its own, programs are
    told of it in PENSTOCK_INSIDE_DIRECTORY.
    """

    @abstractmethod
    def run(self, command: Command, out: Sink, err: Sink, timeout: float | None) -> int:
        """Run a program to its end and hand on what it prints, as it prints it; its exit status.

        However this is left, nothing of it runs afterwards: raise TimeoutError after `timeout` seconds, and
        expect that any exception may be raised in the middle, when the step is cancelled. Raise NoSuchProgram
        where the program is not there, StepFailed where it can't be started or was ended for want of memory,
        and StepRefused where what it would run inside of has another digest than the artifact.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to remove
        """Remove what is left. Called once, at the end of the step, however it ended; never raises."""


class Launched(NamedTuple):
    """A launcher, and what it starts programs inside of."""

    artifact: Artifact
    launcher: Launcher


def run_here(
    command: Command, out: Sink, err: Sink, deadline: float | None, *, log: IO[bytes] | None, capture: bool
) -> int:
    """Run a program on this machine to its end; its status, negative where a signal ended it.

    With `log`, what is not captured goes straight there. With `capture`, `out` gets standard output alone.
    """
    output: int | IO[bytes] = subprocess.PIPE if log is None else log
    try:
        child = subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env=command.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else output,
            stderr=output if capture else subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise StepFailed(process.why_not(command.argv[0], command.cwd, error)) from process.cause_of(error)
    streams = {child.stdout: out, child.stderr: err}
    try:
        process.follow(child, {stream: sink for stream, sink in streams.items() if stream}, deadline)
    except BaseException:
        process.end_group(child)
        raise
    finally:
        for stream in streams:
            if stream is not None:
                stream.close()
    return child.returncode


def run_inside(launched: Launched, command: Command, out: Sink, err: Sink, deadline: float | None) -> int:
    """Run a program inside of an artifact. What a launcher does wrong is a fault of its plugin."""
    shared = any(command.cwd.is_relative_to(place) for place in command.places)
    if shared and not command.cwd.is_dir():
        raise StepFailed(f"{command.cwd} is not there: {command.argv[0]} can't be run in it")
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        status = launched.launcher.run(command, out, err, timeout)
    except (PenstockError, TimeoutError):
        raise
    except Exception as error:
        raise PluginError(f"inside {launched.artifact.name}: {in_words(error)}") from error
    if not isinstance(status, int):
        raise PluginError(f"inside {launched.artifact.name}: its launcher gave no exit status")
    return status
