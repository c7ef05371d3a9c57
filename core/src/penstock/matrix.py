"""A section with a `matrix` → its variants, each the section with other values under some of its keys. Pure.

A variant is checked as a section that somebody wrote by hand: what a key may be is not known here.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MOST = 256
"""How many variants a section may have."""
_LONGEST = 200
"""Characters of a variant's name: a log file is named after it."""
_LISTS = ("include", "exclude")
_NEVER = {
    "uses": "a section has one plugin: write a section for each",
    "matrix": "a matrix has no matrix in it",
}
_EXAMPLE = 'such as matrix = { python = ["3.11", "3.12"] }'


class MatrixFault(Exception):
    """What is wrong with a matrix, and at which key of the section."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


class Variant(NamedTuple):
    """One combination: how its step is named, and its section as if somebody had written it."""

    label: str
    table: dict[str, Any]
    keys: frozenset[str]
    """What its table has from the matrix: keys, and such as `env.NAME`."""
    values: dict[str, Any] = field(default_factory=dict)
    """By axis."""


@dataclass(eq=False, repr=False)
class _Combination:
    values: dict[str, Any]
    """By axis, in the order of the axes."""
    more: dict[str, Any] = field(default_factory=dict)

    def has(self, values: Mapping[str, Any]) -> bool:
        return all(_same(self.values[key], value) for key, value in values.items())


def base_of(name: str) -> str:
    """The section that a step comes from: `test.unit` of `test.unit[python=3.12]`."""
    return name.partition("[")[0]


def variants(name: str, table: Mapping[str, Any]) -> list[Variant]:
    """The variants of a section that has a `matrix`. Raises MatrixFault where it is wrong."""
    matrix = table["matrix"]
    if not isinstance(matrix, dict):
        raise MatrixFault("matrix", f"must be a table, {_EXAMPLE}")
    include, exclude = (_entries(matrix, key) for key in _LISTS)
    axes = {key: values for key, values in matrix.items() if key not in _LISTS}
    for key, values in axes.items():
        _check_axis(key, values)
    for number, entry in enumerate(include):
        for key in entry:
            _check_key(key, f"matrix.include.{number}.{key}")
    combinations = _product(axes)
    for number, entry in enumerate(exclude):
        combinations = _without(combinations, entry, axes, f"matrix.exclude.{number}")
    names = list(axes) or _shared(include)
    for number, entry in enumerate(include):
        _include(combinations, entry, names, f"matrix.include.{number}")
    if not combinations:
        what = (
            "leaves no variant: all of them are excluded"
            if axes
            else f"is empty. It names values, {_EXAMPLE}"
        )
        raise MatrixFault("matrix", what)
    if len(combinations) > MOST:
        raise MatrixFault("matrix", f"has {len(combinations)} variants; at most {MOST} are allowed")
    found = [_variant(combination, table) for combination in combinations]
    _check_names(name, found)
    return found


def _entries(matrix: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = matrix.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise MatrixFault(
            f"matrix.{key}", f'must be a list of tables, such as {key} = [{{ python = "3.12" }}]'
        )
    for number, entry in enumerate(found):
        if not entry:
            raise MatrixFault(f"matrix.{key}.{number}", "is empty")
    return found


def _check_axis(key: str, values: object) -> None:
    place = f"matrix.{key}"
    _check_key(key, place)
    if not isinstance(values, list):
        if key == "env" and isinstance(values, dict) and values:
            name = next(iter(values))
            raise MatrixFault(place, f'write the axis of a variable in quotes: "env.{name}" = ["…", "…"]')
        raise MatrixFault(place, f"must be a list of values, {_EXAMPLE}")
    if not values:
        raise MatrixFault(place, "is an empty list: there would be no variant")
    seen: list[object] = []
    for value in values:
        _check_value(value, place)
        if any(_same(value, other) for other in seen):
            raise MatrixFault(place, f"names {json.dumps(value, ensure_ascii=False)} twice")
        seen.append(value)


def _check_key(key: str, place: str) -> None:
    if key in _NEVER:
        raise MatrixFault(place, f"can't differ between variants: {_NEVER[key]}")


def _check_value(value: object, place: str) -> None:
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str | int | float | bool) for part in parts):
        what = "a value is a string, a number, true or false, or a list of such: the step is named after it"
        raise MatrixFault(place, what)


def _product(axes: Mapping[str, list[Any]]) -> list[_Combination]:
    if not axes:
        return []
    count = math.prod(len(values) for values in axes.values())
    if count > MOST:
        raise MatrixFault("matrix", f"has {count} combinations; at most {MOST} are allowed")
    return [
        _Combination(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())
    ]


def _without(
    combinations: list[_Combination], entry: Mapping[str, Any], axes: Iterable[str], place: str
) -> list[_Combination]:
    for key in entry:
        if key not in axes:
            raise MatrixFault(f"{place}.{key}", f"is no axis. The axes are {', '.join(axes) or 'none'}")
    left = [combination for combination in combinations if not combination.has(entry)]
    if len(left) == len(combinations):
        raise MatrixFault(place, f"excludes nothing: no combination has {_shown(entry)}")
    return left


def _shared(include: list[dict[str, Any]]) -> list[str]:
    """The axes of a matrix that lists its combinations: the keys that all of them have."""
    if not include:
        return []
    shared = [key for key in include[0] if all(key in entry for entry in include)]
    if not shared:
        raise MatrixFault("matrix.include", "its entries have no key in common that could tell them apart")
    return shared


def _include(combinations: list[_Combination], entry: Mapping[str, Any], axes: list[str], place: str) -> None:
    """Add an entry's further keys to the combinations that it matches, or it as one of its own."""
    named = {key: entry[key] for key in axes if key in entry}
    more = {key: value for key, value in entry.items() if key not in named}
    if not named:
        what = "what all variants have stands in the section itself"
        raise MatrixFault(place, f"names none of the axes ({', '.join(axes)}): {what}")
    matching = [combination for combination in combinations if combination.has(named)]
    if matching and not more:
        raise MatrixFault(place, f"adds nothing: {_shown(named)} is there already")
    for combination in matching:
        combination.more |= more
    if matching:
        return
    missing = [key for key in axes if key not in named]
    if missing:
        raise MatrixFault(
            place, f"matches no combination, and to be one of its own it has to name {', '.join(missing)} too"
        )
    for key, value in named.items():
        _check_value(value, f"{place}.{key}")
    combinations.append(_Combination(named, more))


def _variant(combination: _Combination, table: Mapping[str, Any]) -> Variant:
    made = {key: value for key, value in table.items() if key != "matrix"}
    for key, value in (combination.more | combination.values).items():
        first, _, variable = key.partition(".")
        if first == "env" and variable:
            env = made.get("env", {})
            made["env"] = {**env, variable: value} if isinstance(env, dict) else env
        else:
            made[key] = value
    label = ",".join(f"{_safe(key)}={_word(value)}" for key, value in combination.values.items())
    return Variant(label, made, frozenset((*combination.more, *combination.values)), dict(combination.values))


def _word(value: object) -> str:
    if isinstance(value, list):
        return "+".join(_word(entry) for entry in value)
    return _safe(str(value).lower() if isinstance(value, bool) else str(value))


def _safe(text: str) -> str:
    """A text as part of a name: of a file's, too."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", text)


def _check_names(name: str, found: list[Variant]) -> None:
    seen: set[str] = set()
    for variant in found:
        full = f"{name}[{variant.label}]"
        if variant.label in seen:
            raise MatrixFault(
                "matrix",
                f"two variants would be named {full}. In a name every character but letters, digits and "
                ". _ + - becomes _: values have to differ in these",
            )
        if len(full) > _LONGEST:
            raise MatrixFault("matrix", f"the name {full[:60]}… is longer than {_LONGEST} characters")
        seen.add(variant.label)


def _same(one: object, other: object) -> bool:
    """Whether two values are the same in TOML: 1 is not true, and not 1.0."""
    return json.dumps(one, sort_keys=True, default=repr) == json.dumps(other, sort_keys=True, default=repr)


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}" for key, value in values.items()
    )
