"""Labels: what the machine is that runs steps, and what a step says it must be."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

_SAME = ({"x86_64", "amd64"}, {"aarch64", "arm64"}, {"darwin", "macos"})
"""Names of one thing on different systems."""


def local() -> frozenset[str]:
    """The labels of this machine."""
    system = os.uname()
    os_names, machines = _names(system.sysname.lower()), _names(system.machine.lower())
    return frozenset(("local", *(f"os={name}" for name in os_names), *(f"arch={name}" for name in machines)))


def lacking(labels: Iterable[str], offered: Collection[str]) -> str:
    """What to say where a step asks for labels that are not offered."""
    asked = " and ".join(f'"{label}"' for label in labels)
    return f"nothing that runs steps here offers {asked}. What is offered: {', '.join(sorted(offered))}"


def _names(name: str) -> set[str]:
    return next((same for same in _SAME if name in same), {name})
