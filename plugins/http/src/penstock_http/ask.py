"""One request → one answer. Whatever the other side does is an answer; nothing here raises for it."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from penstock_http.connection import Connection, Deadline, TooMuchError
from penstock_http.settings import check_url

BODY_LIMIT = 1024 * 1024
"""So many bytes of a body are read, at most."""

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_UNKNOWN_ISSUER = (18, 19, 20, 21)  # OpenSSL's codes for a chain that ends in nothing that is trusted


@dataclass(frozen=True)
class Header:
    """One header of a request."""

    name: str
    value: str
    secret: bool = False
    """Whether it is only for the host that the section names."""


@dataclass(frozen=True)
class Request:
    """What is asked."""

    url: str
    tls: Callable[[], ssl.SSLContext]
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    timeout: float = 5.0
    follow_redirects: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back."""

    seconds: float = 0.0
    """From the beginning to the last byte that was read."""
    status: int = 0
    body: str = ""
    location: str = ""
    """Where it redirects to."""
    problem: str | None = None
    """Why there is no whole answer."""


class _NoAnswerError(Exception):
    """There was something, but it can't be taken as an answer."""


def ask(request: Request) -> Answer:
    """Ask once, redirects included, and be back within the request's timeout."""
    started = time.monotonic()
    deadline = Deadline(request.timeout)
    try:
        answer = _follow(request, deadline)
    except (OSError, http.client.HTTPException, ValueError, _NoAnswerError) as error:
        answer = Answer(problem=_explain(error, request))
    return replace(answer, seconds=time.monotonic() - started)


def _follow(request: Request, deadline: Deadline) -> Answer:
    for _ in range(_MOST_REDIRECTS + 1):
        answer = _once(request, deadline)
        if not (request.follow_redirects and answer.status in _REDIRECTS and answer.location):
            return answer
        request = redirected(request, answer)
    raise _NoAnswerError(f"more than {_MOST_REDIRECTS} redirects")


def redirected(request: Request, answer: Answer) -> Request:
    """The request that a redirect asks for; secrets stay with the host that they are for."""
    try:
        url = check_url(urljoin(request.url, answer.location))
    except ValueError:
        raise _NoAnswerError(f"{answer.status} to what can't be asked, {answer.location}") from None
    same = _origin(urlsplit(url)) == _origin(urlsplit(request.url))
    as_get = answer.status == 303 or (answer.status in (301, 302) and request.method == "POST")
    return replace(
        request,
        url=url,
        method="GET" if as_get and request.method != "HEAD" else request.method,
        headers=tuple(h for h in request.headers if same or not (h.secret or h.name.lower() == "host")),
    )


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return (url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme))


def _once(request: Request, deadline: Deadline) -> Answer:
    url = urlsplit(request.url)
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    connection = Connection(url.hostname or "", port, deadline, request.tls() if secure else None)
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        skipped = {
            "skip_host": _has(request, "host"),
            "skip_accept_encoding": _has(request, "accept-encoding"),
        }
        connection.putrequest(request.method, path, **skipped)
        for header in _all_headers(request):
            connection.putheader(header.name, header.value)
        connection.endheaders()
        with connection.getresponse() as response:
            body = response.read(BODY_LIMIT)
            if response.length and len(body) < BODY_LIMIT:
                raise _NoAnswerError(f"{response.status}, but its body ended {response.length} bytes early")
            return Answer(
                status=response.status,
                body=_decoded(body, response.headers.get_content_charset()),
                location=response.headers.get("Location", ""),
            )
    finally:
        connection.hang_up()


def _has(request: Request, name: str) -> bool:
    return any(header.name.lower() == name for header in request.headers)


def _all_headers(request: Request) -> list[Header]:
    own = [Header("Connection", "close"), Header("User-Agent", "penstock-http"), Header("Accept", "*/*")]
    if request.method == "POST":
        own.append(Header("Content-Length", "0"))
    return [header for header in own if not _has(request, header.name.lower())] + list(request.headers)


def _decoded(body: bytes, charset: str | None) -> str:
    # Not every name that a server may say is one of a character set to Python, or a harmless one.
    known = charset in ("utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16")
    return body.decode(charset if known and charset else "utf-8", errors="replace")


def _explain(error: Exception, request: Request) -> str:
    if isinstance(error, TimeoutError):
        return f"no whole answer within {request.timeout:g} s"
    for kind, explain in _EXPLANATIONS:
        if isinstance(error, kind):
            return explain(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    cure = ". Name its issuer's certificate with `ca`" if error.verify_code in _UNKNOWN_ISSUER else ""
    return f"the certificate is not trusted: {error.verify_message}{cure}"


def _tls_failed(error: ssl.SSLError) -> str:
    return f"TLS failed: {(error.reason or 'it ended too early').replace('_', ' ').lower()}"


# The first that fits: each narrower type stands before the wider.
_EXPLANATIONS: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (ssl.SSLCertVerificationError, _untrusted),
    (ssl.SSLError, _tls_failed),
    (ConnectionRefusedError, lambda _: "connection refused"),
    (ConnectionError, lambda _: "the connection was closed without an answer"),
    (socket.gaierror, lambda error: f"the name can't be resolved: {error.strerror}"),
    (TooMuchError, lambda _: "the answer is too large"),
    (http.client.IncompleteRead, lambda _: "the body ended early"),
    (http.client.HTTPException, lambda error: f"what was answered is not HTTP: {error}"),
)
