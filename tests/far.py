"""A second engine, as a host is that is not this machine: behind TLS and behind SSH, and short of room."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines import Engine, _engine, _until

_ROOM = "48m"


@dataclass(frozen=True)
class Far:
    """A host with an engine of its own."""

    engine: Engine
    tcp: str
    certificates: Path

    @property
    def tls(self) -> dict[str, str]:
        """The certificates of who may use it."""
        return {name: str(self.certificates / f"client.{name}") for name in ("ca", "cert", "key")}

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """While it answers nobody, and takes connections."""
        number = int((Path(self.engine.host.removeprefix("unix://")).parent / "pid").read_text())
        os.kill(number, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(number, signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """An engine behind tcp:// with TLS, on a disk with little room."""
    if os.geteuid() != 0:
        pytest.skip("a Docker Engine needs root")
    place = tmp_path_factory.mktemp("far")
    certificates = _certificates(place / "tls")
    (place / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "far", place / "data"], check=True)
    tcp = f"tcp://127.0.0.1:{free_port()}"
    words = ["-H", tcp, "--tlsverify", "--max-download-attempts=1"]
    for option, name in (("cacert", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")):
        words.append(f"--tls{option}={certificates / name}")
    try:
        with _engine(place, *words) as made:
            yield Far(made, tcp, certificates)
    finally:
        subprocess.run(["umount", "-l", place / "data"], check=True)


@contextlib.contextmanager
def sshd(place: Path, docker_host: str) -> Iterator[int]:
    """A real SSH server on loopback, where the docker program finds that engine: its port.

    What has to stand on PATH for the ssh program to know it is in `place / "bin"`.
    """
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        pytest.skip("ssh:// needs an SSH server (Debian: openssh-server)")
    Path("/run/sshd").mkdir(exist_ok=True)
    (place / "bin").mkdir(parents=True)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / key], check=True)
    port = free_port()
    (place / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\n"
        f"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nSetEnv DOCKER_HOST={docker_host}\n"
    )
    (place / "known").write_text(f"[127.0.0.1]:{port} {(place / 'host.pub').read_text()}")
    (place / "ssh.conf").write_text(f"UserKnownHostsFile {place}/known\nIdentityFile {place}/user\n")
    ssh = shutil.which("ssh")
    (place / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {ssh} -F {place}/ssh.conf "$@"\n')
    (place / "bin" / "ssh").chmod(0o755)
    with (place / "log").open("wb") as log:
        child = subprocess.Popen([program, "-D", "-e", "-f", place / "sshd.conf"], stdout=log, stderr=log)
    try:
        _until(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), child, place / "log")
        yield port
    finally:
        child.terminate()
        child.wait(timeout=30)


@contextlib.contextmanager
def cut(address: str, after: int, *, hang: bool = False) -> Iterator[str]:
    """What stands before a server, and breaks off each answer after so many bytes, or says no more: its address."""
    name, _, port = address.partition(":")
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((name, int(port))) as server:
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            left = after
            while left > 0 and (data := server.recv(min(left, 1 << 16))):
                client.sendall(data)
                left -= len(data)
            if hang:
                over.wait(60)
            client.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_quietly(serve), args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def _quietly(function: object) -> object:
    def run(*arguments: object) -> None:
        with contextlib.suppress(OSError):
            function(*arguments)  # type: ignore[operator]

    return run


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)


def _certificates(place: Path) -> Path:
    """An authority, a server's certificate for 127.0.0.1, and a client's."""
    place.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (place / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, public in (("server", "server.pem"), ("client", "client.cert")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", public, "-days", "2", "-extfile", "names"),
        )
    shutil.copy(place / "ca.pem", place / "client.ca")
    return place
