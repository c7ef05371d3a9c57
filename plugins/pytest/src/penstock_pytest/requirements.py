"""What a project's tests need: found in the places where projects say it, the best one chosen."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from penstock import ConfigError, Model

from penstock_pytest import backends, files, nox, setuppy, tox
from penstock_pytest.known import Need
from penstock_pytest.locks import Lock
from penstock_pytest.wheels import Wheel

_TEST = ("test", "tests", "testing")
_DEV = ("dev", "develop", "development", "ci")
# Extras that are for people who work on the project, or bring everything at once.
_NOT_FOR_USE = re.compile(
    r"(?<![a-z])(?:all|full|complete|dev|doc(?!ker)|lint|typ|mypy|format|style|build|release|publish|bench"
    r"|perf|gpu|cuda)"
)


class Wanted(Model):
    """What is to be installed beside the wheel, and where that was read."""

    lines: tuple[str, ...] = ()
    """As in a requirements file."""
    constraints: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    """Extras of the wheel."""
    origin: str = "nothing says what the tests need"
    left_out: tuple[str, ...] = ()
    """What can't or must not be installed, such as the project's own tree."""
    guessed: tuple[str, ...] = ()
    """Extras of the wheel, where nothing says what the tests need: to have, or to do without."""
    lock: Lock = Lock()
    """The versions to keep to, where the project has a lock file and they can be had."""
    added: tuple[Need, ...] = ()
    """What nothing asks for, although configuration or tests use it."""

    @property
    def anything(self) -> bool:
        """Whether there is something to install."""
        return bool(self.lines or self.extras)


class Choice(Model):
    """What the settings name; none: to be found."""

    groups: tuple[str, ...] | None = None
    extras: tuple[str, ...] | None = None
    requirements_files: tuple[str, ...] | None = None
    locked: bool = True

    @property
    def made(self) -> bool:
        """Whether the settings name anything, so that nothing is searched."""
        return (self.groups, self.extras, self.requirements_files) != (None, None, None)


class Project:
    """The files of a project that say what its tests need."""

    def __init__(self, root: Path, wheels: Sequence[Wheel] = ()) -> None:
        self.root = root
        self.pyproject = _pyproject(root)
        self.name = canonicalize_name(str(self._table("project").get("name", "")))
        self._wheels = wheels
        self.extras = self._extras()
        self.tox = tox.read(root, self.pyproject)

    @property
    def requires_python(self) -> str:
        """The versions of Python that the project says it runs on; "" where it says nothing."""
        return str(self._table("project").get("requires-python", ""))

    def wanted(self, choice: Choice) -> Wanted:
        """What the settings name, or else the best that is found."""
        found = self._named(choice) if choice.made else self._found()
        found = self._without_itself(found)
        if self._wheels:
            return found
        found = self._without_wheel(found)
        return self._without_itself(found if choice.made else _joined_for_use(found, self._for_use()))

    def without_own(self, wanted: Wanted) -> Wanted:
        """Without what the application itself needs: where it is installed already, it has brought that."""
        own = [*_strings(self._table("project").get("dependencies")), *self._for_use().lines]
        names = {_name(line) for line in own} - {""}
        return wanted.model_copy(
            update={"lines": tuple(line for line in wanted.lines if _name(line) not in names)}
        )

    def completed(self, wanted: Wanted, needs: Sequence[Need], imported: frozenset[str]) -> Wanted:
        """With what is used and not asked for, neither by name here nor among what the wheel needs.

        `imported` are the distributions that the tests import, if only to skip without them.
        """
        guessed = self._used_extras(wanted, imported) if wanted.anything else self._of_use()
        asked = {_name(line) for line in (*wanted.lines, *self._required((*wanted.extras, *guessed)))}
        own = {wheel.name for wheel in self._wheels} | {self.name}
        added = [need for need in needs if _name(need.distribution) not in asked | own]
        lines = (*wanted.lines, *(need.distribution for need in added))
        more = {"lines": lines, "added": tuple(added), "guessed": guessed}
        return wanted.model_copy(update=more)

    def _of_use(self) -> tuple[str, ...]:
        return tuple(
            sorted(extra for extra in self.extras if self._wheels and not _NOT_FOR_USE.search(extra))
        )

    def _used_extras(self, wanted: Wanted, imported: frozenset[str]) -> tuple[str, ...]:
        """The extras for use that bring what the tests import, where nothing else does."""
        missing = imported - {_name(line) for line in (*wanted.lines, *self._required(wanted.extras))}
        always = set(self._required(()))
        brought = {
            extra: {_name(line) for line in self._required((extra,)) if line not in always}
            for extra in self._of_use()
        }
        used: list[str] = []
        for extra in sorted(brought, key=lambda extra: (len(brought[extra]), extra)):
            # One that is called as the module is for it, whatever the distribution is called.
            if brought[extra] & missing or (extra in missing and brought[extra]):
                used.append(extra)
                missing -= brought[extra]
        return tuple(sorted(used))

    def _required(self, extras: Sequence[str]) -> list[str]:
        """What the wheels need, with these extras of theirs."""
        return [line for wheel in self._wheels for line in wheel.requires if _holds(line, extras)]

    def _named(self, choice: Choice) -> Wanted:
        parts = [self._group(name) for name in choice.groups or ()]
        for extra in choice.extras or ():
            if canonicalize_name(extra) not in self.extras:
                raise ConfigError(_unknown("extras", extra, self.extras, "the project"))
            parts.append(Wanted(extras=(canonicalize_name(extra),), origin=f'extra "{extra}"'))
        for file in choice.requirements_files or ():
            if not (self.root / file).is_file():
                raise ConfigError(
                    f'`requirements_files` names "{file}", and there is no such file in the revision'
                )
            parts.append(_from_file(self.root, file))
        return _joined(parts) if parts else Wanted(origin="the settings name nothing")

    def _found(self) -> Wanted:
        for names in (_TEST, _DEV):
            for place in self._places(names):
                wanted = place()
                if wanted is not None and wanted.anything:
                    return wanted
        return next(self._that_name_pytest(), Wanted())

    def _places(self, names: tuple[str, ...]) -> Iterator[Callable[[], Wanted | None]]:
        """Where to look, best first: what the standards define before what one tool defines."""
        yield lambda: next((self._group(name) for name in names if self._has_group(name)), None)
        yield lambda: next(
            (Wanted(extras=(name,), origin=f'extra "{name}"') for name in names if name in self.extras), None
        )
        yield lambda: self._backend(names)
        if names == _TEST:
            yield self._tox
            yield self._nox
            yield self._setuptools
        yield lambda: next((_from_file(self.root, file) for file in files.find(self.root, names)), None)

    def _that_name_pytest(self) -> Iterator[Wanted]:
        """Groups and extras of any name, if pytest is among what they ask for."""
        for name in self._table("dependency-groups"):
            group = self._group(name)
            if any(asks_for_pytest(line) for line in group.lines):
                yield group
        for extra in sorted(self.extras):
            if any(asks_for_pytest(line, extra) for wheel in self._wheels for line in wheel.requires):
                yield Wanted(extras=(extra,), origin=f'extra "{extra}", which names pytest')

    def _group(self, name: str) -> Wanted:
        try:
            lines = backends.group(self._table("dependency-groups"), name)
        except backends.BadGroupError as error:
            raise ConfigError(str(error)) from None
        return _checked(Wanted(lines=tuple(lines), origin=f'dependency group "{name}" of pyproject.toml'))

    def _has_group(self, name: str) -> bool:
        return name in {canonicalize_name(group) for group in self._table("dependency-groups")}

    def _backend(self, names: tuple[str, ...]) -> Wanted | None:
        for found in backends.tables(self.pyproject.get("tool", {}), names):
            extras = tuple(extra for extra in map(canonicalize_name, found.extras) if extra in self.extras)
            grouped = _joined([self._group(group) for group in found.groups]) if found.groups else Wanted()
            wanted = Wanted(lines=(*found.lines, *grouped.lines), extras=extras, origin=f"[{found.table}]")
            if wanted.anything:
                return _checked(wanted)
        return None

    def _tox(self) -> Wanted | None:
        found = self.tox
        if found is None:
            return None
        own = _from_lines(self.root, found.lines, found.origin)
        return self._joined_with(own, found.groups, found.extras, found.origin)

    def _nox(self) -> Wanted | None:
        found = nox.read(self.root)
        if found is None:
            return None
        own = _from_lines(self.root, found.lines, found.origin)
        return self._joined_with(own, found.groups, found.extras, found.origin)

    def _joined_with(self, own: Wanted, groups: Sequence[str], extras: Sequence[str], origin: str) -> Wanted:
        """Lines, and the groups and extras of those named that the project has."""
        named = [self._group(group) for group in groups if self._has_group(canonicalize_name(group))]
        joined = _joined([own, *named])
        kept = tuple(e for e in map(canonicalize_name, (*extras, *joined.extras)) if e in self.extras)
        return joined.model_copy(update={"extras": kept, "origin": origin})

    def _setuptools(self) -> Wanted | None:
        file, lines = setuppy.tests_require(self.root)
        return (
            Wanted(lines=tuple(filter(_parsed, lines)), origin=f"tests_require of {file}") if lines else None
        )

    def _extras(self) -> frozenset[str]:
        if self._wheels:
            return frozenset(extra for wheel in self._wheels for extra in wheel.extras)
        return frozenset(self._optional())

    def _without_wheel(self, wanted: Wanted) -> Wanted:
        """No wheel brings the project's own dependencies and extras: they are written out."""
        lines = [*_strings(self._table("project").get("dependencies")), *wanted.lines]
        extras, seen = list(wanted.extras), set[str]()
        while extras:
            extra = extras.pop()
            seen.add(extra)
            more = self._optional().get(extra, [])
            lines += more
            # An extra may be made of others: shop[all] of shop[test].
            extras += [inner for line in more for inner in self._own_extras(line) if inner not in seen]
        return wanted.model_copy(update={"lines": tuple(lines), "extras": ()})

    def _for_use(self) -> Wanted:
        """What an application needs that is not built, where that does not stand in `[project]`."""
        if "dependencies" in self._table("project") or (self.root / "setup.py").is_file():
            return Wanted()
        poetry = backends.for_use(self.pyproject.get("tool", {}))
        if poetry:
            return _checked(Wanted(lines=tuple(poetry), origin="[tool.poetry.dependencies]"))
        file = files.for_use(self.root)
        return _from_file(self.root, file) if file else Wanted()

    def _without_itself(self, wanted: Wanted) -> Wanted:
        """The wheel, or the tree, stands for the project: no release of it may come from an index."""
        lines = tuple(line for line in wanted.lines if not self._is_own(line))
        extras = (*wanted.extras, *(extra for line in wanted.lines for extra in self._own_extras(line)))
        return wanted.model_copy(update={"lines": lines, "extras": tuple(dict.fromkeys(extras))})

    def _is_own(self, line: str) -> bool:
        requirement = _parsed(line)
        own = {wheel.name for wheel in self._wheels} | ({self.name} if self.name else set())
        return requirement is not None and canonicalize_name(requirement.name) in own

    def _own_extras(self, line: str) -> list[str]:
        requirement = _parsed(line) if self._is_own(line) else None
        named = sorted(requirement.extras) if requirement else []
        return [extra for extra in map(canonicalize_name, named) if extra in self.extras]

    def _optional(self) -> dict[str, list[str]]:
        declared = self._table("project").get("optional-dependencies", {})
        return {canonicalize_name(name): _strings(lines) for name, lines in declared.items()}

    def _table(self, name: str) -> dict[str, Any]:
        table = self.pyproject.get(name, {})
        return table if isinstance(table, dict) else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _pyproject(root: Path) -> dict[str, Any]:
    path = root / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"pyproject.toml can't be read: {error}") from None


def _from_file(root: Path, file: str) -> Wanted:
    return _from_lines(root, (f"-r {file}",), file)


def _from_lines(root: Path, lines: Sequence[str], origin: str) -> Wanted:
    read = files.flatten(root, lines)
    return Wanted(
        lines=read.lines,
        constraints=read.constraints,
        extras=read.extras,
        left_out=read.left_out,
        origin=origin,
    )


def _joined(parts: Sequence[Wanted]) -> Wanted:
    def all_of(field: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item for part in parts for item in getattr(part, field)))

    return Wanted(
        lines=all_of("lines"),
        constraints=all_of("constraints"),
        extras=all_of("extras"),
        left_out=all_of("left_out"),
        origin=", ".join(part.origin for part in parts),
    )


def _joined_for_use(wanted: Wanted, for_use: Wanted) -> Wanted:
    """With what the application needs, whose versions pip and the tests' own requirements share."""
    if not for_use.anything:
        return wanted
    origin = f"{wanted.origin}, and {for_use.origin}" if wanted.anything else for_use.origin
    return _joined([for_use, wanted]).model_copy(update={"origin": origin})


def _checked(wanted: Wanted) -> Wanted:
    for line in wanted.lines:
        if _parsed(line) is None:
            raise ConfigError(f'{wanted.origin}: "{line}" is not a requirement')
    return wanted


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _name(line: str) -> str:
    requirement = _parsed(line)
    return canonicalize_name(requirement.name) if requirement else ""


def _holds(line: str, extras: Sequence[str]) -> bool:
    """Whether a requirement of a wheel is one with these extras, as far as the Python here can tell."""
    requirement = _parsed(line)
    if requirement is None or requirement.marker is None:
        return True
    marker = requirement.marker
    return any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def asks_for_pytest(line: str, extra: str = "") -> bool:
    """Whether it is a requirement of pytest, or one that an extra has."""
    requirement = _parsed(line)
    if requirement is None or requirement.name.lower() != "pytest":
        return False
    marker = requirement.marker
    return not extra or (marker is not None and not marker.evaluate() and marker.evaluate({"extra": extra}))


def _unknown(setting: str, name: str, known: Sequence[str] | frozenset[str], whose: str) -> str:
    has = f"it has: {', '.join(sorted(known))}" if known else "it has none"
    return f'`{setting}` names "{name}", which {whose} does not define; {has}'
