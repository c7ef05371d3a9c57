"""The user's key directory: one file for each private and public key, and one that names the default.

Every file comes into being whole or not at all, and a key is known by its fingerprint: a file whose
content is another key than its name says is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_sigstore import pem
from penstock_sigstore.pem import BadKeyError, Passphrase, PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_DEFAULT = "default"
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One key of the directory, as `penstock keys list` shows it."""

    id: str
    private: bool
    encrypted: bool
    default: bool
    since: float
    """When it came into the directory, in seconds since 1970."""


@dataclass(frozen=True)
class Keyring:
    """The keys in one directory. Nothing is made before the first key is."""

    root: Path

    # --- looking ---

    def entries(self) -> list[Entry]:
        """Every key, by id."""
        default = self.default()
        return [self._entry(key_id, default) for key_id in self._ids()]

    def find(self, prefix: str) -> str:
        """The one key whose id begins so. Raises BadKeyError where there is none, or several."""
        found = [key_id for key_id in self._ids() if key_id.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if found:
            raise BadKeyError(
                f'"{prefix}" could be {len(found)} keys in {self.root}: '
                + ", ".join(key_id[:20] + "…" for key_id in found)
                + ". Write more digits"
            )
        raise BadKeyError(f'there is no key "{prefix}" in {self.root}. See: penstock keys list')

    def default(self) -> str | None:
        """The id of the default key; None before there is one. Raises BadKeyError where it can't be told."""
        path = self.root / _DEFAULT
        if not pem.exists(path):
            return None
        self._refuse_open_directory()
        name = pem.read_file(path, private=False).decode(errors="replace").strip()
        if not _ID.fullmatch(name) or not pem.exists(self._public(name)):
            raise BadKeyError(f"{path} names no key that is there. Name one: penstock keys default ID")
        return name

    def public(self, key_id: str) -> PublicKey:
        """A key's public half. Raises BadKeyError where the file is missing or holds another key."""
        self._refuse_open_directory()
        path = self._public(key_id)
        text = pem.read_file(path, private=False).decode(errors="replace")
        return self._that_key(pem.load_public(text, str(path)), key_id, path)

    def private(self, key_id: str, passphrase: Passphrase) -> EllipticCurvePrivateKey:
        """A key's private half. Raises BadKeyError as `public`, and where it can't be decrypted."""
        path = self._private(key_id)
        if not pem.exists(path):
            raise BadKeyError(
                f"only the public half of the key {key_id[:16]}… is in {self.root}: it can check signatures, "
                "not make them. The private half is added with: penstock keys import PATH"
            )
        key = pem.load_private(self._read_private(key_id), str(path), passphrase)
        self._that_key(pem.public_half(key), key_id, path)
        return key

    # --- changing ---

    def ensure_default(self) -> tuple[str, bool]:
        """The default key's id, and whether it was made just now: one, however many ask at once."""
        known = self.default()
        if known:
            return known, False
        made = self.create()
        if self._claim_default(made):
            return made, True
        # Another process was first. Nobody has seen this key.
        self._private(made).unlink()
        self._public(made).unlink()
        known = self.default()
        assert known is not None
        return known, False

    def create(self, passphrase: str | None = None) -> str:
        """Make a key; its id."""
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

        return self.add(generate_private_key(SECP256R1()), passphrase)

    def add(self, key: EllipticCurvePrivateKey, passphrase: str | None) -> str:
        """Keep a private key; its id. Raises BadKeyError where it is there already."""
        public = pem.public_half(key)
        self.add_public(public)
        path = self._private(public.id)
        if not self._write(path, pem.dump_private(key, passphrase), 0o600):
            raise BadKeyError(f"the key {public.id[:16]}… is in {self.root} already; nothing was changed")
        return public.id

    def add_public(self, public: PublicKey) -> None:
        """Keep a public key. Adding it again changes nothing."""
        self._write(self._public(public.id), public.pem.encode(), 0o644)

    def set_default(self, key_id: str, *, if_none: bool = False) -> bool:
        """Name the default key; with `if_none` only where there is none yet. Whether it was named."""
        if if_none:
            return self._claim_default(key_id)
        return self._write(self.root / _DEFAULT, f"{key_id}\n".encode(), 0o600, replace=True)

    def encrypt(self, key_id: str, passphrase: str) -> None:
        """Give a private key a passphrase. Raises BadKeyError where it has one."""
        if pem.is_encrypted(self._read_private(key_id)):
            raise BadKeyError(f"the key {key_id[:16]}… has a passphrase already; nothing was changed")
        key = self.private(key_id, _no_passphrase)
        self._write(self._private(key_id), pem.dump_private(key, passphrase), 0o600, replace=True)

    # --- how ---

    def _entry(self, key_id: str, default: str | None) -> Entry:
        private = pem.exists(self._private(key_id))
        encrypted = private and pem.is_encrypted(self._read_private(key_id))
        since = self._public(key_id).stat().st_mtime
        return Entry(key_id, private, encrypted, key_id == default, since)

    def _ids(self) -> list[str]:
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadKeyError(f"the keys in {self.root} can't be read: {error.strerror}") from None
        self._refuse_open_directory()
        stems = (name.removesuffix(".pub") for name in names if name.endswith(".pub"))
        return sorted(stem for stem in stems if _ID.fullmatch(stem))

    def _private(self, key_id: str) -> Path:
        return self.root / f"{key_id}.pem"

    def _public(self, key_id: str) -> Path:
        return self.root / f"{key_id}.pub"

    def _read_private(self, key_id: str) -> bytes:
        self._refuse_open_directory()
        return pem.read_file(self._private(key_id), private=True)

    def _that_key(self, found: PublicKey, key_id: str, path: Path) -> PublicKey:
        if found.id != key_id:
            raise BadKeyError(
                f"{path} holds another key than its name says ({found.id[:16]}…): it was replaced. "
                "Put the right one back, or remove the file"
            )
        return found

    def _refuse_open_directory(self) -> None:
        try:
            mode = self.root.stat().st_mode & 0o777
        except OSError:
            return  # what is read next says why it can't be
        if mode & 0o022:
            raise BadKeyError(
                f"other users can put keys into {self.root} (mode {mode:04o}). If the keys in it are yours: "
                f"chmod 700 {shlex.quote(str(self.root))}"
            )

    def _claim_default(self, key_id: str) -> bool:
        return self._write(self.root / _DEFAULT, f"{key_id}\n".encode(), 0o600)

    def _write(self, path: Path, data: bytes, mode: int, *, replace: bool = False) -> bool:
        """Put a whole file in its place, durably. False where there is one and `replace` does not say so."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_open_directory()
            temporary = self.root / f".{path.name}.{secrets.token_hex(8)}"
            try:
                _write_new(temporary, data, mode)
                if replace:
                    temporary.replace(path)
                else:
                    # Unlike rename, link never replaces: of two processes exactly one succeeds.
                    os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
            _sync_directory(self.root)
        except OSError as error:
            raise BadKeyError(f"{path} can't be written: {error.strerror}") from None
        return True


def user_keyring() -> Keyring:
    """The user's own keys, where the XDG directories say. Raises BadKeyError where there is no such place."""
    given = Path(os.environ.get("XDG_DATA_HOME") or "")
    if given.is_absolute():  # the standard says that a relative one counts as none
        return Keyring(given / "penstock" / "keys")
    return Keyring(home_directory() / ".local" / "share" / "penstock" / "keys")


def home_directory() -> Path:
    """The user's home directory. Raises BadKeyError where there is none."""
    # Python takes an empty HOME for the root directory.
    with contextlib.suppress(RuntimeError):
        home = Path("~").expanduser()
        if os.environ.get("HOME") != "" and home.is_absolute():
            return home
    raise BadKeyError(
        "there is no home directory to find keys in. Set HOME or XDG_DATA_HOME to an absolute path"
    )


def _no_passphrase() -> str:
    raise AssertionError("asked only for encrypted keys")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
