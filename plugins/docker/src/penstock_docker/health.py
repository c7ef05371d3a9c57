"""Whether a container that runs is well: by a question to it, by its image's own check, or since it runs."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from penstock import Health

from penstock_docker import engine
from penstock_docker.engine import DockerClient
from penstock_docker.settings import Service

_ANSWER_WITHIN = 5.0
_FLAPS = 3


def look(client: DockerClient, container: str, host: str, settings: Service) -> Health:
    """One look at a container."""
    attrs = client.api.inspect_container(container)
    state, restarts = attrs["State"], attrs.get("RestartCount", 0)
    running_for = _seconds_since(state.get("StartedAt", ""))
    early = running_for < settings.start_timeout
    if state.get("Status") != "running" or restarts > _FLAPS:
        said = f"it is {state.get('Status')}, ended {restarts} times"
        return Health(status="unhealthy", detail=f"{said}: {_last_line(client, container)}")
    if settings.health:
        return _asked(url(host, settings), early)
    own = state.get("Health", {}).get("Status")
    if own in ("healthy", "unhealthy"):
        return Health(status=own, detail="the image's own check")
    if own == "starting":
        return Health(
            status="unknown" if early else "unhealthy", detail="the image's own check is still starting"
        )
    settled = running_for >= settings.settle
    return Health(status="healthy" if settled else "unknown", detail=f"it runs, as {container[:12]}")


def url(host: str, settings: Service) -> str:
    """Where a host is asked whether the service is well."""
    health = settings.health or "/"
    name = urlsplit(engine.address(host)).hostname or "127.0.0.1"
    if not health.startswith("/"):
        return health.replace("{host}", name)
    return f"http://{name}:{settings.ports[0].split(':')[-2]}{health}"


def _asked(place: str, early: bool) -> Health:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    try:
        with opener.open(place, timeout=_ANSWER_WITHIN) as answer:
            if answer.status == 200:
                return Health(status="healthy", detail=f"{place} answered 200")
            said = str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            said = str(error.code)
    except (OSError, ValueError) as error:
        said = f"nothing ({getattr(error, 'reason', error)})"
    detail = f"{place} answered {said}; 200 is needed"
    return Health(status="unknown" if early else "unhealthy", detail=detail)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer, and not the right one."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _seconds_since(text: str) -> float:
    """Docker writes times as RFC 3339 with nanoseconds."""
    try:
        then = datetime.fromisoformat(text[:19] + "+00:00")
    except ValueError:
        return 0.0
    return time.time() - then.timestamp()


def _last_line(client: DockerClient, container: str) -> str:
    lines = client.api.logs(container, tail=1).decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it printed nothing"
