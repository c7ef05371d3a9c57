"""Keys as text: P-256 keys read from PEM and written to it, with a clear message for all that is none."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

Passphrase = Callable[[], str]
"""Asked only where a key turns out to be encrypted; raises BadKeyError where there is none to give."""

_LARGEST = 64 * 1024  # bytes; a P-256 key takes 250


class BadKeyError(ConfigError):
    """A key that can't be used, or isn't there. The message says what to do."""


@dataclass(frozen=True)
class PublicKey:
    """The public half of a key, known by its fingerprint."""

    pem: str

    @property
    def id(self) -> str:
        """The SHA-256 of the PEM text, in hexadecimal: the key's name, and the hint in its bundles."""
        return hashlib.sha256(self.pem.encode()).hexdigest()

    def load(self) -> EllipticCurvePublicKey:
        """The key as `cryptography` has it."""
        return _load_public(self.pem.encode(), "the key")


def read_file(path: Path, *, private: bool) -> bytes:
    """The bytes of a key file.

    Raises BadKeyError where it can't be read, or where others may read a private key or change a public
    one.
    """
    try:
        # A FIFO in place of a key must not make a step hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise BadKeyError(f"{path} is not a file. A key is a file in PEM form")
            _refuse_mode(path, stat.S_IMODE(info.st_mode), private=private)
            data = os.read(descriptor, _LARGEST + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadKeyError(f"the key {path} can't be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise BadKeyError(f"{path} holds no key: it is larger than {_LARGEST // 1024} KiB")
    return data


def exists(path: Path) -> bool:
    """Whether there is such a file. Raises BadKeyError where that can't be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise BadKeyError(f"the key {path} can't be read: {error.strerror}") from None
    return True


def load_private(data: bytes, where: str, passphrase: Passphrase) -> EllipticCurvePrivateKey:
    """A private key out of PEM. Raises BadKeyError where it is none, or not P-256, or can't be decrypted."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if is_encrypted(data):
            key: Any = load_pem_private_key(data, passphrase().encode())
        else:
            key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if is_encrypted(data):
            raise BadKeyError(f"{where} can't be decrypted: the passphrase is not the right one") from None
        raise BadKeyError(
            f"{where} holds no private key in PEM form. Make one with: penstock keys new"
        ) from None
    _refuse_other_curves(key, EllipticCurvePrivateKey, where)
    assert isinstance(key, EllipticCurvePrivateKey)
    return key


def load_public(text: str, where: str) -> PublicKey:
    """A public key out of PEM, in its one form. Raises BadKeyError where it is none, or not P-256."""
    return public_half(_load_public(text.encode(), where))


def public_half(key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> PublicKey:
    """A key's public half."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key() if isinstance(key, EllipticCurvePrivateKey) else key
    return PublicKey(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def dump_private(key: EllipticCurvePrivateKey, passphrase: str | None) -> bytes:
    """A private key as PKCS #8 in PEM, encrypted where there is a passphrase."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
    )

    how: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        how = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def is_encrypted(data: bytes) -> bool:
    """Whether a private key's PEM asks for a passphrase, in PKCS #8 or in OpenSSL's older form."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data or b"Proc-Type: 4,ENCRYPTED" in data


def is_private(data: bytes) -> bool:
    """Whether a PEM text claims to be a private key."""
    return b"PRIVATE KEY-----" in data


def _load_public(data: bytes, where: str) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if data.count(b"-----BEGIN") > 1:
        raise BadKeyError(f"{where} holds more than one key. Give each of them by itself")
    try:
        key: Any = load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKeyError(
            f"{where} holds no public key in PEM form (-----BEGIN PUBLIC KEY-----). "
            "Print one with: penstock keys show"
        ) from None
    _refuse_other_curves(key, EllipticCurvePublicKey, where)
    assert isinstance(key, EllipticCurvePublicKey)
    return key


def _refuse_other_curves(key: Any, kind: type, where: str) -> None:
    if isinstance(key, kind) and key.curve.name == "secp256r1":  # type: ignore[attr-defined]  # both have one
        return
    found = key.curve.name if isinstance(key, kind) else type(key).__name__.strip("_")  # type: ignore[attr-defined]
    raise BadKeyError(
        f"{where} is a key of another kind ({found}). Penstock signs with ECDSA on the curve P-256 "
        "(secp256r1). Make such a key with: penstock keys new"
    )


def _refuse_mode(path: Path, mode: int, *, private: bool) -> None:
    place = shlex.quote(str(path))
    if private and mode & 0o077:
        raise BadKeyError(
            f"the private key {path} is open to other users (mode {mode:04o}). If nobody else had it: "
            f"chmod 600 {place}"
        )
    if mode & 0o022:
        raise BadKeyError(
            f"other users can change {path} (mode {mode:04o}), so it can't say which key to trust. "
            f"If it is what it should be: chmod go-w {place}"
        )
