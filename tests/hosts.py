"""Three Docker hosts on one machine: engines in network namespaces of their own, a registry and a proxy before them.

What is made here is named after the process of the test session, so that a later one can sweep up what a session
that was killed has left behind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.projects import free_port

HOSTS = 3
PORT = 8000
"""The port on which the service is published on every host."""
_PATIENCE = 60.0
_PREFIX = "penstock-hosts-"
_RUN = Path("/run")
_API = 2375
_PLACE = "place"
"""Names a file that says where a session's engines keep their data."""


@dataclass(frozen=True)
class Host(Engine):
    """One Docker host: `host` is the address of its engine, `address` that of the machine."""

    name: str
    address: str
    namespace: str
    link: str
    """The machine's end of the cable."""
    words: tuple[str, ...]
    running: list[subprocess.Popen[bytes]]
    own: Path
    """What its engine keeps for as long as the machine runs."""

    @property
    def log(self) -> Path:
        return self.place / "dockerd.log"

    def start(self) -> None:
        """Start its engine, which is ready some time later."""
        self.running.append(_child(self.words, self.log))

    def wait(self) -> None:
        """Until its engine answers."""
        _until(lambda: _answers(self.address), self.running[-1], self.log)

    def kill(self) -> None:
        """End its engine, and all that runs in containers there, as a power cut would."""
        child = self.running.pop()
        child.kill()
        child.wait(timeout=_PATIENCE)
        _end_all(self.own)
        shutil.rmtree(self.own, ignore_errors=True)  # it is on a disk that a reboot empties
        self.own.mkdir(exist_ok=True)

    def tell_to_end(self) -> None:
        """Its engine stops its containers and ends."""
        for child in self.running:
            child.send_signal(signal.SIGTERM)

    def unplug(self) -> None:
        """Take the host off the network, with all that runs on it going on."""
        _ip("link", "set", self.link, "down")

    def plug(self) -> None:
        """Put it back."""
        _ip("link", "set", self.link, "up")


@dataclass(frozen=True)
class Hosts:
    """All of them, with what stands between them."""

    machines: tuple[Host, ...]
    registry: str
    gateway: str
    """The machine's own address on their network."""

    def __iter__(self) -> Iterator[Host]:
        return iter(self.machines)

    def __getitem__(self, number: int) -> Host:
        return self.machines[number]

    def clear(self) -> None:
        """Remove every container, network and volume."""
        for host in self.machines:
            containers = host.docker("ps", "-aq").split()
            if containers:
                host.docker("rm", "-f", "-v", *containers)
            host.docker("network", "prune", "-f")
            host.docker("volume", "prune", "-f")


@dataclass(frozen=True)
class Proxy:
    """A real HAProxy with the hosts as its servers: what it listens on, and where its runtime API is."""

    port: int
    control: Path
    backend: str
    servers: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, command: str) -> str:
        """What the runtime API answers."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.control))
            client.sendall(f"{command}\n".encode())
            parts = iter(lambda: client.recv(65536), b"")
            return b"".join(parts).decode()

    def weights(self) -> dict[str, str]:
        """The weight of each server, and whether it is drained, as the runtime API has them."""
        lines = self.ask("show servers state").splitlines()
        names = lines[1].lstrip("# ").split()
        rows = [dict(zip(names, line.split(), strict=False)) for line in lines[2:] if line.strip()]
        return {
            row["srv_name"]: f"{row['srv_uweight']} {'ready' if row['srv_admin_state'] == '0' else 'drained'}"
            for row in rows
            if row["be_name"] == self.backend
        }

    def reset(self) -> None:
        """Every server takes its full part."""
        for server in self.servers:
            self.ask(f"set server {self.backend}/{server} state ready")
            self.ask(f"set weight {self.backend}/{server} 100")


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three Docker hosts, and a registry that all of them reach."""
    with made_hosts(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="session")
def proxy(hosts: Hosts) -> Iterator[Proxy]:
    """HAProxy before the three hosts."""
    with made_proxy([host.address for host in hosts]) as made:
        yield made


@contextmanager
def made_hosts(place: Path) -> Iterator[Hosts]:
    """The hosts; all that was changed on the machine is put back, also what an earlier session has left."""
    if missing():
        pytest.skip(f"Docker hosts need {', '.join(missing())}")
    sweep()
    number = os.getpid()
    with ExitStack() as undo:
        short = _RUN / f"{_PREFIX}{number}"
        short.mkdir()
        undo.callback(shutil.rmtree, short, ignore_errors=True)
        (short / _PLACE).write_text(str(place))
        undo.callback(_unmount_all, place)
        bridge, gateway = _bridge(number)
        undo.callback(_quietly, _ip, "link", "del", bridge)
        rule = ("FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT")  # Docker sets the policy to DROP
        _run("iptables", "-w", "-I", *rule)
        undo.callback(_quietly, _run, "iptables", "-w", "-D", *rule)
        registry = undo.enter_context(_registry(place, f"{gateway}:{free_port()}"))
        cables = [_cable(number, index, bridge, gateway, undo) for index in range(1, HOSTS + 1)]
        machines = tuple(_host(cable, place, short, registry) for cable in cables)
        undo.callback(_end, machines)
        for start in (Host.start, Host.wait):  # all of them at once
            for machine in machines:
                start(machine)
        yield Hosts(machines, registry, gateway)


@contextmanager
def made_proxy(addresses: list[str]) -> Iterator[Proxy]:
    """HAProxy on loopback: a request goes to one server and is not tried with another."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("a proxy needs haproxy (Debian's package of that name)")
    place = _RUN / f"{_PREFIX}{os.getpid()}"
    control, port = place / "haproxy.sock", free_port()
    servers = tuple(f"web-{number}" for number in range(1, len(addresses) + 1))
    lines = [
        "global",
        f"  stats socket {control} mode 600 level admin",
        "defaults",
        "  mode http",
        "  timeout connect 5s",
        "  timeout client 30s",
        "  timeout server 30s",
        "  retries 0",
        "frontend public",
        f"  bind 127.0.0.1:{port}",
        "  default_backend orders",
        "backend orders",
        "  balance roundrobin",
        *(
            f"  server {name} {address}:{PORT} weight 100"
            for name, address in zip(servers, addresses, strict=True)
        ),
    ]
    configuration = place / "haproxy.cfg"
    configuration.write_text("\n".join(lines) + "\n")
    log = place / "haproxy.log"
    child = _child([program, "-db", "-f", str(configuration)], log)
    try:
        _until(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), child, log)
        yield Proxy(port, control, "orders", servers)
    finally:
        child.terminate()
        child.wait(timeout=_PATIENCE)


def missing() -> list[str]:
    """What this machine lacks for it."""
    needed = ("dockerd", "docker-registry", "ip", "iptables", "nsenter", "setpriv")
    root = [] if os.geteuid() == 0 else ["root"]
    return [*root, *(name for name in needed if shutil.which(name) is None)]


def sweep() -> None:
    """Remove what sessions that are no more have left: engines first, then their namespaces and cables."""
    for place in _RUN.glob(f"{_PREFIX}*"):
        number = place.name.removeprefix(_PREFIX)
        if not number.isdigit() or Path(f"/proc/{number}").exists():
            continue
        for pidfile in place.glob("*/pid"):
            with suppress(OSError, ValueError):
                _ended(int(pidfile.read_text()))
        _end_all(place)
        with suppress(OSError):
            _unmount_all(Path((place / _PLACE).read_text()))
        for index in range(1, HOSTS + 1):
            _quietly(_ip, "link", "del", f"pskv{number}{index}")
            _quietly(_ip, "netns", "del", f"{_PREFIX}{number}-{index}")
        bridge = f"pskh{number}"
        _quietly(_run, "iptables", "-w", "-D", "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT")
        _quietly(_ip, "link", "del", bridge)
        shutil.rmtree(place, ignore_errors=True)


# --- the network ---


@dataclass(frozen=True)
class _Cable:
    name: str
    namespace: str
    link: str
    address: str


def _bridge(number: int) -> tuple[str, str]:
    """A bridge on a network that nobody else has, and the machine's address there."""
    name = f"pskh{number}"
    taken = _run("ip", "-4", "-o", "addr")
    for third in range(number, number + 250):
        gateway = f"10.199.{third % 250}.1"
        if f"{gateway}/" not in taken:
            break
    _ip("link", "add", name, "type", "bridge")
    _ip("addr", "add", f"{gateway}/24", "dev", name)
    _ip("link", "set", name, "up")
    return name, gateway


def _cable(number: int, index: int, bridge: str, gateway: str, undo: ExitStack) -> _Cable:
    namespace, link = f"{_PREFIX}{number}-{index}", f"pskv{number}{index}"
    address = gateway.removesuffix(".1") + f".{10 + index}"
    _ip("netns", "add", namespace)
    undo.callback(_quietly, _ip, "netns", "del", namespace)
    _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    undo.callback(_quietly, _ip, "link", "del", link)  # with its namespace it would go some time later
    _ip("link", "set", link, "master", bridge, "up")
    within = ("ip", "-n", namespace)
    _run(*within, "addr", "add", f"{address}/24", "dev", "eth0")
    _run(*within, "link", "set", "eth0", "up")
    _run(*within, "link", "set", "lo", "up")
    _run(*within, "route", "add", "default", "via", gateway)
    return _Cable(f"web-{index}", namespace, link, address)


# --- what runs there ---


def _host(cable: _Cable, place: Path, short: Path, registry: str) -> Host:
    own, kept = short / cable.name, place / cable.name
    own.mkdir()
    kept.mkdir()
    host = f"tcp://{cable.address}:{_API}"
    words = ["nsenter", f"--net=/run/netns/{cable.namespace}", "dockerd"]
    words += [f"--data-root={kept}/data", f"--exec-root={own}/exec", f"--pidfile={own}/pid"]
    words += ["-H", host, "--tls=false", f"--insecure-registry={registry}", "--shutdown-timeout=1"]
    return Host(host, kept, cable.name, cable.address, cable.namespace, cable.link, tuple(words), [], own)


def _end(machines: tuple[Host, ...]) -> None:
    for machine in machines:
        machine.tell_to_end()
    for machine in machines:
        for child in machine.running:
            child.wait(timeout=_PATIENCE)


@contextmanager
def _registry(place: Path, address: str) -> Iterator[str]:
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(place / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    configuration, log = place / "registry.yml", place / "registry.log"
    configuration.write_text(json.dumps(settings))
    child = _child(["docker-registry", "serve", str(configuration)], log)
    name, _, port = address.partition(":")
    try:
        _until(lambda: socket.create_connection((name, int(port)), 1).close(), child, log)
        yield address
    finally:
        child.terminate()
        child.wait(timeout=_PATIENCE)


def _child(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A process that is told to end when the session dies, however it dies."""
    with log.open("ab") as file:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words], stdout=file, stderr=file, start_new_session=True
        )


def _answers(address: str) -> None:
    with socket.create_connection((address, _API), 5) as client:
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        if b"200 OK" not in client.recv(1024):
            raise OSError("not yet")


def _until(look: Callable[[], None], child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        assert child.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            look()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)


def _ended(process: int) -> None:
    """End an engine of a session that is no more, if it is one, and wait until it has gone."""
    command = Path(f"/proc/{process}/cmdline")
    if b"dockerd" not in command.read_bytes():
        return
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while command.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def _end_all(place: Path) -> None:
    """End what has to do with a directory, and what that has begun: containers run below processes that name it."""
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and f"{place}/".encode() in _read(entry / "cmdline")
    ]
    below = [
        int(word) for each in found for word in _read(Path(f"/proc/{each}/task/{each}/children")).split()
    ]
    for process in (*found, *below):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    _unmount_all(place)


def _unmount_all(place: Path) -> None:
    """Nothing is mounted below a directory any more: an engine that was killed leaves even its own there."""
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        mounted = line.split()[1]
        if mounted.startswith(f"{place}/"):
            _quietly(_run, "umount", "-l", mounted)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def _quietly(what: Callable[..., object], *arguments: str) -> None:
    with suppress(AssertionError):
        what(*arguments)
