"""The `sign` plugin: evidence signed with a local P-256 key, offline, into Sigstore bundles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from penstock import (
    ConfigError,
    Proposal,
    Settings,
    Signature,
    Signer,
    Step,
    StepFailed,
    StepRefused,
    hookimpl,
)
from pydantic import AfterValidator, Field

from penstock_sigstore import bundle, trust
from penstock_sigstore.pem import BadKeyError

if TYPE_CHECKING:
    import click

PENSTOCK_API = 1


# Keyless signing will add settings of its own (an identity and its issuer); a section without them
# goes on to mean a key.
class Sigstore(Settings):
    """Signs all evidence with a key of yours; checks it against that key and those that you trust."""

    key: Annotated[str, AfterValidator(trust.check_key_name)] | None = Field(
        default=None,
        description="Signs with this key: the first 8 or more digits of its id, or the path of a P-256 "
        'private key in PEM form that starts with "/" or "~/". By default with your default key, which is '
        "made when it is first needed.",
    )
    passphrase_secret: str = Field(
        default="PENSTOCK_KEY_PASSPHRASE",
        min_length=1,
        description="Opens an encrypted key with this secret, one of those that the section names under "
        "`secrets`.",
    )
    trusted: tuple[Annotated[str, AfterValidator(trust.check_trusted_name)], ...] = Field(
        default=(),
        description="Accepts signatures by these keys too: public keys in PEM form, paths of such "
        'files that start with "/" or "~/", or ids of keys in your key directory. Without them only the '
        "key that signs is accepted.",
    )


@hookimpl
def penstock_sign(settings: Sigstore, step: Step, statements: Sequence[bytes]) -> list[Signature]:
    """Seal each statement; a signature that the check would refuse later is not made."""
    try:
        key, public, made = trust.signing_key(settings.key, lambda: _passphrase(settings, step))
        trusted = trust.trusted_keys(settings.key, settings.trusted)
    except ConfigError as error:
        raise StepFailed(f"nothing was signed: {error}") from None
    if made:
        step.log(f"Made a signing key: {made} (0600, unencrypted; `penstock keys encrypt` adds a passphrase)")
    if public.id not in trusted:
        raise StepFailed(
            f"nothing was signed: {settings.key} is the private half of {public.id[:16]}…, but the .pub file "
            "beside it is another key, so no signature would be accepted. Correct or remove the .pub file"
        )
    step.log(f"Signing with local key {public.id}. Statements: {len(statements)}")
    return [
        Signature(
            bundle=bundle.seal(key, public.id, statement),
            statement=bundle.digest_of(statement),
            signer=f"key:{public.id}",
        )
        for statement in statements
    ]


@hookimpl
def penstock_check_signature(settings: Sigstore, signature: Signature, statement: bytes) -> Signer:
    """Ask whether the bundle is the one text that a trusted key would have made of the statement."""
    if signature.statement != bundle.digest_of(statement):
        raise StepRefused(f"the signature is on record for another statement, {signature.statement}")
    sealed = bundle.read(signature.bundle, statement)
    try:
        trusted = trust.trusted_keys(settings.key, settings.trusted)
    except BadKeyError as error:
        raise StepRefused(f"the signature can't be checked: {error}") from None
    public = trusted.get(sealed.hint)
    if public is None:
        raise StepRefused(
            f"the signature names the key {sealed.hint}, which is not trusted here; trusted: "
            f"{', '.join(sorted(trusted))}. If it should be, put its public PEM (penstock keys show) under "
            "`trusted` in the section of the sign step"
        )
    bundle.verify(public.load(), sealed, statement)
    # Nothing rests on the name on record, which may be missing; a wrong one means that somebody edited it.
    if signature.signer not in ("", f"key:{public.id}"):
        raise StepRefused(
            f"the signature is on record as made by {signature.signer!r}, but it is by key:{public.id}"
        )
    return Signer(identity=f"key:{public.id}", public_key=public.pem)


@hookimpl
def penstock_commands() -> list[click.Command]:
    """`penstock keys`."""
    from penstock_sigstore.commands import keys

    return [keys]


@hookimpl
def penstock_propose(add: str | None) -> Proposal:
    """Signatures of everything that the steps before found out."""
    from penstock_sigstore import propose

    return propose.propose(add or "sign.release")


def _passphrase(settings: Sigstore, step: Step) -> str:
    try:
        return step.secret(settings.passphrase_secret)
    except ConfigError as error:
        raise BadKeyError(f"the key is encrypted, and its passphrase is not at hand. {error}") from None
