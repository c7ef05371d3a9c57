"""The engine: reached, or said why not and what to do. All that docker-py raises becomes a message here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from docker import APIClient, DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env, version_lt
from penstock import ConfigError, StepFailed
from urllib3.exceptions import HTTPError

from penstock_docker import complaints, ssh
from penstock_docker.settings import Tls

LOCAL = "local"
OLDEST = "1.41"
"""The API of Docker 20.10."""
PATIENCE = 600.0
"""Seconds for one answer of an engine: it may unpack a large image before it says a word."""
_SESSIONS = 8
"""Connections that are kept, of which an SSH server grants ten."""
_HELLO = 15.0
"""Seconds for the first."""
_OWN_SOCKET = "unix:///var/run/docker.sock"

__all__ = ["LOCAL", "OLDEST", "DockerClient", "ImageNotFound", "NotFound", "address", "connected", "speaking"]


def address(host: str | None) -> str:
    """The address that a setting means."""
    if host is None or host == LOCAL:
        return os.environ.get("DOCKER_HOST") or _OWN_SOCKET
    return host


@contextmanager
def connected(
    host: str | None, *, tls: Tls | None = None, patience: float | None = PATIENCE
) -> Iterator[DockerClient]:
    """An engine that answers, each time within `patience` seconds; None waits for ever.

    Raises StepFailed, with what to do, where there is none, and where it goes away.
    """
    where = address(host)
    _check_socket(where)
    with ExitStack() as stack:
        tunnel = stack.enter_context(ssh.tunnel(where)) if where.startswith("ssh://") else None
        stack.enter_context(speaking(where, tunnel))
        first = _HELLO if patience is None else min(_HELLO, patience)
        client = _client(host, tunnel.address if tunnel else where, tls, first)
        stack.callback(client.close)
        found = str(client.api.api_version)
        if version_lt(found, OLDEST):
            raise StepFailed(
                f"the Docker engine at {where} speaks version {found} of the API, and {OLDEST} or newer "
                "is needed. Install Docker 20.10 or newer there"
            )
        client.api.timeout = patience  # type: ignore[assignment]  # the stubs want whole seconds
        yield client


def _check_socket(where: str) -> None:
    """Raise StepFailed where there is none to connect to: docker-py would leave its own end open."""
    try:
        if where.startswith("unix://"):
            os.stat(where.removeprefix("unix://"))  # noqa: PTH116 - of whatever it is
    except OSError as error:
        raise StepFailed(_unreachable(where, complaints.of_connection(str(error)))) from None


class _Api(APIClient):
    """Goes to the engine, and nowhere else."""

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        """Waits for no answer for ever: docker-py would, for some of them."""
        if more.get("timeout") is None:
            more["timeout"] = self.timeout
        return super().send(request, **more)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """What the machine says of its ways to others (REQUESTS_CA_BUNDLE, HTTP_PROXY) is not for engines."""
        return {
            "proxies": {},
            "stream": stream,
            "verify": self.verify if verify is None else verify,
            "cert": cert or self.cert,
        }


class _Client(DockerClient):
    def __init__(self, **settings: Any) -> None:
        self.api = _Api(**settings)


def _client(host: str | None, where: str, tls: Tls | None, first: float) -> DockerClient:
    if (host is None or host == LOCAL) and not where.startswith("unix://"):
        return _Client(**kwargs_from_env(), timeout=first)
    return _Client(base_url=where, timeout=first, tls=_tls(where, tls), num_pools=_SESSIONS)


def _tls(where: str, tls: Tls | None) -> TLSConfig | bool:
    if tls is None or not where.startswith("tcp://"):
        return False
    ca, cert, key = (Path(path).expanduser() for path in (tls.ca, tls.cert, tls.key))
    for name, path in (("ca", ca), ("cert", cert), ("key", key)):
        if not path.is_file() or not os.access(path, os.R_OK):
            raise ConfigError(f'tls.{name} = "{path}": there is no such file here that can be read')
    return TLSConfig(client_cert=(str(cert), str(key)), ca_cert=str(ca), verify=True)


@contextmanager
def speaking(where: str, tunnel: ssh.Tunnel | None = None) -> Iterator[None]:
    """What an engine refuses is the step's failure, and so is one that is gone."""
    try:
        yield
    except APIError as error:
        raise StepFailed(f"the engine at {where} refused: {complaints.of_error(error)}") from None
    except (
        DockerException,
        requests.RequestException,
        HTTPError,  # streams are read past requests
        ConnectionError,
        TimeoutError,
    ) as error:
        said = (tunnel.said() if tunnel else "") or _innermost(error)
        raise StepFailed(_unreachable(where, complaints.of_connection(said))) from None


def _unreachable(where: str, why: str) -> str:
    return f"the Docker engine at {where} can't be reached: {why}"


def _innermost(error: BaseException) -> str:
    """The cause at the bottom, which is what people can do something about."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = error.__cause__ or error.__context__
        if inner is None:
            break
        if isinstance(error, requests.JSONDecodeError):
            return str(error)
        if isinstance(error, APIError) and error.explanation:
            return f"it answered {error.status_code}: {error.explanation}"
        error = inner
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
