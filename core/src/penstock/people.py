"""`[roles]`, and what an approve section's `by` names of them."""

from __future__ import annotations

import pwd
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.configfile import ConfigFile
from penstock.errors import did_you_mean

_LIKE = 'such as ["ana@example.com", "key:7942…38bb"]'


def roles(data: Mapping[str, Any], source: ConfigFile, errors: list[str]) -> dict[str, tuple[str, ...]]:
    """The roles with their members; what is wrong with one is added to `errors`."""
    found = {}
    table = data.get("roles", {})
    for name, members in table.items() if isinstance(table, dict) else ():
        if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
            errors.append(source.error("roles", name, f"must be a list of identities, {_LIKE}"))
        elif not members:
            errors.append(
                source.error("roles", name, f"has no member, so nobody could approve. Name some, {_LIKE}")
            )
        else:
            found[name] = tuple(members)
    return found


def check_by(
    section: str, by: Iterable[str], known: Mapping[str, Any], source: ConfigFile, errors: list[str]
) -> list[str]:
    """Add to `errors` what in `by` is a role misspelt; returns warnings of what nobody may be.

    An entry is a role or an identity: a key, a mail address, or a user's name.
    """
    warnings = []
    for entry in by:
        if entry in known or "@" in entry or ":" in entry or _is_user(entry):
            continue
        near = did_you_mean(entry, known)
        if near:
            errors.append(source.error(section, "by", f'"{entry}" is no role{near}'))
            continue
        there = f"The roles are {', '.join(known)}" if known else "There is no section [roles]"
        what = f'"{entry}" is no role and no user of this machine. {there}'
        warnings.append(
            source.error(section, "by", f"{what}. Unless it is a user elsewhere, nobody can approve")
        )
    return warnings


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True
