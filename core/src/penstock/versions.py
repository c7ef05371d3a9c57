"""The key `requires`: whether this version of Penstock is one that the project asks for."""

from __future__ import annotations

import re

from penstock import __version__
from penstock.configfile import ConfigFile
from penstock.errors import ConfigError


def check(requires: str, source: ConfigFile) -> None:
    """Raises ConfigError where this version of Penstock will not do."""
    for clause in requires.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|<|>|~=)\s*(\d+(?:\.\d+)*)\s*", clause)
        if match is None:
            raise ConfigError(
                source.error("penstock", "requires", f'"{clause}" is not a version bound, such as ">=0.1"')
            )
        if not _holds(__version__, match[1], match[2]):
            raise ConfigError(
                source.error(
                    "penstock",
                    "requires",
                    f"this is Penstock {__version__}, and the project asks for {requires}. "
                    f'Try: pip install "penstock{requires}"',
                )
            )


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.match(r"[\d.]+", text)[0].rstrip(".").split(".")]  # type: ignore[index]  # both callers pass versions
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _holds(version: str, operator: str, limit: str) -> bool:
    ours, bound = _version(version), _version(limit)
    if operator == "~=":  # "~=0.1" is any 0.…, "~=0.1.0" is any 0.1.…
        same = max(1, limit.count("."))
        filled = (0,) * same
        return ours >= bound and (*ours, *filled)[:same] == (*bound, *filled)[:same]
    return {
        ">=": ours >= bound,
        "<=": ours <= bound,
        "==": ours == bound,
        "!=": ours != bound,
        "<": ours < bound,
        ">": ours > bound,
    }[operator]
