from __future__ import annotations

from pathlib import Path

import pytest
from penstock_sigstore import penstock_propose
from penstock_sigstore.keyring import Keyring, user_keyring
from penstock_sigstore.pem import BadKeyError


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return user_keyring()


def with_default(keyring: Keyring, passphrase: str | None = None) -> str:
    made = keyring.create(passphrase)
    keyring.set_default(made)
    return made


def test_no_key_is_made_while_somebody_looks(keyring: Keyring) -> None:
    found = penstock_propose(add=None)
    assert found.saw == (
        f"no key yet: the first run makes one in {keyring.root} (0600, unencrypted; `penstock keys encrypt` "
        "adds a passphrase)"
    )
    assert found.sections == {"sign.release": {}}
    assert not keyring.root.exists()


def test_a_key_below_the_home_directory_is_shown_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "in ~/.local/share/penstock/keys (0600" in penstock_propose(add=None).saw


def test_a_key_that_is_there_signs(keyring: Keyring) -> None:
    key = with_default(keyring)
    found = penstock_propose(add="sign.all")
    assert found.saw == f"signs with your key {key[:4]}…{key[-4:]}, unencrypted"
    assert (found.sections, found.unsure) == ({"sign.all": {}}, ())


def test_an_encrypted_key_asks_for_its_passphrase(keyring: Keyring) -> None:
    with_default(keyring, "open sesame")
    found = penstock_propose(add=None)
    assert found.sections == {
        "sign.release": {"secrets": {"PENSTOCK_KEY_PASSPHRASE": "env:PENSTOCK_KEY_PASSPHRASE"}}
    }
    assert found.unsure == ("a run needs its passphrase in the variable PENSTOCK_KEY_PASSPHRASE",)


def test_the_public_half_alone_can_not_sign(keyring: Keyring) -> None:
    key = with_default(keyring)
    (keyring.root / f"{key}.pem").unlink()
    found = penstock_propose(add=None)
    assert (found.sections, found.enable) == ({}, False)
    assert "nothing can be signed with it" in found.unsure[0]


def test_a_key_directory_that_can_not_be_used_is_an_error(keyring: Keyring) -> None:
    with_default(keyring)
    (keyring.root / "default").write_text("nothing\n")
    with pytest.raises(BadKeyError, match="names no key that is there"):
        penstock_propose(add=None)
