"""A section's own keys → the settings of the plugin that it uses, whatever that plugin's model does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, JsonValue

from penstock import importing
from penstock.errors import in_words
from penstock.faults import Place, checked


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """While plugins' models check sections: what they print is no result, and Ctrl-C is not theirs."""
    try:
        with importing.guarded():
            yield
    except importing.Interrupted:
        raise KeyboardInterrupt from None


def read(
    model: type[BaseModel],
    table: object,
    source: Place,
    section: str,
    errors: list[str],
    *,
    plugin: str | None,
    also: Iterable[str] = (),
) -> dict[str, JsonValue] | None:
    """The settings as a plan holds them, or None with what is wrong with them added to `errors`.

    Validators and defaults are the plugin's code. What they raise, and values that are no JSON, are its
    fault, and are told as such.
    """
    try:
        made = checked(model, table, source, section, errors, also=also)
        values = None if made is None else _as_json(made)
    except importing.Interrupted:
        raise
    except BaseException as error:
        message = f'the plugin "{plugin}" failed when it checked these settings: {in_words(error)}'
        errors.append(source.error(section, "", message))
        return None
    unfit = {key: why for key, value in (values or {}).items() if (why := _unfit(value))}
    errors += [
        source.error(section, key, f"can't be part of a plan, which is JSON: {why}")
        for key, why in unfit.items()
    ]
    return None if unfit else values


def _as_json(made: BaseModel) -> dict[str, Any]:
    # Such as the model takes them again, where the step runs: under their aliases, and nothing computed.
    values: object = made.model_dump(mode="json", by_alias=True, round_trip=True)
    if not isinstance(values, dict):
        raise TypeError(f"its settings become {type(values).__name__}, and not a table")
    return values


def _unfit(value: object) -> str:
    """Why a value can't be written as JSON: NaN, half a character, a number of thousands of digits."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        return in_words(error)
    return ""
