"""What an `[observe.NAME]` section of this plugin may say."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from penstock import Duration, Settings
from pydantic import AfterValidator, Field, model_validator

Kind = Literal["failure", "recovery", "waiting", "deployed", "rolled back"]
_RECEIVERS = ("url", "webhook", "command")


def is_reference(text: str) -> bool:
    """Whether it stands for a secret, such as env:NAME or vault:path, rather than being one itself."""
    scheme, colon, rest = text.partition(":")
    return bool(colon) and scheme.isalpha() and bool(rest) and not rest.startswith("//")


def _address(text: str | None) -> str | None:
    if text is None or is_reference(text) or (text.isprintable() and "://" in text and " " not in text):
        return text
    raise ValueError('must be an address such as "slack://…", or where it is kept: "env:CHAT_URL"')


def _web(text: str | None) -> str | None:
    if text is None or is_reference(text):
        return text
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good and text.isprintable() and " " not in text:
        return text
    raise ValueError('must be an address such as "https://…", or where it is kept: "env:HOOK_URL"')


def _words(command: tuple[str, ...]) -> tuple[str, ...]:
    if command and not command[0].strip():
        raise ValueError('must begin with the name of a program, such as ["./tell.sh", "--quiet"]')
    if any("\0" in word for word in command):
        raise ValueError("holds a NUL character, which no program can be given")
    return command


class Notify(Settings):
    """Tells one receiver what happens to runs: exactly one of `url`, `webhook` and `command`."""

    url: Annotated[str | None, AfterValidator(_address)] = Field(
        default=None,
        description="Sends to this Apprise address, such as slack://… or mailto://…; one that holds a secret "
        "is kept elsewhere: env:NAME or file:PATH.",
    )
    webhook: Annotated[str | None, AfterValidator(_web)] = Field(
        default=None, description="Posts the message as JSON to this address, or where env:NAME says."
    )
    headers: dict[str, str] = Field(
        default={}, description="Sends these with the webhook; a value may be env:NAME or file:PATH."
    )
    command: Annotated[tuple[str, ...], AfterValidator(_words)] = Field(
        default=(), description="Runs this program, in the project, with the message as JSON on its input."
    )
    on: tuple[Kind, ...] = Field(
        default=("failure", "recovery", "waiting", "deployed", "rolled back"),
        description="Tells of these.",
    )
    keep_trying: Duration = Field(
        default=3600, description="Tries so long to reach a receiver that is down, then lets the message go."
    )

    @model_validator(mode="after")
    def _one_receiver(self) -> Self:
        given = [name for name in _RECEIVERS if getattr(self, name)]
        if len(given) != 1:
            what = f"{' and '.join(given)} stand side by side" if given else "nobody is named to be told"
            raise ValueError(
                f"{what}: a section has one of url, webhook and command. Each receiver has its own"
            )
        if self.headers and not self.webhook:
            raise ValueError("headers are sent with a webhook, and there is none")
        return self
