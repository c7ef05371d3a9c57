"""What a suite uses without asking for it: plugins of pytest by their options, modules by their imports.

Only what known.toml names is ever installed without being asked for: a name that a test merely imports may
be anybody's on an index.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from packaging.utils import canonicalize_name
from penstock import Model

_IMPORT = re.compile(r"^(?:import|from)[ \t]+([\w., \t]+)", re.MULTILINE)
_ANYWHERE = re.compile(r"""(?:^[ \t]*(?:import|from)[ \t]+|\bimportorskip\(["'])(\w+)""", re.MULTILINE)
_MARK = re.compile(r"\bmark\.(\w+)")
_PIP = re.compile(r"""["']-m["'],\s*["']pip["']|\bpython\S* -m pip\b""")
_PARAMETERS = re.compile(r"\bdef test\w*\(([^)]*)\)")
_DEFINED = re.compile(r"^\s*(?:async\s+)?def (\w+)\(", re.MULTILINE)


class Need(Model):
    """A distribution that the tests need, and what says so."""

    distribution: str
    because: str


def of_configuration(options: Sequence[str], settings: Iterable[str]) -> list[Need]:
    """The plugins whose options and settings a configuration of pytest uses."""
    found = [_of_option(option, following) for option, following in _pairs(options)]
    known = table("settings")
    found += [
        Need(distribution=known[name], because=f"the setting {name}") for name in settings if name in known
    ]
    return _distinct(need for need in found if need is not None)


def of_tests(texts: Mapping[str, str], own: Collection[str] = ()) -> list[Need]:
    """What the files of a suite use by name, of what is known here: imports, marks and fixtures.

    An import that is indented is one to do without, and one of `own` is the project's.
    """
    defined = {name for text in texts.values() for name in _DEFINED.findall(text)}
    return _distinct(
        Need(distribution=distribution, because=f"{what} in {file}")
        for file, text in texts.items()
        for distribution, what in (*_imported(text, own), *_used(text, defined))
    )


def imported(texts: Mapping[str, str], own: Collection[str] = ()) -> frozenset[str]:
    """The modules that a suite imports anywhere, in a condition too, and their distributions as far as known.

    Only to be compared with what a project names itself: on an index such a name may be anybody's.
    """
    known = table("imports")
    modules = {top for text in texts.values() for top in _ANYWHERE.findall(text)} - set(own)
    return frozenset(canonicalize_name(name) for top in modules for name in (top, known.get(top, top)))


@cache
def table(name: str) -> Mapping[str, str]:
    """One of known.toml's tables: a name as a suite uses it, and the distribution that it belongs to."""
    data = tomllib.loads(Path(__file__).with_name("known.toml").read_text(encoding="utf-8"))
    if name == "imports":
        same = data["import_of_the_same_name"]["names"].split()
        return {**{word: word for word in same}, **data["imports"]}
    found: Mapping[str, str] = data[name]
    return found


def _pairs(options: Sequence[str]) -> Iterable[tuple[str, str]]:
    return itertools.zip_longest(options, options[1:], fillvalue="")


def _of_option(option: str, following: str) -> Need | None:
    if re.match(r"-n(?:\d|auto|logical|=|$)", option):
        return Need(distribution="pytest-xdist", because="-n in addopts")
    name = option.partition("=")[0]
    if option == "-p" or re.match(r"-p\w", option):
        return _of_plugin(following if option == "-p" else option[2:])
    for known, distribution in table("options").items():
        if name == known or name.startswith(known if known.endswith("-") else f"{known}-"):
            return Need(distribution=distribution, because=f"{name} in addopts")
    return None


def _of_plugin(module: str) -> Need | None:
    """`-p pytest_cov`, `-p xdist` and `-p pytest_asyncio.plugin` name a plugin by its module."""
    name = module.partition(".")[0]
    if name in ("xdist", "pytest_cov", "pytest_asyncio", "pytest_django", "pytest_mock", "pytest_timeout"):
        distribution = f"pytest-{name.removeprefix('pytest_')}"
        return Need(distribution=distribution, because=f"-p {module} in addopts")
    return None


def _imported(text: str, own: Collection[str]) -> Iterable[tuple[str, str]]:
    known = table("imports")
    for statement in _IMPORT.findall(text):
        # "a.b, c as d", or "a.b import c": only the first word of each counts.
        names = re.split(r"\s+import\s", statement)[0]
        for name in names.split(","):
            top = name.strip().partition(" ")[0].partition(".")[0]
            if top in known and top not in own:
                yield known[top], f"import {top}"


def _used(text: str, defined: set[str]) -> Iterable[tuple[str, str]]:
    marks, fixtures = table("marks"), table("fixtures")
    if _PIP.search(text):
        yield "pip", "python -m pip"
    for mark in _MARK.findall(text):
        if mark in marks:
            yield marks[mark], f"mark.{mark}"
    for parameters in _PARAMETERS.findall(text):
        for parameter in re.findall(r"\w+", parameters):
            if parameter in fixtures and parameter not in defined:
                yield fixtures[parameter], f"the fixture {parameter}"


def _distinct(needs: Iterable[Need]) -> list[Need]:
    return list({need.distribution: need for need in reversed(list(needs))}.values())[::-1]
