"""Types for settings that carry their unit: durations, percentages, amounts of memory."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 3650 * 86400.0  # ten years: what is longer is a slip, and more than clocks can count
_DURATION = r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)"
_DURATION_WHOLE = r"^\s*(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$"


def _seconds(value: object) -> object:
    seconds = _counted(value)
    if seconds is not None and seconds > _LONGEST:
        raise ValueError(f"{_written(value)}is longer than ten years, the longest of durations")
    if seconds is None or not seconds >= 0:  # NaN compares with nothing
        raise ValueError(f'{_written(value)}is not a duration. Durations are such as "30s", "5m" or "1h30m"')
    return seconds


def _counted(value: object) -> float | None:
    if isinstance(value, str) and re.match(_DURATION_WHOLE, value):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_DURATION, value))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _written(value: object) -> str:
    """A simple value as it was written, short; and what leads from it to a verb."""
    if isinstance(value, bool):
        return f"{str(value).lower()} "
    if isinstance(value, str):
        return f'"{value[:40]}" ' if value.isprintable() else "this "
    small = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**12)
    return f"{value:.12g} " if small else "this "


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0, le=_LONGEST, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": _LONGEST},
                {"type": "string", "pattern": _DURATION_WHOLE},
            ]
        }
    ),
]
"""Seconds; written as a number or as "500ms", "30s", "5m", "1h30m", "2d"."""


def _share(value: object) -> object:
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f'{_written(value)}is not a percentage. Percentages are such as "10%"')
        return value
    number = value.removesuffix("%").strip()
    if not value.endswith("%") or not re.fullmatch(r"\d+(\.\d+)?", number):
        raise ValueError(f'{_written(value)}is not a percentage. Percentages are such as "10%"')
    if float(number) > 100:
        raise ValueError(f'"{value}" is more than 100%')
    return float(number) / 100


Percentage = Annotated[
    float,
    BeforeValidator(_share),
    Field(ge=0, le=1),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$"}),
]
"""A share between 0 and 1; written as "10%"."""


_MEMORY = r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(i?)b?\s*"
_MOST = 2**60


def _bytes(value: object) -> int:
    count = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (match := re.fullmatch(_MEMORY, value, re.IGNORECASE)):
        number, unit, binary = match.groups()
        count = int(
            float(number) * (1024 if binary else 1000) ** ("kmgt".find(unit.lower()) + 1 if unit else 0)
        )
    if not 0 < count <= _MOST:
        raise ValueError(
            f'{_written(value)}is not an amount of memory. Amounts are such as "512MB" or "2GiB"'
        )
    return count


Memory = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgGtT][iI]?)?[bB]?\s*$"},
            ]
        }
    ),
]
"""Bytes; written as a number or as "512MB" (of a thousand each) or "2GiB" (of 1024)."""
