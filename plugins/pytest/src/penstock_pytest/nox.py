"""What a noxfile's session of tests installs. Read, never executed: only what stands there as it is."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

_FILE = "noxfile.py"
_NAMES = frozenset({"test", "tests", "testing", "unit", "unittests", "unit_tests"})
_WITH_A_VALUE = ("-r", "-c", "-e", "--requirement", "--constraint", "--editable")


@dataclass(frozen=True)
class Session:
    """The first session that runs pytest, or else that is named for tests."""

    origin: str
    lines: tuple[str, ...] = ()
    """As in a requirements file."""
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


def read(root: Path) -> Session | None:
    """The session of tests in a project's noxfile; None where there is none."""
    try:
        tree = ast.parse((root / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and _is_session(node)]
    running = [function for function in functions if _runs_pytest(function)]
    named = [function for function in running if function.name in _NAMES]
    chosen = next(iter([*named, *running]), None)
    return _session(chosen) if chosen else None


def _is_session(function: ast.FunctionDef) -> bool:
    calls = (node.func if isinstance(node, ast.Call) else node for node in function.decorator_list)
    return any(ast.unparse(node) in ("nox.session", "session", "nox_uv.session") for node in calls)


def _runs_pytest(function: ast.FunctionDef) -> bool:
    return any("pytest" in words for name, words in _calls(function) if name == "run")


def _session(function: ast.FunctionDef) -> Session:
    lines: list[str] = []
    groups: list[str] = []
    extras: list[str] = []
    for name, words in _calls(function):
        if name not in ("install", "run_install"):
            continue
        for option, value in itertools.pairwise(words):
            if option in ("--group", "--only-group"):
                groups.append(value)
            if option == "--extra":
                extras.append(value)
        if name == "install":
            lines += _lines(words)
    return Session(
        f'session "{function.name}" of {_FILE}', *(tuple(dict.fromkeys(x)) for x in (lines, groups, extras))
    )


def _calls(function: ast.FunctionDef) -> Iterator[tuple[str, list[str]]]:
    """The session's calls in the order in which they stand there, each with its words."""
    session = function.args.args[0].arg if function.args.args else "session"
    found = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == session:
            yield node.func.attr, list(_words(node.args))


def _words(arguments: Sequence[ast.expr]) -> Iterator[str]:
    for node in arguments:
        if isinstance(node, ast.Starred):
            yield from _groups(node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _groups(node: ast.expr) -> Iterator[str]:
    """`*nox.project.dependency_groups(PYPROJECT, "test")`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("dependency_groups"):
        for name in node.args[1:]:
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield from ("--group", name.value)


def _lines(words: Sequence[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if word in _WITH_A_VALUE:
            value = next(rest, "")
            yield f"{word} {value}"
        elif word in ("--group", "--only-group", "--extra"):
            next(rest, None)
        elif word.startswith(".") or _is_requirement(word):
            yield word


def _is_requirement(word: str) -> bool:
    try:
        Requirement(word)
    except InvalidRequirement:
        return False  # a path, such as that of a wheel which the session has built
    return True
