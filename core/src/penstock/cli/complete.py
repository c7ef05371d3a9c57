"""What a shell offers when somebody presses Tab, within the tenth of a second that is not noticed.

Shell scripts and protocol are click's. What commands take is written down here once more: click would have
to import each command, with pydantic and the engine, to find out. A test compares both. No plugin is imported
but for a command of its own. Whatever goes wrong, nothing is said: it would stand in the line that is typed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.shell_completion import CompletionItem, get_completion_class

from penstock.cli.names import Names

VARIABLE = "_PENSTOCK_COMPLETE"
"""What click's scripts set to ask for completions."""

_GLOBAL = "-C=DIR --directory=DIR --version -h --help"
USAGE = {
    # positional arguments by what they are, then options, those that take a value with what it is
    "init": "--add=ANY --uses=PLUGIN --ci=CI",
    "run": "--only=STEP --to=ENV --no-deploy --rev=ANY --dirty --set=PARAMETER --approve=ENV --no-cache "
    "--json",
    "show": "RUN|STEP STEP --json",
    "logs": "RUN|STEP|ENV STEP -f --follow --service=ANY --since=ANY --tail=ANY",
    "approve": "WAITING|ENV ENV --digest=DIGEST --why=ANY --no-resume",
    "status": "ENV --json",
    "rerun": "RUN --from=STEP --approve=ENV --json",
    "rollback": "ENV --why=ANY --json",
    "resume": "OPEN --json",
    "audit": "--json --expect=ANY",
    "cancel": "OPEN --why=ANY",
    "completion": "SHELL",
    "diff": "RUN RUN --json",
    "doctor": "",
    "flaky": "STEP --since=ANY --json",
    "plan": "--set=PARAMETER --effects --json",
    "plugins list": "--json",
    "plugins info": "PLUGIN",
    "plugins new": "ANY --phase=PHASE --in-house",
    "shell": "RUN|STEP STEP --secrets",
    "prune": "--keep=ANY --older-than=ANY --dry-run",
    "reject": "WAITING|ENV ENV --why=ANY --no-resume",
    "get": "RUN|ARTIFACT|DIGEST ARTIFACT -o=FILE --output=FILE --force",
    "report": "RUN --junit=FILE --sarif=FILE",
    "runs": "--limit=ANY --json",
    "schema": "--write",
    "validate": "",
    "verify": "DIGEST|FILE --export=DIR --json",
    "watch": "--branch=ANY --every=ANY --from-now --once --json",
}
_GROUPS = tuple(dict.fromkeys(name.split()[0] for name in USAGE if " " in name))
_FIXED = {
    "PHASE": ("source", "build", "test", "scan", "sign", "publish", "approve", "deploy", "verify"),
    "CI": ("github", "gitlab", "gitea"),
    "SHELL": ("bash", "zsh", "fish"),
}


@dataclass(frozen=True)
class Usage:
    """What a command takes."""

    arguments: tuple[str, ...]
    options: Mapping[str, str]
    """Each option's name, and what its value is; nothing for one without."""

    @classmethod
    def read(cls, text: str) -> Usage:
        """A line of the table above."""
        words = text.split()
        options = [word.partition("=") for word in words if word.startswith("-")]
        return cls(
            tuple(word for word in words if not word.startswith("-")),
            {name: value for name, _, value in options},
        )


def main(commands: Mapping[str, tuple[str, str]], otherwise: Callable[[], int]) -> int:
    """Answer a shell; `otherwise` asks click, for what is not in the table. It never fails."""
    shell, _, instruction = os.environ[VARIABLE].partition("_")
    made: Any = get_completion_class(shell)
    if made is None or instruction != "complete":
        return otherwise()
    with contextlib.suppress(Exception):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        shell_side = made(None, {}, "penstock", VARIABLE)
        words, incomplete = shell_side.get_completion_args()
        found = completions(commands, words, incomplete)
        if found is None:
            return otherwise()
        sys.stdout.write("".join(shell_side.format_completion(item) + "\n" for item in found))
        sys.stdout.flush()
    return 0


def completions(
    commands: Mapping[str, tuple[str, str]], words: list[str], incomplete: str
) -> list[CompletionItem[str]] | None:
    """What may follow these words; None for a command that is not the core's own."""
    words, incomplete = _separated(words, incomplete)
    place = Path.cwd()
    while words and words[0].startswith("-"):
        if words[0] in ("-C", "--directory"):
            if len(words) == 1:
                return [CompletionItem(incomplete, type="dir")]
            place /= words.pop(1)
        words.pop(0)
    if not words:
        top = [CompletionItem(name, help=what) for name, (_, what) in commands.items()]
        return _that_begin(incomplete, top, _option_items(Usage.read(_GLOBAL)))
    name = words.pop(0)
    if name in _GROUPS:
        if not words:
            inner = [key.split()[1] for key in USAGE if key.startswith(f"{name} ")]
            return _that_begin(incomplete, [CompletionItem(key) for key in inner])
        name = f"{name} {words.pop(0)}"
    if name not in USAGE:
        return None
    return _for(Usage.read(USAGE[name]), words, incomplete, Names(place))


def _for(usage: Usage, words: list[str], incomplete: str, names: Names) -> list[CompletionItem[str]]:
    """What may follow the name of a command and these words."""
    given: list[str] = []
    wanted = ""
    for word in words:
        if wanted:
            wanted = ""
        elif word.startswith("-"):
            wanted = usage.options.get(word, "")
        else:
            given.append(word)
    if not wanted and incomplete.startswith("-"):
        return _that_begin(incomplete, _option_items(usage))
    left = usage.arguments[len(given) :]
    what = wanted or (left[0] if left else "")
    items = [item for kind in what.split("|") if kind for item in _items(kind, given, incomplete, names)]
    return [item for item in items if item.type != "plain" or item.value not in given]


def _items(kind: str, given: list[str], incomplete: str, names: Names) -> Iterator[CompletionItem[str]]:
    if kind in ("DIR", "FILE"):
        yield CompletionItem(incomplete, type=kind.lower())
        return
    found: Mapping[str, str] = {}
    with contextlib.suppress(Exception):  # a configuration that can't be read, a journal of another version
        if kind in _FIXED:
            found = dict.fromkeys(_FIXED[kind], "")
        elif kind == "STEP":
            found = names.steps(next(iter(given), None))
        elif kind in ("RUN", "OPEN", "WAITING"):
            found = names.runs({"RUN": (), "OPEN": ("running", "waiting"), "WAITING": ("waiting",)}[kind])
        elif kind == "ENV":
            found = names.environments()
        elif kind == "ARTIFACT":
            found = names.artifacts(next(iter(given), "last"))
        elif kind == "DIGEST":
            found = names.digests(incomplete)
        elif kind == "PARAMETER":
            found = names.parameters()
        elif kind == "PLUGIN":
            found = names.plugins()
    items = [CompletionItem(name, help=what or None) for name, what in found.items() if name.isprintable()]
    yield from _that_begin(incomplete, items)


def _option_items(usage: Usage) -> list[CompletionItem[str]]:
    return [CompletionItem(name) for name in usage.options]


def _that_begin(incomplete: str, *groups: list[CompletionItem[str]]) -> list[CompletionItem[str]]:
    """Options are offered to those who ask for one."""
    items = [item for group in groups for item in group if item.value.startswith(incomplete)]
    return [item for item in items if incomplete or not item.value.startswith("-")]


def _separated(words: list[str], incomplete: str) -> tuple[list[str], str]:
    """`--to=x` in two words, however the shell took it apart."""
    found: list[str] = []
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        found += [name, value] if equals and value else [name] if name != "=" else []
    if incomplete == "=":
        return found, ""
    if found[-2:] == ["sha256", ":"]:  # bash begins a new word at a colon, and completes that
        return found[:-2], incomplete
    name, equals, value = incomplete.partition("=")
    return ([*found, name], value) if equals and name.startswith("--") else (found, incomplete)
