"""What a section that `uses = "http"` may say."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from penstock import Duration, Percentage, Settings
from pydantic import AfterValidator, Field, model_validator

SECRET = re.compile(r"\$\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_URL_CHARACTERS = re.compile(r"[!-~]+")


def check_url(value: str) -> str:
    """The URL, if it is one that can be asked. Raises ValueError otherwise, saying what is wrong."""
    if not _URL_CHARACTERS.fullmatch(value):
        raise ValueError(f"{value!r} holds a space or a character outside of ASCII. Percent-encode it")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f'"{value}" is not a URL: {error}') from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f'"{value}" does not begin with http:// or https://')
    if not host or port == 0:
        raise ValueError(f'"{value}" names no host or no port that can be asked')
    if "@" in parts.netloc:
        raise ValueError(
            "a URL with a user or password ends up in logs. Send them as a header with a secret: "
            'headers = { Authorization = "Bearer ${secret:TOKEN}" }'
        )
    return value


def _check_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f'"{value}" is not a regular expression: {error}') from None
    return value


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if name.lower() in ("content-length", "transfer-encoding", "connection"):
            raise ValueError(f"{name} is set by the request itself")
        if bad_header_value(value):
            raise ValueError(f"the value of {name} holds a line break or a character that headers can't")
        if "${" in SECRET.sub("", value):
            raise ValueError(f"the value of {name} holds a ${{ that is no ${{secret:NAME}}")
    return headers


def bad_header_value(value: str) -> bool:
    """Whether a value can't be sent."""
    return not _HEADER_VALUE.fullmatch(value)


Status = Annotated[int, Field(ge=200, le=599)]


class Http(Settings):
    """Asks a URL and checks what it answers."""

    url: Annotated[str, AfterValidator(check_url)] = Field(
        description="Asks this address, http or https, directly: proxies are not used."
    )
    status: Status | Annotated[tuple[Status, ...], Field(min_length=1)] = Field(
        default=200, description="Passes when this status is answered, or one of these."
    )
    body: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        default=None,
        description="Passes only when this regular expression is found in the first MiB of the body.",
    )
    max_latency: Duration | None = Field(
        default=None, description="Passes only when each answer, with its body, takes no longer than this."
    )
    count: int = Field(default=1, ge=1, description="Asks so many times; every answer must be good.")
    interval: Duration = Field(default=0.2, description="Begins a request so long after the one before it.")
    duration: Duration | None = Field(
        default=None, gt=0, description="Asks for so long, instead of `count` times."
    )
    wait: Duration = Field(
        default=0,
        description="Gives what was deployed so long to answer well for the first time; only then it counts.",
    )
    request_timeout: Duration = Field(
        default=5,
        gt=0,
        description="Gives up a request after this time, from looking up the name to the last byte.",
    )
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = Field(
        default="GET", description="Asks with this method, without a body of its own."
    )
    headers: Annotated[dict[str, str], AfterValidator(_check_headers)] = Field(
        default={},
        description="Sends these headers. `${secret:NAME}` in a value is a secret of the section.",
    )
    allowed_failures: Percentage = Field(
        default=0, lt=1, description="Passes a check with this share of bad answers, less than 100%."
    )
    follow_redirects: bool = Field(
        default=False,
        description="Follows up to 5 redirects; to another host or port, headers with secrets are left out.",
    )
    ca: str | None = Field(
        default=None,
        min_length=1,
        description="Trusts the certificates in this PEM file too: a path in the workspace, or absolute.",
    )

    @property
    def statuses(self) -> tuple[int, ...]:
        """The statuses that are good."""
        return (self.status,) if isinstance(self.status, int) else self.status

    @model_validator(mode="after")
    def _agree(self) -> Http:
        if self.duration is not None and self.count > 1:
            raise ValueError("count and duration exclude each other: ask so often, or for so long")
        if self.body is not None and self.method == "HEAD":
            raise ValueError("an answer to HEAD has no body to look into: drop body, or ask with GET")
        if self.max_latency is not None and self.max_latency >= self.request_timeout:
            raise ValueError(
                "max_latency must be less than request_timeout: a later answer is not waited for"
            )
        if self.ca is not None and not self.url.startswith("https:") and not self.follow_redirects:
            raise ValueError("ca is for https, and the url begins with http://")
        return self
