"""What a service prints, followed into its log while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from docker.errors import DockerException
from penstock import PenstockError, Step
from requests import RequestException

from penstock_docker import engine

_PATIENCE = 1.0
"""Seconds for the last of what it printed, once it has ended."""


@contextmanager
def kept(host: str | None, container: str, service: Step, *, until: Callable[[], None]) -> Iterator[None]:
    """While this lasts; then `until` ends the container, and what it still printed is taken in."""
    thread = threading.Thread(target=_follow, args=(host, container, service), daemon=True)
    thread.start()
    try:
        yield
    finally:
        until()
        thread.join(_PATIENCE)


def _follow(host: str | None, container: str, service: Step) -> None:
    """On a connection of its own: the other one is busy with what the step asks."""
    write, write_rest = service.masked_log()
    try:
        with engine.connected(host) as client:
            for chunk in client.api.logs(container, stream=True, follow=True):
                write(chunk)
    except (PenstockError, DockerException, RequestException, OSError, ValueError):
        pass  # the engine is gone, or the container: whoever waits for the service says so
    write_rest()
