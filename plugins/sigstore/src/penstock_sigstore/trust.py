"""Which key signs, and whose signatures count: the key that the settings name, and those under `trusted`.

A key is never trusted because a bundle names it or because it lies in the key directory. Nothing is
looked up relative to the current directory: where somebody stands must not decide whom they trust.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_sigstore import pem
from penstock_sigstore.keyring import home_directory, user_keyring
from penstock_sigstore.pem import BadKeyError, Passphrase, PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_KEY_ID = re.compile(r"[0-9a-f]{8,64}")


def check_key_name(name: str) -> str:
    """Settings: a key's id, or the absolute path of a key file."""
    if "PRIVATE KEY" in name:  # and the value is not repeated
        raise ValueError("a private key does not belong into penstock.toml. Give its id or its path")
    if _KEY_ID.fullmatch(name) or (name.startswith(("/", "~/")) and "\0" not in name):
        return name
    raise ValueError(
        f'"{name[:80]}" names no key. Give the first 8 or more digits of its id (see: penstock keys list), '
        'or the path of a PEM file that starts with "/" or "~/"'
    )


def check_trusted_name(name: str) -> str:
    """Settings: as `check_key_name`, or the public key itself."""
    return name if _is_pem(name) and "PRIVATE KEY" not in name else check_key_name(name)


def signing_key(
    name: str | None, passphrase: Passphrase
) -> tuple[EllipticCurvePrivateKey, PublicKey, str | None]:
    """The key to sign with, its public half, and the id of the default key if that was made just now.

    Raises BadKeyError where there is no such key, or it can't be used.
    """
    if name and not _KEY_ID.fullmatch(name):
        path = _path(name)
        key = pem.load_private(pem.read_file(path, private=True), str(path), passphrase)
        return key, pem.public_half(key), None
    keyring, made = user_keyring(), False
    if name:
        key_id = keyring.find(name)
    else:
        key_id, made = keyring.ensure_default()
    key = keyring.private(key_id, passphrase)
    return key, pem.public_half(key), key_id if made else None


def trusted_keys(name: str | None, further: Iterable[str]) -> dict[str, PublicKey]:
    """The keys whose signatures count, by id. Asks for no passphrase and makes no key.

    Raises BadKeyError where one of them can't be read, and where there is none at all.
    """
    keys = [_public_of_signer(name), *(_public(entry) for entry in further)]
    found = {key.id: key for key in keys if key}
    if not found:
        raise BadKeyError(
            f"there is no key to check signatures with: {user_keyring().root} has no default key yet, and "
            "the settings trust no other. Put the signer's public key (penstock keys show) under `trusted`"
        )
    return found


def _public_of_signer(name: str | None) -> PublicKey | None:
    if name is None:
        keyring = user_keyring()
        default = keyring.default()
        return keyring.public(default) if default else None
    if _KEY_ID.fullmatch(name):
        return _public(name)
    path = _path(name)
    beside = path.with_suffix(".pub")
    if pem.exists(beside):
        return _public_file(beside)
    # An encrypted key's public half can't be read out of it, and a check is never asked for a passphrase.
    return pem.public_half(
        pem.load_private(pem.read_file(path, private=True), str(path), lambda: _ask_for_public(path, beside))
    )


def _public(name: str) -> PublicKey:
    if _is_pem(name):
        return pem.load_public(name, "the public key under `trusted`")
    if _KEY_ID.fullmatch(name):
        keyring = user_keyring()
        return keyring.public(keyring.find(name))
    return _public_file(_path(name))


def _public_file(path: Path) -> PublicKey:
    return pem.load_public(pem.read_file(path, private=False).decode(errors="replace"), str(path))


def _path(name: str) -> Path:
    return home_directory() / name[2:] if name.startswith("~/") else Path(name)


def _is_pem(name: str) -> bool:
    return name.lstrip().startswith("-----BEGIN")


def _ask_for_public(path: Path, beside: Path) -> str:
    raise BadKeyError(
        f"the key {path} is encrypted, and its public half is not beside it. Write it there: "
        f"openssl pkey -in {shlex.quote(str(path))} -pubout -out {shlex.quote(str(beside))}"
    )
