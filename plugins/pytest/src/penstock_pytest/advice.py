"""Failed cases → what a person may do about them, in one sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from penstock import TestCase

_MODULE = re.compile(r"No module named '([\w.]+)'")
_FIXTURE = re.compile(r"fixture '(\w+)' not found")
_NETWORK = re.compile(
    r"Name or service not known|Temporary failure in name resolution|Network is unreachable"
    r"|Connection refused|ConnectionRefusedError|Max retries exceeded|nodename nor servname"
)
_LOCALE = re.compile(r"unsupported locale setting|UnknownTimeZoneError|ZoneInfoNotFoundError")
_PERMISSION = re.compile(r"permission|chmod|readonly|read_only|unreadable", re.IGNORECASE)


def about(
    cases: Sequence[TestCase], step: str, *, root: bool, where: Callable[[str], str | None] = lambda _: None
) -> str | None:
    """What helps, from the first failure that something is known about; None where nothing failed.

    `where` says where a module stands in the project, its root or `src` being on the import path.
    """
    failed = [case for case in cases if case.outcome == "failed"]
    if not failed:
        return None
    texts = [case.message or "" for case in failed]
    rules: tuple[Callable[[str, str], str | None], ...] = (partial(_of_the_tree, where), *_RULES)
    known = (answer for text in texts for rule in rules if (answer := rule(text, step)))
    special = next(known, None)
    if special is None and root and any(_PERMISSION.search(f"{case.name} {case.message}") for case in failed):
        special = "Penstock runs as root, whom no permission stops: run it as somebody else"
    named = (case.name for case in failed if "::" in case.name or "." in case.name)
    name = next(named, "tests/test_x.py::test_y")
    leave_out = f"To leave a test out: deselect = [{_quoted(name)}] under [{step}]"
    return f"{special}. {leave_out}" if special else leave_out


def _of_the_tree(where: Callable[[str], str | None], text: str, _: str) -> str | None:
    match = _MODULE.search(text)
    if match is None:
        return None
    module, top = match[1], match[1].partition(".")[0]
    path, above = where(module), where(top)
    if path is not None:
        home = "src" if path.startswith("src/") else "."
        return (
            f'"{module}" is {path} in the tree, where pytest does not look, and the wheel lacks it. If users '
            f'need it, the build has to take it along; if it is for the tests alone, pythonpath = ["{home}"] '
            "in pytest's configuration leads there"
        )
    if above is not None:
        return (
            f'"{top}" has no "{module}", neither in the wheel nor beside the tests: if the tree has it, the '
            "build has to take it along"
        )
    return None


def _missing_module(text: str, step: str) -> str | None:
    match = _MODULE.search(text)
    if match is None:
        return None
    top = match[1].partition(".")[0]
    return (
        f'"{top}" is not in the tests\' environment: requirements = ["…"] under [{step}] adds the '
        "distribution that brings it"
    )


def _missing_fixture(text: str, step: str) -> str | None:
    match = _FIXTURE.search(text)
    if match is None:
        return None
    return f'The fixture "{match[1]}" is a plugin\'s: requirements = ["pytest-…"] under [{step}] adds it'


def _network(text: str, _: str) -> str | None:
    return "A test asks for a network or a service that is not there" if _NETWORK.search(text) else None


def _locale(text: str, _: str) -> str | None:
    if not _LOCALE.search(text):
        return None
    return "A test needs a locale or time zone data that this machine lacks (Debian: locales, tzdata)"


_RULES: tuple[Callable[[str, str], str | None], ...] = (_missing_module, _missing_fixture, _network, _locale)


def _quoted(name: str) -> str:
    """As TOML has it: a subtest's test, and of a name with both kinds of quotes what is before them."""
    name = re.split(r" [(\[]", name, maxsplit=1)[0]
    if '"' not in name:
        return f'"{name}"'
    return f"'{name}'" if "'" not in name else f'"{name.partition("[")[0]}"'
