"""Real parts that the tests start for themselves: a Docker Engine, a registry; each with paths and ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PATIENCE = 60.0
APPLETS = ("sh", "httpd", "sleep", "cat", "ls", "echo", "id", "wget", "test", "env", "false", "true", "mkdir")
BASE = "penstock-base:latest"
_BRIDGED = ("-m", "physdev", "--physdev-is-bridged", "-j", "ACCEPT")
"""What lets containers on one network speak to each other where another engine has shut all forwarding."""


@dataclass(frozen=True)
class Engine:
    """A Docker Engine of one test session."""

    host: str
    place: Path

    def docker(self, *arguments: str) -> str:
        """What Debian's own client says, whatever else stands on PATH."""
        program = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
        done = subprocess.run(
            [program, "-H", self.host, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real Docker Engine of this session's own."""
    with _engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture(scope="session")
def registry_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the registry keeps what it was given."""
    return tmp_path_factory.mktemp("registry") / "registry"


@pytest.fixture(scope="session")
def registry(registry_files: Path) -> Iterator[str]:
    """A real registry on loopback: HOST:PORT."""
    with _registry(registry_files.parent) as address:
        yield address


@contextmanager
def _engine(place: Path, *more: str) -> Iterator[Engine]:
    """A Docker Engine, with a base image of busybox. Skips where there is none to start, or no right to."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("a Docker Engine needs dockerd (Debian: docker.io), and root")
    # Names of sockets have at most 107 bytes, and those of bridges 15. A session may have several engines.
    short = Path(tempfile.mkdtemp(prefix="penstock-", dir="/run"))
    bridge, network = _bridge(short.name.removeprefix("penstock-"))
    host = f"unix://{short}/docker.sock"
    _ip("link", "add", bridge, "type", "bridge")
    _ip("addr", "add", network, "dev", bridge)
    _ip("link", "set", bridge, "up")
    _iptables("-I", "FORWARD", *_BRIDGED)
    words = ["dockerd", f"--data-root={place}/data", f"--exec-root={short}/exec", f"--pidfile={short}/pid"]
    # Published ports are served by docker-proxy, so that two engines need no rules in one table.
    words += ["-H", host, f"--bridge={bridge}", "--iptables=false", "--ip-masq=false", *more]
    with (place / "dockerd.log").open("wb") as log:
        child = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    made = Engine(host, place)
    try:
        _until(lambda: _answers(short / "docker.sock"), child, place / "dockerd.log")
        _import_base(made)
        yield made
        _remove_all(made)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=_PATIENCE)
        _ip("link", "del", bridge)
        _iptables("-D", "FORWARD", *_BRIDGED)
        shutil.rmtree(short, ignore_errors=True)


@contextmanager
def _registry(place: Path) -> Iterator[str]:
    """A registry on loopback: its address, HOST:PORT."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("a registry needs docker-registry (Debian's package of that name)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(place / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    (place / "registry.yml").write_text(json.dumps(settings))
    with (place / "registry.log").open("wb") as log:
        child = subprocess.Popen([program, "serve", str(place / "registry.yml")], stdout=log, stderr=log)
    try:
        name, _, port = address.partition(":")
        _until(lambda: socket.create_connection((name, int(port)), 1).close(), child, place / "registry.log")
        yield address
    finally:
        child.terminate()
        child.wait(timeout=_PATIENCE)


def _bridge(name: str) -> tuple[str, str]:
    number = int.from_bytes(os.urandom(2))
    return f"psk-{name}", f"10.{200 + number // 250 % 50}.{number % 250}.1/24"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", "-w", *arguments], check=True)


def _answers(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        if b"200 OK" not in client.recv(1024):
            raise OSError("not yet")


def _until(look: object, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        assert child.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            assert callable(look)
            look()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)


def _import_base(made: Engine) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("a base image needs busybox (Debian: busybox-static)")
    packed = made.place / "base.tar"
    with tarfile.open(packed, "w") as tar:
        for name in ("bin", "tmp"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(directory)
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    made.docker("import", str(packed), BASE)


def _remove_all(made: Engine) -> None:
    """Also networks: their bridges would outlive the engine."""
    containers = made.docker("ps", "-aq").split()
    if containers:
        made.docker("rm", "-f", "-v", *containers)
    made.docker("network", "prune", "-f")
