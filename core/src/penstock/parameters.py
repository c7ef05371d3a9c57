"""`[parameters]`: what a run can be given with `--set`, and what it was given."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, Strict

from penstock.configfile import ConfigFile
from penstock.errors import ConfigError, did_you_mean
from penstock.faults import checked
from penstock.model import Model

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_SHOWN = 60

Given = Annotated[bool, Strict()] | Annotated[int, Strict()] | Annotated[str, Strict()]
"""A parameter's value."""


class Parameter(Model):
    """Something that whoever starts a run may say."""

    default: Given = Field(description="What it is where nobody says; its type is that of the parameter.")
    choices: tuple[Given, ...] = Field(default=(), description="What it may be; otherwise anything.")
    description: str = Field(default="", description="What it is for.")

    def read(self, text: str) -> Given:
        """A value from the command line. Raises ConfigError where it is none of this parameter's."""
        found = _read(text, self.default)
        if found is None:
            wanted = "true or false" if isinstance(self.default, bool) else "a whole number"
            raise ConfigError(f"must be {wanted}, and not {_quoted(text)}")
        if self.choices and found not in self.choices:
            names = [_written(choice) for choice in self.choices]
            can_be = f"It can be {', '.join(names)}"
            raise ConfigError(f"{_quoted(text)} is no choice{did_you_mean(text, names, otherwise=can_be)}")
        return found


def read_parameters(data: Mapping[str, Any], source: ConfigFile, errors: list[str]) -> dict[str, Parameter]:
    """The parameters of a configuration; what is wrong with one is added to `errors`."""
    found: dict[str, Parameter] = {}
    table = data.get("parameters", {})
    for name, entry in table.items() if isinstance(table, dict) else ():
        if not re.fullmatch(_NAME, name):
            message = "a parameter's name is made of letters, digits and _, and begins with no digit"
            errors.append(source.error("parameters", name, message))
        elif not isinstance(entry, str | int | dict):
            message = "must be a string, a whole number, true or false, or a table with a default that is one"
            errors.append(source.error("parameters", name, message))
        elif twin := next((other for other in found if other.upper() == name.upper()), None):
            message = f'"{twin}" is there already: steps find both under {variable(name)}'
            errors.append(source.error("parameters", name, message))
        else:
            whole = entry if isinstance(entry, dict) else {"default": entry}  # a value alone is the default
            place = f"parameters.{name}" if isinstance(entry, dict) else "parameters"
            made = checked(Parameter, whole, source, place, errors)
            fault = _fault(made) if made else ""
            if fault:
                errors.append(source.error(place, "choices", fault))
            elif made:
                found[name] = made
    return found


def effective(declared: Mapping[str, Parameter], words: Iterable[str]) -> dict[str, Given]:
    """The values of all parameters; `words` are such as `deploy=yes`. Raises ConfigError for a wrong one."""
    given: dict[str, Given] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"--set: {_quoted(word)} has no value. Write it such as --set {name}=VALUE")
        if name not in declared:
            there = f"The parameters are {', '.join(declared)}" if declared else _NONE
            near = did_you_mean(name, declared, otherwise=there)
            raise ConfigError(f"--set: there is no parameter {_quoted(name)}{near}")
        if name in given:
            raise ConfigError(f"--set: {name} is given twice")
        try:
            given[name] = declared[name].read(text)
        except ConfigError as error:
            raise ConfigError(f"--set: {name}: {error}") from None
    return {name: given.get(name, parameter.default) for name, parameter in declared.items()}


def variable(name: str) -> str:
    """The environment variable in which steps find a parameter."""
    return f"PENSTOCK_PARAM_{name.upper()}"


def variables(values: Mapping[str, object]) -> dict[str, str]:
    """All parameters as the environment variables in which steps find them."""
    return {variable(name): as_text(value) for name, value in values.items()}


def as_text(value: object) -> str:
    """A parameter's value as an environment variable has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_NONE = "The configuration declares none. Add one: [parameters], then NAME = { default = … }"


def _fault(parameter: Parameter) -> str:
    kind = type(parameter.default)
    other = next((choice for choice in parameter.choices if type(choice) is not kind), None)
    if other is not None:
        return f"{_written(other)} is of another type than the default {_written(parameter.default)}"
    if parameter.choices and parameter.default not in parameter.choices:
        return f"the default {_written(parameter.default)} is not among them"
    unfit = next(
        (v for v in (parameter.default, *parameter.choices) if isinstance(v, str) and "\0" in v), None
    )
    return "a value holds a NUL character, which no environment variable can" if unfit is not None else ""


def _read(text: str, like: Given) -> Given | None:
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text)
    if isinstance(like, int):
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("the value is not UTF-8") from None
    return text


def _written(value: Given) -> str:
    return value if isinstance(value, str) else as_text(value)


def _quoted(text: str) -> str:
    shown = json.dumps(text, ensure_ascii=not text.isprintable())
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
