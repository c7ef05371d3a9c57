"""A host's share of the traffic, through HAProxy's runtime API: taken away, waited for, given back."""

from __future__ import annotations

import csv
import io
import re
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from penstock import ConfigError, Step, StepFailed

from penstock_docker.engine import LOCAL, address
from penstock_docker.settings import Proxy

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_ANSWER_WITHIN = 10.0
_LOOK_EVERY = 0.1
_LONGEST = 2**20


class Server(NamedTuple):
    """What HAProxy says of a server."""

    status: str
    sessions: int

    @property
    def serves(self) -> bool:
        """Whether requests are sent to it."""
        return self.status.startswith(("UP", "no check"))


def server(proxy: Proxy, host: str, number: int) -> str:
    """What the proxy calls a host."""
    name = urlsplit(address(host)).hostname or LOCAL
    return proxy.server.replace("{host}", name).replace("{number}", str(number))


def check_names(proxy: Proxy, hosts: Sequence[str]) -> None:
    """Raises ConfigError where the proxy would know two hosts by one name, or one by what is no name."""
    seen: dict[str, str] = {}
    for number, host in enumerate(hosts, start=1):
        name = server(proxy, host, number)
        if not _NAME.fullmatch(name):
            raise ConfigError(f'proxy.server = "{proxy.server}" makes {name!r} of {host}, which is no name')
        if name in seen:
            raise ConfigError(
                f'proxy.server = "{proxy.server}" makes {name} of {seen[name]} and of {host}. Tell '
                "them apart with {host} or {number}"
            )
        seen[name] = host


def shift(proxy: Proxy, server: str, share: float, step: Step) -> None:
    """Give a server this share of the traffic that its weight stands for.

    With 0 it returns when no request is under way there any more, or their time is over; with more, when
    HAProxy sends requests there. Raises StepFailed, with what to do, where HAProxy does not do it.
    """
    name = f"{proxy.backend}/{server}"
    if share == 0:
        _order(proxy, f"set server {name} state drain")
        step.log(f"HAProxy sends nothing new to {name}")
        _wait_until_idle(proxy, server, step)
        return
    _order(proxy, f"set weight {name} {_weight(proxy, name, share)}")
    _order(proxy, f"set server {name} state ready")
    _wait_until_it_serves(proxy, server)
    step.log(f"HAProxy sends {share:.0%} of its traffic to {name}")


def _wait_until_idle(proxy: Proxy, server: str, step: Step) -> None:
    deadline = time.monotonic() + proxy.drain
    while sessions := look(proxy, server).sessions:
        left = deadline - time.monotonic()
        if left <= 0:
            step.log(f"{sessions} requests are still under way after {proxy.drain:g} s: they are cut off")
            return
        time.sleep(min(_LOOK_EVERY, left))


def _wait_until_it_serves(proxy: Proxy, server: str) -> None:
    deadline = time.monotonic() + proxy.ready
    while not (found := look(proxy, server)).serves:
        left = deadline - time.monotonic()
        if left <= 0:
            raise StepFailed(
                f"HAProxy at {proxy.haproxy} says after {proxy.ready:g} s that {proxy.backend}/{server} is "
                f"{found.status}: its own check does not see it. Compare that with `health`"
            )
        time.sleep(min(_LOOK_EVERY, left))


def _weight(proxy: Proxy, name: str, share: float) -> str:
    """A share as HAProxy takes it: of the weight that the server has in the configuration."""
    if share == 1:
        return "100%"
    said = _ask(proxy, f"get weight {name}")
    initial = said.partition("(initial ")[2].rstrip(")")
    if not initial.isdigit():
        raise _refused(proxy, f"get weight {name}", said)
    weight = round(int(initial) * share)
    if weight == 0:
        raise StepFailed(
            f"HAProxy gives {name} a weight of {initial}, of which {share:.0%} is none. Give each server of "
            f"the backend `weight 100` in its configuration"
        )
    return str(weight)


def look(proxy: Proxy, server: str) -> Server:
    """What HAProxy says of a server now. Raises StepFailed where it does not know it."""
    said = _ask(proxy, "show stat")
    for row in csv.DictReader(io.StringIO(said.removeprefix("# "))):
        if (row.get("pxname"), row.get("svname")) == (proxy.backend, server):
            return Server(row.get("status") or "unknown", int(row.get("scur") or 0))
    raise StepFailed(
        f"HAProxy at {proxy.haproxy} has no server {server} in a backend {proxy.backend}. The names under "
        "`proxy` have to be those of its configuration"
    )


def _order(proxy: Proxy, command: str) -> None:
    """Have it do something, which it does in silence. Raises StepFailed with what it says otherwise."""
    if said := _ask(proxy, command):
        raise _refused(proxy, command, said)


def _refused(proxy: Proxy, command: str, said: str) -> StepFailed:
    cure = ""
    if "ermission denied" in said:
        cure = ". Its socket needs `level admin`"
    return StepFailed(f"HAProxy at {proxy.haproxy} refused `{command}`: {said[:200]}{cure}")


def _ask(proxy: Proxy, command: str) -> str:
    try:
        with _connected(proxy.haproxy) as client:
            client.settimeout(_ANSWER_WITHIN)
            client.sendall(command.encode() + b"\n")
            return _whole(client).decode(errors="replace").strip()
    except TimeoutError:
        raise StepFailed(f"HAProxy at {proxy.haproxy} did not answer within {_ANSWER_WITHIN:g} s") from None
    except OSError as error:
        raise StepFailed(
            f"HAProxy at {proxy.haproxy} can't be reached: {error.strerror or error}. Its runtime API is "
            "there with `stats socket ADDRESS level admin` in its global section"
        ) from None


def _connected(address: str) -> socket.socket:
    if address.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        try:
            client.settimeout(_ANSWER_WITHIN)
            client.connect(address)
        except BaseException:
            client.close()
            raise
        return client
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), _ANSWER_WITHIN)


def _whole(client: socket.socket) -> bytes:
    found = b""
    while data := client.recv(65536):
        found += data
        if len(found) > _LONGEST:
            raise OSError("it says more than an answer can be")
    return found
