"""A table of the configuration file → a model, or what is wrong with it in words for its author."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from penstock.errors import did_you_mean

_M = TypeVar("_M", bound=BaseModel)
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
        errors.extend(
            source.error(section, key, _say(fault, model)) for key, fault in _faults(error, table).items()
        )
        return None
    return None if unknown else made


def _faults(error: ValidationError, table: dict[str, Any]) -> dict[str, Any]:
    """One fault a key: of a union's many the one that a validator of ours worded, or else the first."""
    found: dict[str, Any] = {}
    for fault in error.errors(include_url=False):
        key = _key(fault, table)
        if key not in found or (fault["type"] == "value_error" != found[key]["type"]):
            found[key] = fault
    return found


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


def _say(fault: Any, model: type[BaseModel]) -> str:
    kind, context, found = fault["type"], fault.get("ctx", {}), fault["input"]
    shown = _shown(found)
    if kind == "missing":
        return "is missing"
    if kind in ("literal_error", "enum"):
        allowed = str(context["expected"]).replace("'", '"')
        return f"{shown or 'this'} is none of the allowed values {allowed}"
    if kind == "extra_forbidden":
        return _no_such_key(str(fault["loc"][-1]), _fields(model, fault["loc"][:-1]))
    if kind == "value_error":
        return str(context["error"])
    wanted = _MUST_BE.get(kind.partition("_")[0])
    if wanted and kind.endswith(("_type", "_parsing", "_from_float")):
        return f"must be {wanted}" + (f", and not {shown}" if shown else "")
    message = str(fault["msg"])[:1].lower() + str(fault["msg"])[1:]
    return message + (f", and not {shown}" if shown else "")


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float | bool) else ""


def _no_such_key(key: str, allowed: Iterable[str], also: Iterable[str] = ()) -> str:
    names = sorted(allowed)
    can_be = f"The keys are {', '.join(names)}" if names else ""
    return f"there is no such key{did_you_mean(key, [*names, *also], otherwise=can_be)}"


def _fields(model: type[BaseModel], path: Iterable[Any]) -> set[str]:
    """The keys that a table within a model's may have, where that is simple to say."""
    for part in path:
        field = model.model_fields.get(part)
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return set()
        model = field.annotation
    return {field.alias or name for name, field in model.model_fields.items()}
