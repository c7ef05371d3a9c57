"""A page of the simple API → the files on it: JSON (PEP 691) or HTML (PEP 503). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from penstock import Model, StepFailed

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
"""What is asked for: the JSON form where the index has it."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(Model):
    """One file on an index."""

    name: str
    url: str
    sha256: str | None = None
    """As the index has it; None where it does not say."""


def parse(text: str, kind: str, url: str) -> list[Entry]:
    """The files on a page of this content type. Raises StepFailed for what is no page of an index."""
    media = kind.partition(";")[0].strip().lower()
    if media.endswith("json"):
        return list(_json(text, url))
    if media.endswith("html"):
        return list(_html(text, url))
    raise StepFailed(f"{url} is no page of a package index: it is of the type {media or 'that nobody says'}")


def _json(text: str, url: str) -> Iterator[Entry]:
    try:
        document: Any = json.loads(text)
        version = str(document["meta"]["api-version"])
        files = [(file["filename"], file["url"], file["hashes"].get("sha256")) for file in document["files"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise StepFailed(
            f"{url} is no page of a package index: its JSON is not that of the simple API"
        ) from None
    if version.partition(".")[0] != "1":
        raise StepFailed(
            f"{url} speaks version {version} of the simple API, and 1 is the one that is understood"
        )
    for name, address, digest in files:
        yield Entry(name=str(name), url=_without_user(urljoin(url, str(address))), sha256=_digest(digest))


def _html(text: str, url: str) -> Iterator[Entry]:
    links = _Links(url)
    links.feed(text)
    links.close()
    if not links.is_page:
        raise StepFailed(f"{url} is no page of a package index: it has no HTML in it")
    for address in links.found:
        target, fragment = urldefrag(urljoin(links.base, address))
        name = unquote(urlsplit(target).path.rpartition("/")[2])
        algorithm, _, digest = fragment.partition("=")
        yield Entry(
            name=name, url=_without_user(target), sha256=_digest(digest if algorithm == "sha256" else None)
        )


class _Links(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.base = url
        self.found: list[str] = []
        self.is_page = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.is_page = True
        address = dict(attrs).get("href")
        if tag == "base" and address:
            self.base = urljoin(self.base, address)
        elif tag == "a" and address:
            self.found.append(address)


def _digest(value: object) -> str | None:
    text = value.lower() if isinstance(value, str) else ""
    return text if _SHA256.fullmatch(text) else None


def _without_user(url: str) -> str:
    """A location goes on record: no name or password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
