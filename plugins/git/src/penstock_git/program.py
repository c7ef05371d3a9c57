"""Runs git so that neither the environment nor a repository's configuration leads it astray.

Nothing here writes to a repository, fetches anything, or starts a program that a repository names.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, Self

from penstock import Step, StepFailed

from penstock_git import parse

# What `git rev-parse --local-env-vars` lists, in case that it comes from the section's own `env`.
_LEADS_ASTRAY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# How an administrator says where git's files are and which repositories may be trusted.
_STAYS = frozenset(
    (
        *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH"),
        *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT"),
    )
)
_STAY = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
QUIET = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what is missing
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a commit is what its name says
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LANGUAGE": "",
    "LC_ALL": "C",
}
_HARMLESS = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.quotePath", "false"),
    ("color.ui", "false"),
    ("diff.external", ""),
    ("gc.auto", "0"),
    ("log.showSignature", "false"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
)
NOT_THERE, _NOT_RUN = 127, 126  # as a shell says it
_MISSING = (
    "git is not on the PATH, or can't be run. Install it (https://git-scm.com/downloads), or add its "
    "directory to PATH"
)


class Answer(NamedTuple):
    """How git ended and what it printed."""

    returncode: int
    output: bytes
    complaint: str

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked to."""
        return self.returncode == 0


class Running(NamedTuple):
    """A git that was started, and is asked later how it went."""

    child: subprocess.Popen[bytes]
    complaints: IO[bytes]

    def answer(self) -> Answer:
        """Its answer, once it has ended; it is told nothing more."""
        output, _ = self.child.communicate()
        self.complaints.seek(0)
        return Answer(self.child.returncode, output, _text(self.complaints.read()))


class Git:
    """The git of a step in the user's repository; several may run at a time, and none is left at the end.

    `step.run` gives text, takes no input, and waits for one program; git's names are bytes, and it is asked
    several things at a time.
    """

    def __init__(self, step: Step, cwd: Path) -> None:
        self.step = step
        self.cwd = cwd
        self._variables = variables(step.variables(), QUIET)
        self._program = where(self._variables["PATH"])
        self._left = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def start(self, *arguments: str, without: Sequence[str] = (), talking: bool = False) -> Running:
        """Start git, `without` these filter drivers; `talking`, it is told on its standard input what to do.

        Raises StepFailed where it can't be run.
        """
        if self._program is None:
            raise StepFailed(_MISSING)
        env = self._variables | without_filters(without, self._variables.get("GIT_CONFIG_COUNT", "0"))
        complaints = self._file()
        try:
            child = subprocess.Popen(
                command(self._program, arguments),
                cwd=self.cwd,
                env=env,
                stdin=subprocess.PIPE if talking else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,  # Ctrl-C is not for it
            )
        except OSError as error:
            raise StepFailed(_MISSING) from error
        self._left.callback(_end, child)
        return Running(child, complaints)

    def _file(self) -> IO[bytes]:
        """A file without a name. A pipe that nobody reads meanwhile would be full some day, and git wait."""
        path = self.step.tmp / "git-complaints"
        file = self._left.enter_context(path.open("x+b"))
        path.unlink()
        return file

    def ask(self, *arguments: str) -> Answer:
        """Run git to its end, whatever it says. Raises StepFailed where it can't be run."""
        return self.start(*arguments).answer()

    def must(self, answer: Answer, name: str, *, what: str) -> bytes:
        """The output of git's command `name`. Raises StepFailed where it did not do what it was asked to."""
        if not answer.ok:
            raise StepFailed(
                f"{what} failed: git {name} ended with {answer.returncode}: {brief(answer.complaint)}"
            )
        for line in answer.complaint.splitlines():
            self.step.log(f"git: {parse.printable(line)}")
        return answer.output


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.returncode is None:
        child.kill()
        child.communicate()


def ask_at(
    root: Path, *arguments: str, given: bytes = b"", network: bool = False, patience: float | None = None
) -> Answer:
    """Git's answer in a directory, outside of any step, however it ends.

    With `network` it may speak to a remote, but asks nobody for a password. Raises `TimeoutExpired`.
    """
    quiet = {name: value for name, value in QUIET.items() if not network or name != "GIT_ALLOW_PROTOCOL"}
    program = where(os.environ.get("PATH", os.defpath))
    if program is None:
        return Answer(NOT_THERE, b"", "")
    try:
        ended = subprocess.run(
            command(program, arguments),
            cwd=root,
            env=variables(os.environ, quiet),
            input=given,
            capture_output=True,
            check=False,
            timeout=patience,
            start_new_session=network,  # without a terminal, at which SSH would ask for a password
        )
    except OSError as error:
        return Answer(_NOT_RUN, b"", error.strerror or str(error))
    return Answer(ended.returncode, ended.stdout, _text(ended.stderr))


def where(path: str) -> str | None:
    """The git that these places have: looked for once, and not by each process anew.

    A relative place would lead into the project, where anything may be called git.
    """
    places = [place for place in path.split(os.pathsep) if os.path.isabs(place)]  # noqa: PTH117 - no Path yet
    return shutil.which("git", path=os.pathsep.join(places))


def command(program: str, arguments: Sequence[str]) -> list[str]:
    """The command line, with what could start other programs switched off."""
    return [
        program,
        "--no-pager",
        *(word for name, value in _HARMLESS for word in ("-c", f"{name}={value}")),
        *arguments,
    ]


def variables(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that are meant for another git, and with these."""
    kept = {name: value for name, value in environment.items() if not _leads_astray(name)}
    return kept | dict(own)


def _leads_astray(name: str) -> bool:
    if name in _LEADS_ASTRAY:
        return True
    inherited = name.startswith("GIT_") and name in os.environ
    return inherited and name not in _STAYS and not name.startswith(_STAY)


def without_filters(names: Sequence[str], configured: str) -> dict[str, str]:
    """Variables that switch filter drivers off: git would start their programs to compare files.

    They follow the `configured` number of settings that the environment holds already. The command
    line would not do: a driver's name may hold a "=".
    """
    if not names:
        return {}
    first = int(configured) if configured.isdigit() else 0
    settings = [
        (f"filter.{name}.{key}", value)
        for name in names
        for key, value in (("clean", ""), ("process", ""), ("smudge", ""), ("required", "false"))
    ]
    env = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def brief(complaint: str) -> str:
    """The line of git's complaint that says most, without its prefix."""
    lines = [line for line in complaint.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return parse.printable(telling[0].partition(": ")[2] or telling[0]) if telling else "it says nothing"


def _text(complaint: bytes) -> str:
    return complaint.decode("utf-8", "backslashreplace").strip()
