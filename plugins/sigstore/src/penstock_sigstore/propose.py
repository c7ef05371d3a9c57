"""What `penstock init` says about the key that signs. Makes none: the first run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock import Proposal

from penstock_sigstore.keyring import Entry, user_keyring

_VARIABLE = "PENSTOCK_KEY_PASSPHRASE"


def propose(section: str) -> Proposal:
    """A sign section, by the default key. Raises BadKeyError where the key directory can't be used."""
    keyring = user_keyring()
    keyring.default()  # where it names no key, that is to be put right first
    entry = next((entry for entry in keyring.entries() if entry.default), None)
    if entry is None:
        return Proposal(
            saw=f"no key yet: the first run makes one in {_shown(keyring.root)} (0600, unencrypted; "
            "`penstock keys encrypt` adds a passphrase)",
            sections={section: {}},
        )
    if not entry.private:
        return Proposal(
            saw=f"your key {_short(entry)}, of which only the public half is there",
            unsure=("not added: nothing can be signed with it. Name another: penstock keys default ID",),
            enable=False,
        )
    settings: dict[str, Any] = {"secrets": {_VARIABLE: f"env:{_VARIABLE}"}} if entry.encrypted else {}
    return Proposal(
        saw=f"signs with your key {_short(entry)}, {'encrypted' if entry.encrypted else 'unencrypted'}",
        sections={section: settings},
        unsure=(f"a run needs its passphrase in the variable {_VARIABLE}",) if entry.encrypted else (),
    )


def _short(entry: Entry) -> str:
    return f"{entry.id[:4]}…{entry.id[-4:]}"


def _shown(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
