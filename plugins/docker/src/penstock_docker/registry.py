"""A registry, by the OCI distribution specification 1.1: all that it serves is compared by digest.

https://github.com/opencontainers/distribution-spec
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests
from docker import auth
from docker.errors import DockerException
from penstock import Artifact, Step, StepFailed, StepRefused

from penstock_docker import archive, image

_PATIENCE = (10, 300)
"""Seconds to wait for a connection, and for the next bytes."""
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LARGEST = 4 << 20
"""Bytes of a manifest, as the specification recommends."""
_CHUNK = 1 << 20


def put(repository: str, artifact: Artifact, step: Step, *, insecure: bool = False) -> None:
    """Put an image into a registry under its digest, without a tag. What is there already stays."""
    raw, contents = archive.contents_of(artifact, step)
    with opened(repository, insecure=insecure) as registry:
        blobs = dict.fromkeys([*contents.layers, contents.config])
        for number, blob in enumerate(blobs):
            step.progress(number, len(blobs), f"to {repository}")
            if not registry.has_blob(blob.digest):
                registry.put_blob(blob.digest, archive.fetched(blob, step))
        registry.put_manifest(raw, image.MANIFEST, artifact.digest)
        if registry.manifest(artifact.digest) != raw:
            raise StepRefused(f"{repository} was handed {artifact.digest} and serves other bytes")
    step.log(f"Put into {repository}@{artifact.digest}")


@contextmanager
def opened(repository: str, *, insecure: bool = False) -> Iterator[Registry]:
    """A repository in its registry. Raises StepFailed where the registry can't be reached."""
    host, name = split(repository)
    with requests.Session() as session:
        registry = Registry(host, name, session, insecure=insecure)
        try:
            yield registry
        except requests.RequestException as error:
            raise StepFailed(f"the registry {host} can't be reached: {_innermost(error)}") from None


def split(repository: str) -> tuple[str, str]:
    """A repository's registry and its name there, as Docker reads it."""
    first, _, rest = repository.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return _HUB, repository if rest else f"library/{repository}"


class Registry:
    """One repository of a registry."""

    def __init__(self, host: str, name: str, session: requests.Session, *, insecure: bool = False) -> None:
        self.host = host
        self.name = name
        self._session = session
        scheme = "http" if insecure or _is_here(host) else "https"
        self._base = f"{scheme}://{_HUB_HOST if host == _HUB else host}/v2/{name}/"
        self._headers: dict[str, str] = {}

    def greet(self) -> None:
        """Raises StepFailed where the registry does not answer, or lets this account not in."""
        self._ask("GET", "/v2/", good=(200,))

    def has_blob(self, digest: str) -> bool:
        """Whether it has these bytes."""
        return self._ask("HEAD", f"blobs/{digest}", good=(200, 404)).status_code == 200

    def put_blob(self, digest: str, source: Path) -> None:
        """Upload some bytes. Raises StepFailed where the registry does not take them."""
        begun = self._ask("POST", "blobs/uploads/", good=(202,))
        place = urljoin(begun.url, begun.headers["Location"])
        separator = "&" if urlsplit(place).query else "?"
        with source.open("rb") as file:
            self._ask("PUT", f"{place}{separator}digest={digest}", good=(201,), data=file, headers=_BYTES)

    def put_manifest(self, raw: bytes, media_type: str, reference: str) -> Mapping[str, str]:
        """Store a manifest under a digest or a tag; the answer's headers."""
        answer = self._ask(
            "PUT", f"manifests/{reference}", good=(201,), data=raw, headers={"Content-Type": media_type}
        )
        return answer.headers

    def manifest(self, reference: str) -> bytes | None:
        """The manifest under a digest or a tag; None where there is none.

        Raises StepRefused where it is not the one of that digest.
        """
        accept = {"Accept": ", ".join((image.MANIFEST, image.INDEX))}
        answer = self._ask("GET", f"manifests/{reference}", good=(200, 404), headers=accept, stream=True)
        if answer.status_code == 404:
            answer.close()
            return None
        raw = _limited(answer)
        if reference.startswith("sha256:") and image.digest_of(raw) != reference:
            raise StepRefused(
                f"{self.host} was asked for {self.name}@{reference} and served {image.digest_of(raw)}"
            )
        return raw

    def blob(self, digest: str) -> bytes:
        """Some bytes, checked. For small ones."""
        raw = _limited(self._ask("GET", f"blobs/{digest}", good=(200,), stream=True))
        if image.digest_of(raw) != digest:
            raise StepRefused(f"{self.host} was asked for {digest} and served {image.digest_of(raw)}")
        return raw

    def _ask(
        self,
        method: str,
        path: str,
        *,
        good: tuple[int, ...],
        data: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        url = urljoin(self._base, path)
        for attempt in (1, 2):
            sent = {**(headers or {}), **self._headers}
            answer = self._session.request(
                method, url, data=data, headers=sent, timeout=_PATIENCE, stream=stream
            )
            if answer.status_code != 401 or attempt == 2:
                break
            self._log_in(answer.headers.get("WWW-Authenticate", ""))
            if data is not None and not isinstance(data, bytes):
                data.seek(0)
        if answer.status_code not in good:
            raise StepFailed(self._why(method, url, answer))
        return answer

    def _log_in(self, challenge: str) -> None:
        """Get what the registry asks for: the user's name and password, or a token for them."""
        scheme, _, rest = challenge.partition(" ")
        known = self._credentials()
        if scheme.lower() == "basic" and known:
            self._headers = {"Authorization": requests.auth._basic_auth_str(*known)}
            return
        if scheme.lower() != "bearer":
            return
        asked = dict(_CHALLENGE.findall(rest))
        realm = asked.pop("realm", "")
        scope = asked.get("scope") or f"repository:{self.name}:pull,push"
        answer = self._session.get(realm, params={**asked, "scope": scope}, auth=known, timeout=_PATIENCE)
        token = _json(answer).get("token") or _json(answer).get("access_token")
        if answer.status_code == 200 and token:
            self._headers = {"Authorization": f"Bearer {token}"}

    def _credentials(self) -> tuple[str, str] | None:
        """Out of Docker's own store, where `docker login` put them."""
        try:
            found: dict[str, Any] | None = auth.load_config().resolve_authconfig(
                None if self.host == _HUB else self.host
            )
        except DockerException as error:
            raise StepFailed(f"Docker's credential store has nothing for {self.host}: {error}") from None
        if not found:
            return None
        name = found.get("username") or found.get("Username")
        password = found.get("password") or found.get("Password") or found.get("Secret")
        return (str(name), str(password)) if name and password else None

    def _why(self, method: str, url: str, answer: requests.Response) -> str:
        begin = f"the registry {self.host} refused {method} {urlsplit(url).path}: {answer.status_code}"
        if answer.status_code in (401, 403):
            return f"{begin}. Log in with an account that may: docker login {self.host}"
        errors = _json(answer).get("errors")
        said = [
            str(each.get("message") or each.get("code")) for each in errors or () if isinstance(each, dict)
        ]
        return f"{begin} {'; '.join(said) or answer.reason}"


_BYTES = {"Content-Type": "application/octet-stream"}


def _is_here(host: str) -> bool:
    """Whether a registry is on this machine, which Docker speaks HTTP to as well."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _limited(answer: requests.Response) -> bytes:
    found = bytearray()
    with answer:
        for chunk in answer.iter_content(_CHUNK):
            found += chunk
            if len(found) > _LARGEST:
                raise StepRefused(f"{urlsplit(answer.url).netloc} serves more than a manifest may have")
    return bytes(found)


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _innermost(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
