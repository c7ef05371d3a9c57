"""What names, variables, references to secrets and globs in a section look like: types for its keys."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Strict, WithJsonSchema

from penstock.model import Percentage

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_REFERENCE = r"[a-z][a-z0-9+.-]*:.+"
_LABEL = r"[A-Za-z0-9][A-Za-z0-9._/:+-]{0,62}(=[A-Za-z0-9._/:+-]{1,63})?"
_STARS = r"(^|/)([^/]+\*\*[^/]*|\*\*[^/]+)(/|$)"


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            f"{_quoted(value)} is no name: a name is made of at most 63 letters, digits, - and _"
        )
    return value


def _check_title(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > 200:
        raise ValueError("must be a name of one line, such as the project's")
    return value


def _check_variables(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        _check_variable(name)
        if "\0" in text:
            raise ValueError(f"{name} holds a NUL character, which no environment variable can")
    return value


def _check_variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{_quoted(name)} is no name of an environment variable. One is such as PORT")
    return name


def _check_secrets(value: object) -> object:
    """References to secrets. What is wrong with one is not shown: it may be the secret itself."""
    if not isinstance(value, dict):
        raise ValueError('must be a table, such as { TOKEN = "env:TOKEN" }')
    for name, reference in value.items():
        _check_variable(name)
        if not isinstance(reference, str) or not re.fullmatch(_REFERENCE, reference):
            raise ValueError(
                f'{name} must say where the secret is, such as "env:{name}" or "file:PATH". If the secret '
                "itself stands here, take it out, and make a new one: it may have been read"
            )
    return value


def _check_labels(value: object) -> object:
    """A list of labels, or a table of them; as a list, each once."""
    if isinstance(value, dict):
        found: list[object] = []
        for name, text in value.items():
            if not isinstance(text, str) or not text or "=" in name:
                raise ValueError(f'{_quoted(name)} must be a string, such as {{ os = "linux" }}')
            found.append(f"{name}={text}")
    elif isinstance(value, list | tuple):
        found = list(value)
    else:
        raise ValueError('must be a list, such as ["os=linux", "gpu"], or a table, such as { os = "linux" }')
    for label in found:
        if not isinstance(label, str) or not re.fullmatch(_LABEL, label):
            raise ValueError(
                f'{_said(label)} is no label. One is a word such as "gpu", or such as "os=linux"'
            )
    return tuple(dict.fromkeys(found))


def _check_glob(value: str) -> str:
    return _glob(value, "workspace", '"dist/*"')


def _glob(value: str, of: str, such_as: str) -> str:
    if not value or "\0" in value or value.strip("/.") == "":
        raise ValueError(f"{_quoted(value)} names no file. A glob is such as {such_as}")
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{_quoted(value)} leads out of the {of}. A glob is such as {such_as}")
    if re.search(_STARS, value):
        raise ValueError(f'in {_quoted(value)}, "**" must stand alone between slashes, as in "dist/**/*.whl"')
    return value


def _check_pattern(value: str) -> str:
    _glob(value.removeprefix("!"), "source", '"src/**"')
    return value


def _check_batch(value: object) -> object:
    """A number of targets or a share of them; a share that was read before is a number up to 1."""
    if isinstance(value, str):
        percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)
        good = percent is not None and 0 < float(percent[1]) <= 100
    else:
        good = (type(value) is int and value > 0) or (isinstance(value, float) and 0 < value <= 1)
    if not good:
        raise ValueError(f'{_said(value)} is no batch. One is a number of targets, or a share such as "25%"')
    return value


def _said(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    return str(value).lower() if isinstance(value, bool | float) or value in range(-99, 100) else "this"


def _quoted(value: str) -> str:
    return f'"{value}"' if value.isprintable() else ascii(value).replace("'", '"')


Name = Annotated[str, AfterValidator(_check_name)]
"""What sections and environments are called."""
Title = Annotated[str, AfterValidator(_check_title)]
"""One line for people."""
Variable = Annotated[str, AfterValidator(_check_variable)]
"""An environment variable's name."""
Variables = Annotated[dict[str, str], AfterValidator(_check_variables)]
"""Environment variables."""
Secrets = Annotated[dict[str, str], BeforeValidator(_check_secrets)]
"""References to secrets, by the variables that they are handed over in."""
Labels = Annotated[
    tuple[str, ...],
    BeforeValidator(_check_labels),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "string"}},
            ]
        }
    ),
]
"""What a machine must be; as `name` or `name=value`."""
Glob = Annotated[str, AfterValidator(_check_glob)]
"""Files in the workspace."""
Pattern = Annotated[str, AfterValidator(_check_pattern)]
"""Files of the source that count, or with a "!" before it, that do not."""
Batch = Annotated[Annotated[int, Strict()] | Percentage, BeforeValidator(_check_batch)]
"""How many targets at a time."""
_COUNT = {"type": "integer", "minimum": 1}
_SHARE = {"type": "string", "pattern": r"^\d+(\.\d+)?%$"}
WAVE = {
    "anyOf": [
        _COUNT,
        _SHARE,
        {
            "type": "object",
            "properties": {"targets": {"anyOf": [_COUNT, _SHARE]}, "share": _SHARE},
            "required": ["targets"],
            "additionalProperties": False,
        },
    ]
}
"""A wave of a canary, as JSON Schema."""
