"""Sections as text, made from the settings models: what is set, what else can be, and what it does."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from penstock.cli.schema import FIRST_LINE

_WIDTH = 110
_SHOWN = 4
"""So many further keys are shown with their defaults; the others are named."""
_HEAD = f"""\
{FIRST_LINE}
# What becomes of a change, from its source to where it runs. A section is a step; steps wait for those of
# the phase before. A key behind a # shows its default: take the # away to set another.
#
#   penstock validate             is this file right?
#   penstock plan                 the steps in their order, and why each waits
#   penstock plugins info NAME    all that a section may say
"""


def head(plugins: list[str]) -> str:
    """The beginning of a new file."""
    return f'{_HEAD}\n[penstock]\nrequires = ">=0.1"\nplugins = {toml(plugins)}\n'


def section(
    header: str,
    uses: str | None,
    settings: Mapping[str, Any],
    model: type[BaseModel],
) -> str:
    """A section: its settings, then those that it leaves at their defaults, behind a #."""
    what = _first_sentence(inspect.getdoc(model) or "")
    lines = [f"# {what}."] if what else []
    lines.append(f"[{header}]")
    if uses is not None:
        lines.append(f"uses = {toml(uses)}")
    for key, value in settings.items():
        if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            lines += [f"{key} = [", *(f"  {toml(item)}," for item in value), "]"]
        else:
            lines.append(_with_comment(f"{key} = {toml(value)}", model.model_fields.get(key)))
    return "\n".join([*lines, *_others(settings, model)]) + "\n"


def _others(settings: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    rest: list[str] = []
    shown = 0
    durations = _durations(model)
    for key, field in model.model_fields.items():
        if key in settings:
            continue
        if field.is_required():
            yield _with_comment(f"# {key} = …", field, before="REQUIRED: ")
            continue
        value = _example(field, duration=key in durations)
        if value is None or shown == _SHOWN:
            rest.append(key)
            continue
        shown += 1
        yield _with_comment(f"# {key} = {value}", field)
    if rest:
        yield from textwrap.wrap(
            ", ".join(rest),
            _WIDTH,
            initial_indent="# And: ",
            subsequent_indent="#   ",
            break_on_hyphens=False,
        )


def _example(field: FieldInfo, *, duration: bool) -> str | None:
    """What a key could be set to: its default, or else an example that its author gives."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None and field.examples:
        value = field.examples[0]
    if value is None:
        return None
    return toml(_duration(value) if duration and isinstance(value, int | float) else value)


def _with_comment(line: str, field: FieldInfo | None, before: str = "") -> str:
    if field is None or not field.description:
        return line
    room = max(_WIDTH - len(line) - 4, 40)
    return f"{line}  # {_shortened(before + _first_sentence(field.description), room)}"


def _shortened(text: str, room: int) -> str:
    """The beginning of a text: up to the last comma or the like that fits, or else the last word."""
    if len(text) <= room:
        return text
    ends = [found.start() for found in re.finditer(r"[,;:] | \(", text) if 20 < found.start() <= room]
    whole = [text[:end] for end in ends if text[:end].count("(") == text[:end].count(")")]
    return whole[-1] if whole else textwrap.shorten(text, room, placeholder=" …")


def _first_sentence(text: str) -> str:
    whole = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"\.(?: |$)", whole, maxsplit=1)[0]


def _durations(model: type[BaseModel]) -> set[str]:
    """The keys that hold a length of time: written with its unit, it can be read."""
    properties = model.model_json_schema().get("properties", {})
    return {key for key, schema in properties.items() if "ms|s|m|h|d" in json.dumps(schema)}


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def toml(value: Any) -> str:
    """A value of JSON's kinds as TOML."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        inner = [f"{_key(key)} = {toml(item)}" for key, item in value.items() if item is not None]
        return "{ " + ", ".join(inner) + " }" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    # TOML's strings are JSON's, but for one character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: object) -> str:
    return str(key) if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else toml(str(key))
