"""Whether a service is well: one look, now. Changes nothing."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import Any

from penstock import Health

from penstock_local import control, processes
from penstock_local.control import Running
from penstock_local.layout import Instance
from penstock_local.supervisor import STABLE, descendants

FLAPS = 3
"""So many ends in a row, and a service counts as unhealthy even while it is tried again."""
_ANSWER_WITHIN = 5.0


def look(instance: Instance) -> Health:
    """How the instance's service is."""
    live = control.running(instance)
    if live is None:
        return Health(status="unhealthy", detail=_why_gone(instance))
    status = live.status
    early = time.time() - status.since < live.service.start_timeout
    if status.deaths >= FLAPS and time.time() - status.since < STABLE:
        often = f"it ended {status.deaths} times in a row, {_end(instance, status.last)}"
        return Health(status="unhealthy", detail=often)
    if status.state != "running":
        return _not_yet(early, f"it is {status.state} after it ended, {_end(instance, status.last)}")
    foreign = _foreign(live)
    if foreign:
        return Health(status="unhealthy", detail=foreign)
    return _ask(instance, live, early)


def port_owner(port: int) -> str:
    """Who listens on a port, in words."""
    found = processes.listeners(port)
    return f"{processes.name_of(found[0])} (process {found[0]})" if found else "another program"


def own_processes(instance: Instance, live: Running) -> set[int]:
    """The supervisor and all that the service has started."""
    return {live.supervisor, *descendants(live.supervisor), *processes.marked(instance.mark)}


def _ask(instance: Instance, live: Running, early: bool) -> Health:
    service = live.service
    if service.port and not processes.is_served(service.port):
        return _not_yet(early, f"it runs, but nothing listens on port {service.port}")
    if service.health is None:
        settled = time.time() - live.status.since >= service.settle
        return Health(status="healthy" if settled else "unknown", detail=_pid(live))
    answer = _get(service.health)
    if answer != 200:
        return _not_yet(early, f"{service.health} answered {answer}; 200 is needed")
    after = control.running(instance)
    if after is None or after.status.pid != live.status.pid:
        return _not_yet(early, "it ended while it was asked")
    return Health(status="healthy", detail=_pid(live))


def _foreign(live: Running) -> str:
    """Who else serves on the service's port, if somebody does."""
    port = live.service.port
    found = processes.listeners(port) if port else []
    own = {live.supervisor, *descendants(live.supervisor)}
    if not found or own.intersection(found):
        return ""
    return (
        f"port {port} is served by {processes.name_of(found[0])} (process {found[0]}), "
        "which is not this service"
    )


def _get(url: str) -> int | str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    try:
        with opener.open(url, timeout=_ANSWER_WITHIN) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError as error:
        return f"nothing ({error.reason})"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"nothing that is HTTP ({type(error).__name__}: {error})"


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer, and not the right one."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _not_yet(early: bool, detail: str) -> Health:
    return Health(status="unknown" if early else "unhealthy", detail=detail)


def _pid(live: Running) -> str:
    return f"process {live.status.pid}"


def _why_gone(instance: Instance) -> str:
    if instance.stopped.exists():
        return "it was stopped"
    said = control.last_said(instance)
    told = control.told(instance)
    if said is None or told is None or said.token != told["token"]:
        return "it does not run"
    if said.state == "failed":
        times = "once" if said.deaths == 1 else f"{said.deaths} times in a row"
        return f"it ended {times} and is not started again, {_end(instance, said.last)}"
    return "its supervisor is gone, and the service with it"


def _end(instance: Instance, last: str) -> str:
    printed = control.tail(instance.log)
    return f"at last with {last}" + (f": {printed}" if printed else "")
