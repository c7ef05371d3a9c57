"""Asking an index over HTTP. What it says is judged elsewhere; everything unclear is an error."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from penstock import StepFailed
from urllib3.exceptions import HTTPError

from penstock_twine import simple
from penstock_twine.simple import Entry

_PATIENCE = (10.0, 60.0)  # seconds to connect, and between two pieces of an answer
_REDIRECTS = 10
_CHUNK = 1 << 16
_LARGEST_PAGE = 64 * 1024 * 1024
_REDIRECTED = (301, 302, 303, 307, 308)


class Client:
    """One index, asked with the name and password for its repository where it wants one."""

    def __init__(self, index: str, repository: str, login: tuple[str, str] | None) -> None:
        self.index = index.rstrip("/") + "/"
        self._repository = urlsplit(repository)
        self._login = login
        self._session = requests.Session()
        self._session.headers["Cache-Control"] = "max-age=0"

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def files(self, project: str) -> list[Entry] | None:
        """The files of a project; None where the index has no such project.

        An index that hands the question on to another one (pypiserver's default) has none either: what
        that one says is not about this one.
        """
        url = urljoin(self.index, f"{project}/")
        for _ in range(_REDIRECTS):
            with self._get(url, simple.ACCEPT) as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code not in _REDIRECTED:
                    text = self._text(answer, url)
                    return simple.parse(text, answer.headers.get("Content-Type", ""), url)
                url = urljoin(url, answer.headers.get("Location", ""))
            if urlsplit(url).hostname != urlsplit(self.index).hostname:
                return None
        raise StepFailed(f"{self.index}{project}/ leads from one address to the next and to no page")

    def is_there(self) -> bool:
        """Whether something answers at the index's own address."""
        with self._asked("HEAD", self.index) as answer:
            return answer.status_code < 400 or answer.status_code in (401, 403)

    def digest(self, url: str, largest: int | None = None) -> str:
        """The SHA-256 of what is served at an address; of its beginning, where it is larger than that."""
        digest, size = hashlib.sha256(), 0
        with self._get(url, "*/*", redirects=True) as answer:
            if answer.status_code != 200:
                raise StepFailed(f"{url} is on the index, and can't be fetched: {_status(answer)}")
            for chunk in self._chunks(answer, url):
                digest.update(chunk)
                size += len(chunk)
                if largest is not None and size > largest:
                    break
        return f"sha256:{digest.hexdigest()}"

    def _text(self, answer: requests.Response, url: str) -> str:
        if answer.status_code != 200:
            hint = ". Are `username` and `password` right?" if answer.status_code in (401, 403) else ""
            raise StepFailed(f"{url} can't be read: {_status(answer)}{hint}")
        data = bytearray()
        for chunk in self._chunks(answer, url, decode=True):
            data += chunk
            if len(data) > _LARGEST_PAGE:
                raise StepFailed(f"{url} is too large for a page of a package index")
        return data.decode(errors="replace")

    def _chunks(self, answer: requests.Response, url: str, *, decode: bool = False) -> Iterator[bytes]:
        try:
            # As it stands, since some servers call a .tar.gz itself an encoding: decoded, it is another file.
            yield from answer.raw.stream(_CHUNK, decode_content=decode)
        except (HTTPError, OSError) as error:
            raise StepFailed(f"{url} was cut off: {_why(error)}") from None

    @contextmanager
    def _get(self, url: str, accept: str, *, redirects: bool = False) -> Iterator[requests.Response]:
        with self._asked("GET", url, accept=accept, redirects=redirects) as answer:
            if answer.status_code not in (401, 403) or not self._may_log_in(url):
                yield answer
                return
        with self._asked("GET", url, accept=accept, redirects=redirects, login=self._login) as answer:
            yield answer

    @contextmanager
    def _asked(
        self,
        method: str,
        url: str,
        *,
        accept: str = "*/*",
        redirects: bool = False,
        login: tuple[str, str] | None = None,
    ) -> Iterator[requests.Response]:
        try:
            answer = self._session.request(
                method,
                url,
                headers={"Accept": accept, "Accept-Encoding": "identity"},
                allow_redirects=redirects,
                auth=login,
                stream=True,
                timeout=_PATIENCE,
            )
        except (requests.RequestException, OSError, ValueError) as error:
            raise StepFailed(f"{url} can't be reached: {_why(error)}") from None
        try:
            yield answer
        finally:
            answer.close()

    def _may_log_in(self, url: str) -> bool:
        """The password is for the repository's own server, and for no other that it may point to."""
        return self._login is not None and _origin(urlsplit(url)) == _origin(self._repository)


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _status(answer: requests.Response) -> str:
    return f"the index answers {answer.status_code} {answer.reason or ''}".rstrip()


def _why(error: BaseException) -> str:
    """The cause at the bottom of requests' errors, which wrap others two or three deep."""
    if isinstance(error, requests.Timeout):
        return "no answer came in time"
    if isinstance(error, requests.TooManyRedirects):
        return "it leads from one address to the next"
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        inner = [argument for argument in current.args if isinstance(argument, BaseException)]
        reason = getattr(current, "reason", None)
        inner += [reason] if isinstance(reason, BaseException) else []
        current = inner[0] if inner else current.__cause__ or current.__context__
    for found in reversed(seen):
        if (
            isinstance(found, OSError)
            and found.errno in errno.errorcode
            and not isinstance(found, requests.RequestException)
        ):
            return os.strerror(found.errno or 0)
    text = str(seen[-1]).rpartition(": ")[2] or type(error).__name__
    return text[:200]
