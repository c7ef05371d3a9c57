"""`penstock keys`: the keys in the user's key directory."""

from __future__ import annotations

import time
from pathlib import Path

import click

from penstock_sigstore import pem
from penstock_sigstore.keyring import Keyring, user_keyring
from penstock_sigstore.pem import BadKeyError

_PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Read the passphrase from a file instead of asking for it.",
)


@click.group()
def keys() -> None:
    """Make, show and protect the keys that sign evidence."""


@keys.command("list")
def list_keys() -> None:
    """Print each key: its id, what there is of it, and which is the default."""
    keyring = user_keyring()
    entries = keyring.entries()
    if not entries:
        _say(f"No keys in {keyring.root} yet. Make one: penstock keys new")
    for entry in entries:
        what = "public half only"
        if entry.private:
            what = "encrypted" if entry.encrypted else "unencrypted"
        since = time.strftime("%Y-%m-%d", time.localtime(entry.since))
        click.echo(f"{entry.id}  {what}  since {since}" + ("  default" if entry.default else ""))


@keys.command()
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase and encrypt the key with it.")
@_PASSPHRASE_FILE
def new(encrypt: bool, passphrase_file: Path | None) -> None:
    """Make a key and print its id. The first key becomes the default."""
    keyring = user_keyring()
    passphrase = _new_passphrase(passphrase_file) if encrypt or passphrase_file else None
    key_id = keyring.create(passphrase)
    how = (
        "encrypted" if passphrase else f"unencrypted; `penstock keys encrypt {key_id[:16]}` adds a passphrase"
    )
    _say(f"Made a signing key in {keyring.root} (0600, {how}).")
    _offer_as_default(keyring, key_id)
    click.echo(key_id)


@keys.command()
@click.argument("key_id", metavar="[ID]", required=False)
def show(key_id: str | None) -> None:
    """Print the public half of a key as PEM; without ID that of the default key."""
    keyring = user_keyring()
    click.echo(keyring.public(_chosen(keyring, key_id)).pem, nl=False)


@keys.command()
@click.argument("key_id", metavar="[ID]", required=False)
@_PASSPHRASE_FILE
def encrypt(key_id: str | None, passphrase_file: Path | None) -> None:
    """Add a passphrase to a key; without ID to the default key."""
    keyring = user_keyring()
    chosen = _chosen(keyring, key_id)
    keyring.encrypt(chosen, _new_passphrase(passphrase_file))
    _say(
        f"The key {chosen[:16]}… is encrypted now. The sign step needs its passphrase as a secret:\n"
        '  secrets = { PENSTOCK_KEY_PASSPHRASE = "env:PENSTOCK_KEY_PASSPHRASE" }'
    )


@keys.command("default")
@click.argument("key_id", metavar="ID")
def make_default(key_id: str) -> None:
    """Sign with this key where a sign step names none."""
    keyring = user_keyring()
    chosen = keyring.find(key_id)
    try:
        before = keyring.default()
    except BadKeyError:
        before = None  # it named no key: that is what this command puts right
    keyring.set_default(chosen)
    _say(f"The default key is {chosen} now.")
    if before not in (None, chosen):
        _say(
            f"Evidence signed with {before} is not accepted any more, "
            f'unless the sign step has: trusted = ["{before}"]'
        )


@keys.command("import")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Where the key is encrypted: read its passphrase from a file instead of asking for it.",
)
def import_key(path: Path, passphrase_file: Path | None) -> None:
    """Copy a P-256 key in PEM form, private or public, into the key directory and print its id.

    A private key that is encrypted stays so. A public key can be named under `trusted`.
    """
    keyring = user_keyring()
    data = pem.read_file(path, private=False)
    if not pem.is_private(data):
        public = pem.load_public(data.decode(errors="replace"), str(path))
        keyring.add_public(public)
        _say(f"Added a public key to {keyring.root}. It is trusted where a sign step says so, nowhere else.")
        click.echo(public.id)
        return
    data = pem.read_file(path, private=True)
    passphrase = _passphrase(passphrase_file, "Passphrase of the key") if pem.is_encrypted(data) else None
    key = pem.load_private(data, str(path), lambda: passphrase or "")
    key_id = keyring.add(key, passphrase)
    _say(f"Copied the key into {keyring.root}; {path} is as it was.")
    _offer_as_default(keyring, key_id)
    click.echo(key_id)


def _chosen(keyring: Keyring, key_id: str | None) -> str:
    if key_id:
        return keyring.find(key_id)
    default = keyring.default()
    if default is None:
        raise BadKeyError(f"there is no default key in {keyring.root}. Make one: penstock keys new")
    return default


def _offer_as_default(keyring: Keyring, key_id: str) -> None:
    if keyring.set_default(key_id, if_none=True):
        _say("It is the default key.")
    else:
        _say(f"The default key is another; to sign with this one: penstock keys default {key_id[:16]}")


def _new_passphrase(file: Path | None) -> str:
    return _passphrase(file, "New passphrase", confirm=True)


def _passphrase(file: Path | None, prompt: str, *, confirm: bool = False) -> str:
    if file is None:
        asked: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return asked
    try:
        passphrase = file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadKeyError(f"the passphrase in {file} can't be read: {error}") from None
    if not passphrase:
        raise BadKeyError(f"{file} holds no passphrase: it is empty")
    return passphrase


def _say(text: str) -> None:
    click.echo(text, err=True)
