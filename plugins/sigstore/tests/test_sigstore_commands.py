from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from penstock import PenstockError
from penstock_sigstore import pem, penstock_commands
from penstock_sigstore.keyring import Keyring


def keys(*arguments: str | Path, typed: str | None = None) -> Result:
    """`penstock keys …`, as the command line runs it: errors of Penstock are its to show."""
    (command,) = penstock_commands()
    result = CliRunner().invoke(command, [str(a) for a in arguments], input=typed)
    if result.exception and not isinstance(result.exception, (PenstockError, SystemExit)):
        raise result.exception
    return result


def passphrase_of(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_list_before_the_first_key_says_how_to_make_one(keyring: Keyring) -> None:
    result = keys("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"No keys in {keyring.root} yet. Make one: penstock keys new\n"
    assert not keyring.root.exists()


def test_new_makes_the_first_key_the_default(keyring: Keyring) -> None:
    result = keys("new")
    key_id = result.stdout.strip()
    assert keyring.default() == key_id
    assert result.stderr == (
        f"Made a signing key in {keyring.root} (0600, unencrypted; "
        f"`penstock keys encrypt {key_id[:16]}` adds a passphrase).\nIt is the default key.\n"
    )


def test_new_leaves_the_default_as_it_is(keyring: Keyring) -> None:
    first = keys("new").stdout.strip()
    result = keys("new")
    second = result.stdout.strip()
    assert keyring.default() == first
    assert result.stderr.splitlines()[1] == (
        f"The default key is another; to sign with this one: penstock keys default {second[:16]}"
    )


def test_new_key_can_be_encrypted_from_the_start(keyring: Keyring, tmp_path: Path) -> None:
    from_file = keys("new", "--passphrase-file", passphrase_of(tmp_path / "p", "correct horse\n"))
    typed = keys("new", "--encrypt", typed="correct horse\ncorrect horse\n")
    for result in (from_file, typed):
        key = keyring.private(result.stdout.strip(), lambda: "correct horse")
        assert pem.public_half(key).id == result.stdout.strip()
        assert "correct horse" not in result.output
        assert "(0600, encrypted)" in result.stderr


def test_list_shows_what_there_is_of_each_key(keyring: Keyring) -> None:
    plain, encrypted, public = keyring.create(), keyring.create("a passphrase"), keyring.create()
    (keyring.root / f"{public}.pem").unlink()
    keyring.set_default(plain)
    for key_id in (plain, encrypted, public):
        os.utime(keyring.root / f"{key_id}.pub", (0, 1_767_268_800))  # noon of the first day of 2026
    lines = {
        plain: "unencrypted  since 2026-01-01  default",
        encrypted: "encrypted  since 2026-01-01",
        public: "public half only  since 2026-01-01",
    }
    assert keys("list").stdout.splitlines() == [f"{key_id}  {lines[key_id]}" for key_id in sorted(lines)]


def test_show_prints_the_public_key_alone(keyring: Keyring) -> None:
    default, _ = keyring.ensure_default()
    other = keyring.create()
    assert keys("show").stdout == keyring.public(default).pem
    result = keys("show", other[:12])
    assert (result.stdout, result.stderr) == (keyring.public(other).pem, "")


@pytest.mark.parametrize("command", ["show", "encrypt"])
def test_no_default_key_is_said(command: str, keyring: Keyring) -> None:
    result = keys(command)
    assert isinstance(result.exception, PenstockError)
    assert str(result.exception) == f"there is no default key in {keyring.root}. Make one: penstock keys new"


def test_encrypt_asks_twice_and_shows_nothing(keyring: Keyring) -> None:
    default, _ = keyring.ensure_default()
    result = keys("encrypt", typed="correct horse\ncorrect horse\n")
    assert result.exit_code == 0
    assert "correct horse" not in result.output
    assert result.stderr.endswith(
        f"The key {default[:16]}… is encrypted now. The sign step needs its passphrase as a secret:\n"
        '  secrets = { PENSTOCK_KEY_PASSPHRASE = "env:PENSTOCK_KEY_PASSPHRASE" }\n'
    )
    assert pem.public_half(keyring.private(default, lambda: "correct horse")).id == default


def test_encrypt_that_is_given_up_changes_nothing(keyring: Keyring) -> None:
    default, _ = keyring.ensure_default()
    assert keys("encrypt", typed="one\nanother\n").exit_code == 1
    assert not keyring.entries()[0].encrypted
    assert keyring.entries()[0].id == default


def test_encrypt_with_an_empty_passphrase_file_is_refused(keyring: Keyring, tmp_path: Path) -> None:
    keyring.ensure_default()
    result = keys("encrypt", "--passphrase-file", passphrase_of(tmp_path / "p", "\n"))
    assert str(result.exception) == f"{tmp_path}/p holds no passphrase: it is empty"
    assert not keyring.entries()[0].encrypted


def test_default_says_what_is_not_accepted_any_more(keyring: Keyring) -> None:
    first, _ = keyring.ensure_default()
    second = keyring.create()
    result = keys("default", second[:16])
    assert keyring.default() == second
    assert result.stderr == (
        f"The default key is {second} now.\nEvidence signed with {first} is not accepted any more, "
        f'unless the sign step has: trusted = ["{first}"]\n'
    )


def test_default_repairs_a_default_that_names_nothing(keyring: Keyring) -> None:
    key_id = keyring.create()
    (keyring.root / "default").write_text("nonsense")
    assert keys("default", key_id).exit_code == 0
    assert keyring.default() == key_id


def test_import_copies_a_private_key(keyring: Keyring, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "mine.pem"
    path.write_bytes(pem.dump_private(key, None))
    path.chmod(0o600)
    result = keys("import", path)
    assert result.stdout.strip() == keyring.default() == pem.public_half(key).id
    assert path.exists()


def test_import_keeps_an_encrypted_key_encrypted(keyring: Keyring, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "mine.pem"
    path.write_bytes(pem.dump_private(key, "correct horse"))
    path.chmod(0o600)
    wrong = keys("import", path, typed="wrong\n")
    assert str(wrong.exception) == f"{path} can't be decrypted: the passphrase is not the right one"
    result = keys("import", path, typed="correct horse\n")
    assert result.stdout.strip() == pem.public_half(key).id
    assert [entry.encrypted for entry in keyring.entries()] == [True]


def test_import_of_a_public_key_makes_it_no_default(keyring: Keyring, tmp_path: Path) -> None:
    public = pem.public_half(ec.generate_private_key(ec.SECP256R1()))
    path = tmp_path / "ana.pub"
    path.write_text(public.pem)
    result = keys("import", path)
    assert result.stdout == public.id + "\n"
    assert keyring.default() is None
    assert [(entry.id, entry.private) for entry in keyring.entries()] == [(public.id, False)]


def test_import_adds_the_private_half_to_a_public_one(keyring: Keyring, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for name, data in (
        ("mine.pub", pem.public_half(key).pem.encode()),
        ("mine.pem", pem.dump_private(key, None)),
    ):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        assert keys("import", tmp_path / name).stdout.strip() == pem.public_half(key).id
    assert [(entry.private, entry.default) for entry in keyring.entries()] == [(True, True)]


def test_import_of_a_private_key_that_others_can_read_is_refused(keyring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "mine.pem"
    path.write_bytes(pem.dump_private(ec.generate_private_key(ec.SECP256R1()), None))
    path.chmod(0o644)
    assert str(keys("import", path).exception) == (
        f"the private key {path} is open to other users (mode 0644). If nobody else had it: chmod 600 {path}"
    )
    assert not keyring.root.exists()


def test_import_of_something_else_is_refused(keyring: Keyring, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    result = keys("import", tmp_path / "note.txt")
    assert isinstance(result.exception, PenstockError)
    assert "holds no public key in PEM form" in str(result.exception)
    assert not keyring.root.exists()
