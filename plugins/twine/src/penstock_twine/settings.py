"""What a section that `uses = "twine"` may say."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from penstock import Duration, Settings
from pydantic import AfterValidator, Field, model_validator

NAMED = ("pypi", "testpypi")
"""Indexes that have a name, as twine knows them."""


def _check_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or any(sign.isspace() for sign in value):
        raise ValueError(f'"{value}" is not the address of an index, such as "https://packages.example.com/"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address holds a name or a password. Those are `username` and `password`")
    if parts.query or parts.fragment:
        raise ValueError(f'"{value}" has a part after "?" or "#", which no index has')
    return value


def _check_repository(value: str) -> str:
    return value if value in NAMED else _check_url(value)


def is_open(url: str) -> bool:
    """Whether what is sent there can be read on the way: not encrypted, and not to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_here(parts)


def _is_here(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Twine(Settings):
    """Publishes the wheels and sdists that were built to a package index, each once and never other bytes."""

    repository: Annotated[str, AfterValidator(_check_repository)] = Field(
        description='Uploads to this address, or to "pypi" or "testpypi". There is no default: nobody '
        "publishes by accident.",
    )
    index: Annotated[str, AfterValidator(_check_url)] | None = Field(
        default=None,
        description="Looks here, at the simple API, for what is published already. By default simple/ below "
        "`repository`, or beside its legacy/.",
    )
    username: str = Field(
        default="__token__",
        min_length=1,
        description="Logs in by this name; the default is the one that goes with an API token.",
    )
    password: str | None = Field(
        default=None,
        min_length=1,
        description="Logs in with this secret: one of the names under the section's own key `secrets`.",
    )
    formats: tuple[Literal["wheel", "sdist"], ...] = Field(
        default=("wheel", "sdist"), min_length=1, description="Publishes files of these kinds."
    )
    strict: bool = Field(
        default=False,
        description="Refuses files of which `twine check` has but a warning, such as a missing description.",
    )
    wait: Duration = Field(
        default=120.0, description="Waits so long for the index to show a file that was uploaded."
    )
    insecure: bool = Field(
        default=False, description="Sends the password to another machine without encryption, over http:."
    )

    @model_validator(mode="after")
    def _check_encrypted(self) -> Twine:
        for url in (self.repository, self.index or ""):
            if self.password is not None and not self.insecure and is_open(url):
                raise ValueError(
                    f'"{url}" is not encrypted: whoever is on the way could read the password. Use https:, '
                    "or say insecure = true"
                )
        return self
