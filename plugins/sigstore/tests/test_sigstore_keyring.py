from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from penstock_sigstore import pem
from penstock_sigstore.keyring import Keyring, user_keyring
from penstock_sigstore.pem import BadKeyError


def no_passphrase() -> str:
    raise BadKeyError("asked for a passphrase")


def pem_of(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_key_is_private_and_known_by_its_fingerprint(keyring: Keyring) -> None:
    before = os.umask(0)
    try:
        key_id = keyring.create()
    finally:
        os.umask(before)
    assert mode(keyring.root) == 0o700
    assert mode(keyring.root / f"{key_id}.pem") == 0o600
    assert mode(keyring.root / f"{key_id}.pub") == 0o644
    assert sorted(path.name for path in keyring.root.iterdir()) == [f"{key_id}.pem", f"{key_id}.pub"]
    assert keyring.public(key_id).id == key_id
    assert pem.public_half(keyring.private(key_id, no_passphrase)).id == key_id


def test_looking_makes_nothing(keyring: Keyring) -> None:
    assert keyring.entries() == []
    assert keyring.default() is None
    assert not keyring.root.exists()


def test_default_is_made_once(keyring: Keyring) -> None:
    first, made = keyring.ensure_default()
    assert made
    assert keyring.ensure_default() == (first, False)
    assert (keyring.root / "default").read_text() == first + "\n"


def _ensure(root: Path, barrier: object, answers: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    answers.put(Keyring(root).ensure_default())  # type: ignore[attr-defined]


def test_processes_that_make_the_first_key_at_once_end_with_one(keyring: Keyring) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(6), context.Queue()
    children = [context.Process(target=_ensure, args=(keyring.root, barrier, answers)) for _ in range(6)]
    for child in children:
        child.start()
    found = [answers.get(timeout=30) for _ in children]
    for child in children:
        child.join()
    assert len({key_id for key_id, _ in found}) == 1
    assert [made for _, made in found].count(True) == 1
    key_id = found[0][0]
    assert sorted(path.name for path in keyring.root.iterdir()) == sorted(
        [f"{key_id}.pem", f"{key_id}.pub", "default"]
    )


def test_loser_of_the_race_for_the_default_removes_its_key(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = keyring.create()

    def create_while_another_wins(self: Keyring) -> str:
        made = Keyring.add(self, ec.generate_private_key(ec.SECP256R1()), None)
        self.set_default(winner)
        return made

    monkeypatch.setattr(Keyring, "create", create_while_another_wins)
    assert keyring.ensure_default() == (winner, False)
    assert [entry.id for entry in keyring.entries()] == [winner]


def test_find_takes_a_prefix_that_fits_one_key(keyring: Keyring) -> None:
    for key_id in ("a" * 63 + "0", "a" * 63 + "1", "b" * 64):
        keyring.root.mkdir(parents=True, exist_ok=True)
        (keyring.root / f"{key_id}.pub").write_text("")
    assert keyring.find("bbbb") == "b" * 64
    with pytest.raises(BadKeyError) as several:
        keyring.find("aaaaaaaa")
    assert str(several.value) == (
        f'"aaaaaaaa" could be 2 keys in {keyring.root}: {"a" * 20}…, {"a" * 20}…. Write more digits'
    )
    with pytest.raises(BadKeyError, match=r'there is no key "cccccccc" in .*See: penstock keys list'):
        keyring.find("cccccccc")


def test_encrypted_key_opens_with_its_passphrase_only(keyring: Keyring) -> None:
    key_id = keyring.create()
    keyring.encrypt(key_id, "correct horse")
    path = keyring.root / f"{key_id}.pem"
    assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert mode(path) == 0o600
    assert pem.public_half(keyring.private(key_id, lambda: "correct horse")).id == key_id
    with pytest.raises(BadKeyError, match="asked for a passphrase"):
        keyring.private(key_id, no_passphrase)
    for wrong in ("", "wrong", "Correct horse"):
        with pytest.raises(BadKeyError, match="can't be decrypted: the passphrase is not the right one"):
            keyring.private(key_id, wrong.lstrip)
    with pytest.raises(BadKeyError, match="has a passphrase already; nothing was changed"):
        keyring.encrypt(key_id, "another")
    assert pem.public_half(keyring.private(key_id, lambda: "correct horse")).id == key_id


@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_private_key_open_to_others_is_refused(keyring: Keyring, open_to: int) -> None:
    key_id = keyring.create()
    path = keyring.root / f"{key_id}.pem"
    path.chmod(open_to)
    with pytest.raises(BadKeyError) as refused:
        keyring.private(key_id, no_passphrase)
    assert str(refused.value) == (
        f"the private key {path} is open to other users (mode {open_to:04o}). "
        f"If nobody else had it: chmod 600 {path}"
    )


def test_public_key_that_others_can_change_is_refused(keyring: Keyring) -> None:
    key_id = keyring.create()
    path = keyring.root / f"{key_id}.pub"
    path.chmod(0o664)
    with pytest.raises(BadKeyError, match=r"other users can change .*: chmod go-w "):
        keyring.public(key_id)


def test_directory_that_others_can_change_is_refused(keyring: Keyring) -> None:
    key_id = keyring.create()
    keyring.root.chmod(0o770)
    for use in (
        lambda: keyring.private(key_id, no_passphrase),
        lambda: keyring.public(key_id),
        lambda: keyring.find(key_id),
        keyring.create,
        keyring.entries,
    ):
        with pytest.raises(BadKeyError) as refused:
            use()
        assert str(refused.value) == (
            f"other users can put keys into {keyring.root} (mode 0770). If the keys in it are yours: "
            f"chmod 700 {keyring.root}"
        )


def test_replaced_public_key_is_refused(keyring: Keyring) -> None:
    key_id, other = keyring.create(), keyring.create()
    (keyring.root / f"{key_id}.pub").write_text((keyring.root / f"{other}.pub").read_text())
    with pytest.raises(BadKeyError, match=rf"holds another key than its name says \({other[:16]}…\)"):
        keyring.public(key_id)


def test_replaced_private_key_is_refused(keyring: Keyring) -> None:
    key_id, other = keyring.create(), keyring.create()
    (keyring.root / f"{other}.pem").replace(keyring.root / f"{key_id}.pem")
    with pytest.raises(BadKeyError, match="holds another key than its name says"):
        keyring.private(key_id, no_passphrase)


@pytest.mark.parametrize("content", ["", "nonsense\n", "../../etc/passwd", "0" * 64, "é"])
def test_default_that_names_no_key_is_refused(keyring: Keyring, content: str) -> None:
    keyring.create()
    path = keyring.root / "default"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(BadKeyError) as refused:
        keyring.ensure_default()
    assert str(refused.value) == (f"{path} names no key that is there. Name one: penstock keys default ID")


def test_key_added_twice_changes_nothing(keyring: Keyring) -> None:
    key_id = keyring.create()
    key = keyring.private(key_id, no_passphrase)
    before = (keyring.root / f"{key_id}.pem").read_bytes()
    with pytest.raises(BadKeyError, match="already; nothing was changed"):
        keyring.add(key, "a passphrase")
    assert (keyring.root / f"{key_id}.pem").read_bytes() == before


def test_public_half_alone_does_not_sign(keyring: Keyring) -> None:
    key_id = keyring.create()
    (keyring.root / f"{key_id}.pem").unlink()
    with pytest.raises(BadKeyError, match=r"only the public half .* penstock keys import PATH"):
        keyring.private(key_id, no_passphrase)


BAD_PRIVATE = {
    "not PEM": (b"hello", "key.pem holds no private key in PEM form. Make one with: penstock keys new"),
    "empty": (b"", "key.pem holds no private key in PEM form. Make one with: penstock keys new"),
    "broken PEM": (
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "key.pem holds no private key in PEM form. Make one with: penstock keys new",
    ),
    "public": (
        public_pem_of(ec.generate_private_key(ec.SECP256R1())).encode(),
        "key.pem holds no private key in PEM form. Make one with: penstock keys new",
    ),
    "wrong curve": (
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        "key.pem is a key of another kind (secp384r1). Penstock signs with ECDSA on the curve P-256 "
        "(secp256r1). Make such a key with: penstock keys new",
    ),
    "Bitcoin's curve": (
        pem_of(ec.generate_private_key(ec.SECP256K1())),
        "key.pem is a key of another kind (secp256k1). Penstock signs with ECDSA on the curve P-256 "
        "(secp256r1). Make such a key with: penstock keys new",
    ),
    "Ed25519": (
        pem_of(ed25519.Ed25519PrivateKey.generate()),
        "key.pem is a key of another kind (Ed25519PrivateKey). Penstock signs with ECDSA on the curve P-256 "
        "(secp256r1). Make such a key with: penstock keys new",
    ),
    "RSA": (
        pem_of(rsa.generate_private_key(65537, 2048)),
        "key.pem is a key of another kind (RSAPrivateKey). Penstock signs with ECDSA on the curve P-256 "
        "(secp256r1). Make such a key with: penstock keys new",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD_PRIVATE.values(), ids=BAD_PRIVATE)
def test_private_key_of_another_kind_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadKeyError) as refused:
        pem.load_private(data, "key.pem", no_passphrase)
    assert str(refused.value) == message


P256 = ec.generate_private_key(ec.SECP256R1())
BAD_PUBLIC = {
    "not PEM": ("hello", "holds no public key in PEM form"),
    "private": (pem_of(P256).decode(), "holds no public key in PEM form"),
    "wrong curve": (public_pem_of(ec.generate_private_key(ec.SECP521R1())), r"of another kind \(secp521r1\)"),
    "RSA": (public_pem_of(rsa.generate_private_key(65537, 2048)), r"of another kind \(RSAPublicKey\)"),
    "two": (public_pem_of(P256) * 2, "holds more than one key"),
    "not UTF-8": ("\ufffd", "holds no public key in PEM form"),
}


@pytest.mark.parametrize(("text", "message"), BAD_PUBLIC.values(), ids=BAD_PUBLIC)
def test_public_key_of_another_kind_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadKeyError, match=f"^key.pub .*{message}"):
        pem.load_public(text, "key.pub")


def test_public_key_has_one_fingerprint_however_its_pem_is_laid_out() -> None:
    text = public_pem_of(P256)
    assert pem.load_public("\n" + text.replace("\n", "\r\n") + "\n", "key.pub").id == pem.public_half(P256).id


def test_older_forms_of_a_private_key_are_read() -> None:
    traditional = P256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert pem.public_half(pem.load_private(traditional, "key.pem", no_passphrase)) == pem.public_half(P256)


def test_key_that_is_no_file_is_refused_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(BadKeyError, match="fifo is not a file"):
        pem.read_file(tmp_path / "fifo", private=True)
    with pytest.raises(BadKeyError, match="is not a file"):
        pem.read_file(tmp_path, private=True)


def test_key_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"x" * 70_000)
    (tmp_path / "key.pem").chmod(0o600)
    with pytest.raises(BadKeyError, match=r"key\.pem holds no key: it is larger than 64 KiB"):
        pem.read_file(tmp_path / "key.pem", private=True)


def test_directory_that_can_not_be_made_is_named(keyring: Keyring) -> None:
    keyring.root.parent.parent.write_text("a file where the data directory should be")
    with pytest.raises(BadKeyError, match=r"default can't be written|can't be written: Not a directory"):
        keyring.ensure_default()


def test_path_that_can_not_be_looked_at_is_named(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/" + "x" * 300)
    with pytest.raises(BadKeyError, match="can't be read: File name too long"):
        user_keyring().default()


@pytest.mark.parametrize("relative", ["", "data", "./data"])
def test_relative_data_directory_counts_as_none(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", relative)
    assert user_keyring().root == tmp_path / "home" / ".local" / "share" / "penstock" / "keys"


@pytest.mark.parametrize("home", ["", "somewhere"])
def test_no_home_directory_is_said(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", home)
    with pytest.raises(BadKeyError) as refused:
        user_keyring()
    assert str(refused.value) == (
        "there is no home directory to find keys in. Set HOME or XDG_DATA_HOME to an absolute path"
    )
