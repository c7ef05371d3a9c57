"""Which targets of a rollout are changed together, and which share of traffic they get. Pure."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from penstock.keys import Rollout
from penstock.keys import Wave as Asked

_CANARY = tuple(Asked.model_construct(targets=share, share=1.0) for share in (0.1, 0.5, 1.0))


class Wave(NamedTuple):
    """Targets that are changed together."""

    names: tuple[str, ...]
    share: float = 1.0
    """Which share of their traffic those have, from this wave on, that have the release."""


def waves(settings: Rollout, names: Sequence[str]) -> tuple[Wave, ...]:
    """The waves of a rollout over these targets, in order: none of them is without anything to do."""
    if settings.strategy == "canary":
        return _canary(settings.waves or _CANARY, names)
    size = len(names)
    if settings.strategy == "rolling":
        size = _count(settings.batch, len(names))
    elif settings.strategy == "blue-green":
        size = _count(0.5, len(names))
    return tuple(Wave(tuple(names[start : start + size])) for start in range(0, len(names), size or 1))


def why_not(settings: Rollout, names: Sequence[str], shifting: Sequence[str]) -> str:
    """Why these targets, of which those can shift traffic, can't be moved in this way; empty if they can."""
    fixed = [name for name in names if name not in set(shifting)]
    if settings.strategy == "blue-green" and len(names) < 2:
        return "blue-green needs two targets at least, one for each half"
    if settings.strategy == "blue-green" and fixed:
        return f"blue-green shifts traffic between its halves, and {fixed[0]} can't shift any"
    if fixed and any(wave.share < 1 for wave in settings.waves):
        return f"a wave has a share of traffic, and {fixed[0]} can't shift any"
    return ""


def _canary(asked: Sequence[Asked], names: Sequence[str]) -> tuple[Wave, ...]:
    found: list[Wave] = []
    done = 0
    for wave in asked:
        upto = min(len(names), max(done, _count(wave.targets, len(names))))
        if upto > done or (found and found[-1].share != wave.share):
            found.append(Wave(tuple(names[done:upto]), wave.share))
        done = upto
    if done < len(names):
        found.append(Wave(tuple(names[done:])))
    return tuple(found)


def _count(size: float, of: int) -> int:
    # 7% of 100 are 7.000000000000001 for a computer, and must not be 8.
    return max(1, ceil(round(size * of, 6))) if isinstance(size, float) else size
