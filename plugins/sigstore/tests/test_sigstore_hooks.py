from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from penstock import Signature, Signer, StepFailed, StepRefused
from penstock.testing import StepMaker
from penstock_sigstore import Sigstore, pem, penstock_check_signature, penstock_sign
from penstock_sigstore.keyring import Keyring
from pydantic import ValidationError

STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1","subject":[]}'


def write_key(path: Path, passphrase: str | None = None) -> pem.PublicKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(pem.dump_private(key, passphrase))
    path.chmod(0o600)
    return pem.public_half(key)


def sign(make_step: StepMaker, settings: Sigstore, statement: bytes = STATEMENT) -> Signature:
    (signature,) = penstock_sign(settings, make_step("sign.release"), [statement])
    return signature


def test_first_signature_makes_a_key_and_says_so(make_step: StepMaker, keyring: Keyring) -> None:
    step = make_step("sign.release")
    (signature,) = penstock_sign(Sigstore(), step, [STATEMENT])
    key_id = keyring.default()
    assert signature.signer == f"key:{key_id}"
    assert signature.statement == "sha256:" + hashlib.sha256(STATEMENT).hexdigest()
    assert make_step.log_of(step) == (
        f"Made a signing key: {key_id} (0600, unencrypted; `penstock keys encrypt` adds a passphrase)\n"
        f"Signing with local key {key_id}. Statements: 1\n"
    )
    again = make_step("sign.release")
    penstock_sign(Sigstore(), again, [STATEMENT])
    assert make_step.log_of(again) == f"Signing with local key {key_id}. Statements: 1\n"


def test_signatures_come_in_the_statements_order_and_are_accepted(
    make_step: StepMaker, keyring: Keyring
) -> None:
    statements = [b"{}", b"\x00\xff not JSON", STATEMENT]
    signatures = penstock_sign(Sigstore(), make_step("sign.release"), statements)
    assert [s.statement for s in signatures] == [
        "sha256:" + hashlib.sha256(s).hexdigest() for s in statements
    ]
    key_id = keyring.default()
    assert key_id
    signer = Signer(identity=f"key:{key_id}", public_key=(keyring.root / f"{key_id}.pub").read_text())
    for signature, statement in zip(signatures, statements, strict=True):
        assert penstock_check_signature(Sigstore(), signature, statement) == signer


def test_no_statements_give_no_signatures(make_step: StepMaker) -> None:
    assert penstock_sign(Sigstore(), make_step("sign.release"), []) == []


def test_every_changed_byte_of_a_bundle_is_refused(make_step: StepMaker) -> None:
    signature = sign(make_step, Sigstore())
    for position, character in enumerate(signature.bundle):
        text = signature.bundle[:position] + chr(ord(character) ^ 1) + signature.bundle[position + 1 :]
        with pytest.raises(StepRefused):
            penstock_check_signature(Sigstore(), signature.model_copy(update={"bundle": text}), STATEMENT)


def test_every_changed_byte_of_a_statement_is_refused(make_step: StepMaker) -> None:
    signature = sign(make_step, Sigstore())
    for position in range(len(STATEMENT)):
        changed = bytearray(STATEMENT)
        changed[position] ^= 1
        with pytest.raises(StepRefused, match="on record for another statement"):
            penstock_check_signature(Sigstore(), signature, bytes(changed))
        fitting = signature.model_copy(update={"statement": "sha256:" + hashlib.sha256(changed).hexdigest()})
        with pytest.raises(StepRefused, match="payload is not the statement"):
            penstock_check_signature(Sigstore(), fitting, bytes(changed))


def test_signature_on_record_under_another_name_is_refused(make_step: StepMaker, keyring: Keyring) -> None:
    signature = sign(make_step, Sigstore())
    with pytest.raises(StepRefused) as refused:
        penstock_check_signature(
            Sigstore(), signature.model_copy(update={"signer": "ana@example.com"}), STATEMENT
        )
    assert str(refused.value) == (
        f"the signature is on record as made by 'ana@example.com', but it is by key:{keyring.default()}"
    )


def test_signature_without_a_name_on_record_is_accepted(make_step: StepMaker, keyring: Keyring) -> None:
    nameless = sign(make_step, Sigstore()).model_copy(update={"signer": ""})
    assert penstock_check_signature(Sigstore(), nameless, STATEMENT).identity == f"key:{keyring.default()}"


def test_key_in_the_directory_that_nobody_trusts_is_refused(make_step: StepMaker, keyring: Keyring) -> None:
    others = [keyring.create() for _ in range(8)]
    default, _ = keyring.ensure_default()
    for other in others:
        signature = sign(make_step, Sigstore(key=other))
        with pytest.raises(StepRefused) as refused:
            penstock_check_signature(Sigstore(), signature, STATEMENT)
        assert str(refused.value) == (
            f"the signature names the key {other}, which is not trusted here; trusted: {default}. If it "
            "should be, put its public PEM (penstock keys show) under `trusted` in the section of the sign "
            "step"
        )


def test_bundle_that_names_a_trusted_key_but_was_signed_by_another_is_refused(
    make_step: StepMaker, keyring: Keyring
) -> None:
    default, _ = keyring.ensure_default()
    foreign = keyring.create()
    signature = sign(make_step, Sigstore(key=foreign))
    forged = Signature(
        bundle=signature.bundle.replace(foreign, default),
        statement=signature.statement,
        signer=f"key:{default}",
    )
    with pytest.raises(StepRefused) as refused:
        penstock_check_signature(Sigstore(), forged, STATEMENT)
    assert str(refused.value) == f"the signature was not made by the key {default} over this statement"


def test_trusted_key_is_accepted_in_each_form(make_step: StepMaker, keyring: Keyring, tmp_path: Path) -> None:
    keyring.ensure_default()
    other = keyring.create()
    signature = sign(make_step, Sigstore(key=other))
    text = keyring.public(other).pem
    file = tmp_path / "release.pub"
    file.write_text(text)
    file.chmod(0o644)
    for form in (other, other[:8], text, "\n" + text, str(file)):
        signer = penstock_check_signature(Sigstore(trusted=(form,)), signature, STATEMENT)
        assert signer == Signer(identity=f"key:{other}", public_key=text)


def test_machine_without_a_key_checks_with_the_trusted_ones_and_makes_none(
    make_step: StepMaker, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signature = sign(make_step, Sigstore())
    default = keyring.default()
    assert default
    trusted = keyring.public(default).pem
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    assert penstock_check_signature(Sigstore(trusted=(trusted,)), signature, STATEMENT).public_key == trusted
    with pytest.raises(StepRefused) as refused:
        penstock_check_signature(Sigstore(), signature, STATEMENT)
    assert str(refused.value) == (
        f"the signature can't be checked: there is no key to check signatures with: {tmp_path}/elsewhere/"
        "penstock/keys has no default key yet, and the settings trust no other. Put the signer's public "
        "key (penstock keys show) under `trusted`"
    )
    assert not (tmp_path / "elsewhere").exists()


def test_trusted_key_that_can_not_be_read_closes_the_gate(make_step: StepMaker) -> None:
    signature = sign(make_step, Sigstore())
    with pytest.raises(StepRefused) as refused:
        penstock_check_signature(Sigstore(trusted=("/nowhere/ana.pub",)), signature, STATEMENT)
    assert str(refused.value) == (
        "the signature can't be checked: the key /nowhere/ana.pub can't be read: No such file or directory"
    )


def test_key_by_path_signs_and_is_accepted(make_step: StepMaker, tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    public = write_key(path)
    settings = Sigstore(key=str(path))
    signature = sign(make_step, settings)
    assert signature.signer == f"key:{public.id}"
    assert penstock_check_signature(settings, signature, STATEMENT).public_key == public.pem


def test_key_by_path_is_found_in_the_home_directory(make_step: StepMaker, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    public = write_key(tmp_path / "home" / "release.pem")
    assert sign(make_step, Sigstore(key="~/release.pem")).signer == f"key:{public.id}"


def test_encrypted_key_takes_its_passphrase_from_a_declared_secret(
    make_step: StepMaker, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = keyring.create("correct horse")
    keyring.set_default(key_id)
    monkeypatch.setenv("SOME_VARIABLE", "correct horse")
    step = make_step("sign.release", secrets={"PENSTOCK_KEY_PASSPHRASE": "env:SOME_VARIABLE"})
    (signature,) = penstock_sign(Sigstore(), step, [STATEMENT])
    assert penstock_check_signature(Sigstore(), signature, STATEMENT).identity == f"key:{key_id}"
    renamed = make_step("sign.release", secrets={"MINE": "env:SOME_VARIABLE"})
    (signature,) = penstock_sign(Sigstore(passphrase_secret="MINE"), renamed, [STATEMENT])
    assert penstock_check_signature(Sigstore(), signature, STATEMENT).identity == f"key:{key_id}"


def test_encrypted_key_without_its_passphrase_says_how_to_give_it(
    make_step: StepMaker, keyring: Keyring
) -> None:
    keyring.set_default(keyring.create("correct horse"))
    with pytest.raises(StepFailed) as failed:
        sign(make_step, Sigstore())
    assert str(failed.value) == (
        "nothing was signed: the key is encrypted, and its passphrase is not at hand. [sign.release] "
        'declares no secret "PENSTOCK_KEY_PASSPHRASE". Add: '
        'secrets = { PENSTOCK_KEY_PASSPHRASE = "env:PENSTOCK_KEY_PASSPHRASE" }'
    )


def test_encrypted_key_with_a_wrong_passphrase_signs_nothing(
    make_step: StepMaker, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = keyring.create("correct horse")
    monkeypatch.setenv("PENSTOCK_KEY_PASSPHRASE", "wrong")
    step = make_step("sign.release", secrets={"PENSTOCK_KEY_PASSPHRASE": "env:PENSTOCK_KEY_PASSPHRASE"})
    with pytest.raises(StepFailed) as failed:
        penstock_sign(Sigstore(key=key_id), step, [STATEMENT])
    assert str(failed.value) == (
        f"nothing was signed: {keyring.root}/{key_id}.pem can't be decrypted: "
        "the passphrase is not the right one"
    )


def test_encrypted_key_by_path_needs_its_public_half_beside_it(
    make_step: StepMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "release.pem"
    public = write_key(path, "correct horse")
    monkeypatch.setenv("PENSTOCK_KEY_PASSPHRASE", "correct horse")
    step = make_step("sign.release", secrets={"PENSTOCK_KEY_PASSPHRASE": "env:PENSTOCK_KEY_PASSPHRASE"})
    settings = Sigstore(key=str(path))
    with pytest.raises(StepFailed) as failed:
        penstock_sign(settings, step, [STATEMENT])
    command = f"openssl pkey -in {path} -pubout -out {tmp_path}/release.pub"
    assert str(failed.value) == (
        f"nothing was signed: the key {path} is encrypted, and its public half is not beside it. "
        f"Write it there: {command}"
    )
    (tmp_path / "release.pub").write_text(public.pem)
    (tmp_path / "release.pub").chmod(0o644)
    (signature,) = penstock_sign(settings, step, [STATEMENT])
    assert penstock_check_signature(settings, signature, STATEMENT).identity == f"key:{public.id}"


def test_public_half_beside_a_key_that_is_another_one_is_found_when_signing(
    make_step: StepMaker, keyring: Keyring, tmp_path: Path
) -> None:
    path = tmp_path / "release.pem"
    public = write_key(path)
    (tmp_path / "release.pub").write_text(keyring.public(keyring.create()).pem)
    (tmp_path / "release.pub").chmod(0o644)
    with pytest.raises(StepFailed) as failed:
        sign(make_step, Sigstore(key=str(path)))
    assert str(failed.value) == (
        f"nothing was signed: {path} is the private half of {public.id[:16]}…, but the .pub file beside it "
        "is another key, so no signature would be accepted. Correct or remove the .pub file"
    )


def test_key_that_others_can_read_signs_nothing(make_step: StepMaker, tmp_path: Path) -> None:
    path = tmp_path / "a key.pem"
    write_key(path)
    path.chmod(0o644)
    with pytest.raises(StepFailed) as failed:
        sign(make_step, Sigstore(key=str(path)))
    assert str(failed.value) == (
        f"nothing was signed: the private key {path} is open to other users (mode 0644). "
        f"If nobody else had it: chmod 600 '{path}'"
    )


def test_no_home_directory_signs_nothing(make_step: StepMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "")
    with pytest.raises(StepFailed, match=r"^nothing was signed: there is no home directory to find keys in"):
        sign(make_step, Sigstore())


BAD_NAMES = {
    "relative path": ("keys/release.pem", '"keys/release.pem" names no key'),
    "short id": ("a41c", '"a41c" names no key'),
    "capitals": ("A41CA41C", '"A41CA41C" names no key'),
    "empty": ("", '"" names no key'),
    "NUL": ("/a\0b", "names no key"),
    "private key": ("-----BEGIN PRIVATE KEY-----\nMIG", "a private key does not belong into penstock.toml"),
}


@pytest.mark.parametrize(("name", "message"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_setting_that_names_no_key_is_refused(name: str, message: str) -> None:
    for section in ({"key": name}, {"trusted": [name]}):
        with pytest.raises(ValidationError, match="1 validation error") as refused:
            Sigstore.model_validate(section)
        assert message in refused.value.errors()[0]["msg"]
        if "PRIVATE" in name:
            assert "MIG" not in refused.value.errors()[0]["msg"]


def test_settings_are_described() -> None:
    schema = Sigstore.model_json_schema()
    assert sorted(schema["properties"]) == ["key", "passphrase_secret", "trusted"]
    assert all(field["description"] for field in schema["properties"].values())


def test_loading_the_plugin_costs_no_heavy_import() -> None:
    code = "import sys, penstock_sigstore; print([m for m in ('cryptography', 'click') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
