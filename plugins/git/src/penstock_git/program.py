"""Runs git so that neither the environment nor a repository's configuration leads it astray.

Nothing here writes to a repository, fetches anything, or starts a program that a repository names.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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
_STAYS = re.compile(
    r"GIT_(CEILING_DIRECTORIES|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|(KEY|VALUE)_\d+)"
    r"|DISCOVERY_ACROSS_FILESYSTEM|EXEC_PATH)"
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
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
# `step.run` gives text, and no input; git's names are bytes.
_STREAMS = '<"$1.in" >"$1.{number}.out" 2>"$1.{number}.err"'
NOT_THERE, _NOT_RUN = 127, 126


class Answer(NamedTuple):
    """How git ended and what it printed."""

    returncode: int
    output: bytes
    complaint: str

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked to."""
        return self.returncode == 0


class Git(NamedTuple):
    """Git in one directory: the user's repository, or a private one where `env` says so."""

    step: Step
    cwd: Path
    env: tuple[tuple[str, str], ...] = ()
    disabled_filters: tuple[str, ...] = ()

    def ask(self, *arguments: str | Path, given: bytes = b"") -> Answer:
        """Run git to its end, whatever it says. Raises StepFailed where it can't be run."""
        return self.ask_all(arguments, given=given)[0]

    def ask_all(
        self,
        *commands: Sequence[str | Path],
        given: bytes = b"",
        beside: Git | None = None,
        there: Sequence[Sequence[str | Path]] = (),
    ) -> list[Answer]:
        """Run git several times, side by side, as `ask` does; `given` is each one's input.

        What stands in `there` is asked of the git `beside` at the same time.
        """
        files = self.step.tmp / "git-streams"
        _beside(files, ".in").write_bytes(given)
        env = dict(self.env) | QUIET
        env |= without_filters(self.disabled_filters, os.environ.get("GIT_CONFIG_COUNT", "0"))
        lines = [shlex.join(map(str, command(arguments))) for arguments in commands]
        if beside is not None:
            lines += [beside.line(arguments) for arguments in there]
        text = script(os.environ, frozenset(env), lines)
        ended = self.step.run(
            ["sh", "-c", text, "git", files], cwd=self.cwd, env=env, check=False, quiet=True
        )
        codes = [ended.returncode] * len(lines)
        if len(lines) > 1 and ended.returncode == 0:
            codes = [int(code) for code in _beside(files, ".codes").read_text().split()]
        if not {NOT_THERE, _NOT_RUN}.isdisjoint(codes):
            raise StepFailed(
                "git is not on the PATH, or can't be run. Install it (https://git-scm.com/downloads), or add "
                "its directory to PATH"
            )
        return [
            Answer(
                code,
                _beside(files, f".{number}.out").read_bytes(),
                _beside(files, f".{number}.err").read_bytes().decode("utf-8", "backslashreplace").strip(),
            )
            for number, code in enumerate(codes)
        ]

    def line(self, arguments: Sequence[str | Path]) -> str:
        """The command as the shell takes it, with its own variables and directory: it may stand anywhere."""
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env)
        return f"{variables} {shlex.join(map(str, command(('-C', self.cwd, *arguments))))}"

    def must(self, answer: Answer, name: str, *, what: str) -> bytes:
        """The output of git's command `name`. Raises StepFailed where it did not do what it was asked to."""
        if not answer.ok:
            raise StepFailed(
                f"{what} failed: git {name} ended with {answer.returncode}: {brief(answer.complaint)}"
            )
        for line in answer.complaint.splitlines():
            self.step.log(f"git: {parse.printable(line)}")
        return answer.output


def ask_at(
    root: Path, *arguments: str, given: bytes = b"", network: bool = False, patience: float | None = None
) -> Answer:
    """Git's answer in a directory, outside of any step, however it ends.

    With `network` it may speak to a remote, but asks nobody for a password. Raises `TimeoutExpired`.
    """
    quiet = {name: value for name, value in QUIET.items() if not network or name != "GIT_ALLOW_PROTOCOL"}
    text = f'unset {led_astray(os.environ, frozenset(quiet))}; exec "$@"'
    ended = subprocess.run(
        ["sh", "-c", text, "git", *command(arguments)],
        cwd=root,
        env={**os.environ, **quiet},
        input=given,
        capture_output=True,
        check=False,
        timeout=patience,
        start_new_session=network,  # without a terminal, at which SSH would ask for a password
    )
    complaint = ended.stderr.decode("utf-8", "backslashreplace").strip()
    return Answer(ended.returncode, ended.stdout, complaint)


def command(arguments: Sequence[str | Path]) -> list[str | Path]:
    """The command line, with what could start other programs switched off."""
    return [
        "git",
        "--no-pager",
        *(word for name, value in _HARMLESS for word in ("-c", f"{name}={value}")),
        *arguments,
    ]


def script(
    environment: Sequence[str] | os._Environ[str],
    keep: frozenset[str],
    commands: Sequence[str],
) -> str:
    """The shell script that starts git without the variables that are meant for another git.

    Several commands run side by side; how each ended is written down in their order.
    """
    begin = f"unset {led_astray(environment, keep)}; "
    runs = [f"{line} {_STREAMS.format(number=number)}" for number, line in enumerate(commands)]
    if len(runs) == 1:
        return f"{begin}exec {runs[0]}"
    started = " ".join(f"{run} & p{number}=$!;" for number, run in enumerate(runs))
    ended = " ".join(f"wait $p{number}; echo $?;" for number in range(len(runs)))
    return f'{begin}{started} {{ {ended} }} >"$1.codes"'


def led_astray(environment: Sequence[str] | os._Environ[str], keep: frozenset[str]) -> str:
    """The names of these variables, as the shell's `unset` takes them."""
    inherited = {name for name in environment if name.startswith("GIT_") and not _STAYS.fullmatch(name)}
    unset = sorted({*inherited, *_LEADS_ASTRAY} - keep)
    # The shell itself drops a variable whose name is none that it could have.
    return " ".join(name for name in unset if _VARIABLE.fullmatch(name))


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


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
