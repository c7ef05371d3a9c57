"""The engine: reached, or said why not and what to do. All that docker-py raises becomes a message here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from penstock import StepFailed

LOCAL = "local"
_PATIENCE = 600
"""Seconds for one answer of an engine: it may unpack a large image before it says a word."""
_OWN_SOCKET = "unix:///var/run/docker.sock"

__all__ = ["LOCAL", "DockerClient", "ImageNotFound", "NotFound", "address", "connected", "speaking"]


def address(host: str | None) -> str:
    """The address that a setting means."""
    if host is None or host == LOCAL:
        return os.environ.get("DOCKER_HOST") or _OWN_SOCKET
    return host


@contextmanager
def connected(host: str | None) -> Iterator[DockerClient]:
    """An engine that answers. Raises StepFailed, with what to do, where there is none."""
    where = address(host)
    _check_socket(where)
    try:
        client = _client(host, where)
    except (DockerException, requests.RequestException, OSError, ValueError) as error:
        raise StepFailed(_why_unreachable(where, error)) from None
    try:
        with speaking(where):
            client.ping()
            yield client
    finally:
        client.close()


def _check_socket(where: str) -> None:
    path = Path(where.removeprefix("unix://"))
    if where.startswith("unix://") and not path.exists():
        raise StepFailed(_why_unreachable(where, FileNotFoundError(f"No such file: {path}")))


def _client(host: str | None, where: str) -> DockerClient:
    if host is None or host == LOCAL:
        return docker.from_env(timeout=_PATIENCE)
    # The ssh program knows the user's configuration, keys and agents; paramiko does not know all of it.
    return DockerClient(base_url=where, timeout=_PATIENCE, use_ssh_client=where.startswith("ssh://"))


@contextmanager
def speaking(where: str) -> Iterator[None]:
    """What an engine refuses is the step's failure; an engine that is gone is the machine's."""
    try:
        yield
    except APIError as error:
        raise StepFailed(f"the engine at {where} refused: {_told(error)}") from None
    except (DockerException, requests.RequestException, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # this machine's own disk
        raise StepFailed(_why_unreachable(where, error)) from None


def _told(error: APIError) -> str:
    explanation = error.explanation
    text = (
        explanation.decode(errors="replace") if isinstance(explanation, bytes) else str(explanation or error)
    )
    if "no space left on device" in text:
        return f"{text.strip()}. Make room on its disk: docker system df, docker system prune"
    return text.strip()


def _why_unreachable(where: str, error: Exception) -> str:
    said = _innermost(error)
    begin = f"the Docker engine at {where} can't be reached: "
    if "FileNotFoundError" in said or "No such file" in said:
        return f"{begin}there is no such socket. Start it (systemctl start docker), or say where it is: "
        "DOCKER_HOST"
    if "PermissionError" in said or "Permission denied" in said:
        return (
            f"{begin}permission denied. Add yourself to the group that may (usermod -aG docker $USER, then "
            "log in "
            "again), which is as good as root on that machine"
        )
    if "client version" in said or "too old" in said or "too new" in said:
        return f"{begin}it speaks another version of the API ({said})"
    if "Connection refused" in said:
        return f"{begin}nobody listens there. Start it, or say where it is: DOCKER_HOST"
    return f"{begin}{said}"


def _innermost(error: BaseException) -> str:
    """The cause at the bottom, which is what people can do something about."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
