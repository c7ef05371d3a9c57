"""A table of the configuration file → a model, or what is wrong with it in words for its author."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from penstock.errors import did_you_mean

_M = TypeVar("_M", bound=BaseModel)
_LONGEST = 80
"""Characters of a value that a message shows."""
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
"""What a number must be, by pydantic's name for the fault, and the name of its limit there."""
_MUST_BE = {
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
    "string": "a string",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
}
"""What is wanted, by the first word of pydantic's name for the fault."""


class Place(Protocol):
    """Where the table is from: says of a fault in it where that stands."""

    def error(self, section: str, key: str, message: str) -> str:
        """A message about a key."""


def checked(
    model: type[_M],
    table: object,
    source: Place,
    section: str,
    errors: list[str],
    *,
    also: Iterable[str] = (),
) -> _M | None:
    """The table as a model, or None with what is wrong with it added to `errors`."""
    if not isinstance(table, dict):
        errors.append(source.error(section, "", "must be a table"))
        return None
    names = _fields(model, ())
    unknown = [key for key in table if key not in names]
    errors.extend(source.error(section, key, _no_such_key(key, names, also)) for key in unknown)
    try:
        made = model.model_validate({key: value for key, value in table.items() if key not in unknown})
    except ValidationError as error:
        for key, faults in _faults(error, table).items():
            meant = faults[0]["type"] == "missing" and any(_near(word, [key]) for word in unknown)
            if not meant:  # it is there, misspelt: that is said already
                errors.append(source.error(section, key, _say(faults, model)))
        return None
    return None if unknown else made


def _faults(error: ValidationError, table: dict[str, Any]) -> dict[str, list[Any]]:
    """The faults by key. Of a union's many those that lie deepest, where it came nearest to being right."""
    found: dict[str, list[Any]] = {}
    for fault in error.errors(include_url=False):
        found.setdefault(_key(fault, table), []).append(fault)
    return {
        key: faults
        for key, faults in found.items()
        if not any(other.startswith(f"{key}.") for other in found)
    }


def _key(fault: Any, table: object) -> str:
    """Where in the table it is. Parts that are not in the table are pydantic's names for union members."""
    parts = []
    for part in fault["loc"]:
        inside: Any = table if isinstance(table, dict | list) else ()
        if part in (inside if isinstance(inside, dict) else range(len(inside))):
            table = inside[part]
        elif fault["type"] != "missing" or part != fault["loc"][-1]:
            continue
        parts.append(str(part))
    return ".".join(parts)


def _say(faults: list[Any], model: type[BaseModel]) -> str:
    """What is wrong with one key: of a union's many faults what a validator says, or all together."""
    worded = next((fault for fault in faults if fault["type"] in ("value_error", "assertion_error")), None)
    if worded:
        return str(worded["ctx"]["error"]) or "is refused by the plugin, which does not say why"
    fault = faults[0]
    kind, context, shown = fault["type"], fault.get("ctx", {}), _shown(fault["input"])
    if kind == "missing":
        return f"is missing. {_about(model, fault['loc'])}".rstrip(". ")
    if kind in ("literal_error", "enum"):
        allowed = str(context["expected"]).replace("'", '"')
        return f"{shown or 'this'} is none of the allowed values {allowed}"
    if kind == "extra_forbidden":
        return _no_such_key(str(fault["loc"][-1]), _fields(model, fault["loc"][:-1]))
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return f"must be {words} {context[limit]:g}, and not {shown}"
    wanted = dict.fromkeys(filter(None, (_wanted(fault["type"]) for fault in faults)))
    if wanted:
        return f"must be {' or '.join(wanted)}" + (f", and not {shown}" if shown else "")
    message = str(fault["msg"])[:1].lower() + str(fault["msg"])[1:]
    return message + (f", and not {shown}" if shown else "")


def _wanted(kind: str) -> str | None:
    """What would be right, where it is of another type."""
    right = kind.endswith(("_type", "_parsing", "_from_float"))
    return _MUST_BE.get(kind.partition("_")[0]) if right else None


def _about(model: type[BaseModel], path: tuple[Any, ...]) -> str:
    """What the settings model says of a key."""
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    return ((field.description or "") if field else "").rstrip(".")


def _shown(value: object) -> str:
    """A simple value as TOML writes it, unless it is long."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > 10**_LONGEST:  # Python writes no number of 5,000 digits
        return "so large a number"
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float | bool) else ""
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _no_such_key(key: str, allowed: Iterable[str], also: Iterable[str] = ()) -> str:
    names, core = sorted(allowed), list(also)
    rest = ", and those of every section" if core else ""
    can_be = f"The keys are {', '.join(names)}{rest}" if names else ""
    return f"there is no such key{did_you_mean(key, [*names, *core], otherwise=can_be)}"


def _near(name: str, known: Iterable[str]) -> bool:
    return bool(did_you_mean(name, known))


def _fields(model: type[BaseModel], path: Iterable[Any]) -> set[str]:
    """The keys that a table within a model's may have, where that is simple to say."""
    for part in path:
        if part == model.__name__:  # pydantic's name for one of several things that may stand here
            continue
        field = model.model_fields.get(part)
        inner = _table_of(field.annotation) if field is not None else None
        if inner is None:
            return set()
        model = inner
    return {field.alias or name for name, field in model.model_fields.items()}


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """The one model that a value may be, if there is one."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    models = [kind for kind in kinds if issubclass(kind, BaseModel)]
    return models[0] if len(models) == 1 else None
