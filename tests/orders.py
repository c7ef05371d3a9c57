"""The example `orders` with real parts: an engine that builds, three hosts, a registry, databases, a proxy."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import bases, vulnerabilities
from tests.engines import Engine
from tests.hosts import Host, Hosts, Proxy
from tests.projects import ROOT, Project, free_port

EXAMPLE = ROOT / "examples" / "orders"
PASSWORD = "wide-river-4711"
_PATIENCE = 60.0
_LONG = 180.0


@dataclass(frozen=True)
class Parts:
    """What the example is deployed with, which lasts as long as the session."""

    engine: Engine
    hosts: Hosts
    proxy: Proxy
    databases: dict[str, int]
    """The port of each environment's database, on the machine's address on the hosts' network."""


@pytest.fixture(scope="session")
def parts(engine: Engine, hosts: Hosts, proxy: Proxy) -> Iterator[Parts]:
    """All parts, with the base images that the example's Dockerfile and its service name."""
    bases.import_python(engine, [EXAMPLE / "requirements.txt"])
    bases.import_postgres(engine)
    databases = {name: _database(engine, hosts.gateway) for name in ("staging", "production")}
    yield Parts(engine, hosts, proxy, databases)
    hosts.clear()


@pytest.fixture(scope="module")
def make_orders(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Orders]:
    """Makes copies of the example, each with hosts on which nothing runs."""

    def make() -> Orders:
        parts.hosts.clear()
        parts.proxy.reset()
        return Orders.copy(tmp_path_factory.mktemp("orders"), parts)

    return make


@dataclass
class Orders(Project):
    """A copy of the example, with the addresses of the parts in its configuration."""

    parts: Parts = field(kw_only=True)
    staging: int = field(kw_only=True)

    @classmethod
    def copy(cls, place: Path, parts: Parts) -> Orders:
        bare = Project.make(place / "orders", place / "data")
        made = cls(bare.root, bare.env, parts=parts, staging=free_port())
        leave = shutil.ignore_patterns("__pycache__", ".penstock*", ".*_cache")
        shutil.copytree(EXAMPLE, made.root, ignore=leave, dirs_exist_ok=True)
        vulnerabilities.write(made.database)
        made.env["DOCKER_HOST"] = parts.engine.host
        for environment in parts.databases:
            made.env[f"{environment.upper()}_DATABASE_PASSWORD"] = PASSWORD
        made.replace("Dockerfile", {"python:3.11-slim": bases.PYTHON})
        made.replace("penstock.toml", made.addresses())
        made.commit(message="The service")
        return made

    @property
    def database(self) -> Path:
        """Where Trivy's database is."""
        return self.root.parent / "trivy"

    def addresses(self) -> dict[str, str]:
        """What the example's configuration names, and what stands for it here."""
        parts = self.parts
        web = ", ".join(f'"{host.host}"' for host in parts.hosts)
        found = {
            '"registry.example.com/orders" # it': f'"{parts.hosts.registry}/orders"\ninsecure = true # it',
            '"registry.example.com/orders"': f'"{parts.hosts.registry}/orders"',
            "move_tags = true": "move_tags = true\ninsecure = true",
            '"ssh://deploy@stage-1"': '"local"',
            '"ssh://deploy@web-1", "ssh://deploy@web-2", "ssh://deploy@web-3"': web,
            "postgres:15": bases.POSTGRES,
            "/run/haproxy.sock": str(parts.proxy.control),
            'block = "high"': f'database = "present"\ndatabase_directory = "{self.database}"\nblock = "high"',
            "8080:8000": f"127.0.0.1:{self.staging}:8000",
            "https://stage.example.com": f"http://127.0.0.1:{self.staging}",
            "https://orders.example.com": parts.proxy.url,
        }
        for name, host in (("staging", "db.stage.example.com"), ("production", "db.example.com")):
            port = parts.databases[name]
            found[f'"{host}"'] = f'"{parts.hosts.gateway}", DATABASE_PORT = "{port}"'
        return found

    def replace(self, name: str, texts: dict[str, str]) -> None:
        """Put other texts into a file; all of the old ones have to be there."""
        text = (self.root / name).read_text()
        for old, new in texts.items():
            assert old in text, f"{name} has no {old}"
            text = text.replace(old, new)
        self.write({name: text})

    def leave_out(self, *sections: str) -> None:
        """Take sections out of the configuration, for what is about the steps after them alone."""
        parts = re.split(r"(?m)^(?=\[)", (self.root / "penstock.toml").read_text())
        left = [part for part in parts if part.partition("]")[0].removeprefix("[") not in sections]
        assert len(left) == len(parts) - len(sections)
        self.write({"penstock.toml": "".join(left)})

    def as_at_first(self) -> None:
        """Have the service's files again as the example has them, whatever earlier releases changed."""
        self.git("checkout", "-q", self.git("rev-list", "--max-parents=0", "HEAD").strip(), "--", "src")

    def release(self, version: str, **changes: dict[str, str]) -> str:
        """Commit another release: its version, and what else is different in its files; its commit."""
        module = self.root / "src/orders/__init__.py"
        before = module.read_text().partition('__version__ = "')[2].partition('"')[0]
        self.replace("src/orders/__init__.py", {f'"{before}"': f'"{version}"'})
        for name, texts in changes.items():
            self.replace(f"src/orders/{name}.py", texts)
        return self.commit(message=f"Release {version}")

    @staticmethod
    def generated_key(path: Path) -> Path:
        """Somebody else's public key."""
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        path.write_bytes(key.public_bytes(serialization.Encoding.PEM, form))
        return path

    def runs(self) -> dict[str, list[str]]:
        """The image IDs of what runs on each host for the environment: asked of the engines themselves."""
        asked = ("ps", "-q", "--no-trunc", "-f", "label=dev.penstock.environment=production")
        return {
            host.name: [
                host.docker("inspect", "-f", "{{.Image}}", container).strip()
                for container in host.docker(*asked).split()
            ]
            for host in self.parts.hosts
        }

    def left_over(self) -> list[str]:
        """What is there and should not be: more than one container kept beside the one that runs, and what
        the steps of a run needed, on any engine.
        """
        parts, found = self.parts, []
        for engine in (parts.engine, *parts.hosts):
            for kind in ("container", "network", "volume"):
                words = (kind, "ls", "-q", "-f", "label=dev.penstock.home")
                found += engine.docker(*words, *(["-a"] if kind == "container" else [])).split()
        for host in parts.hosts:
            stopped = host.docker("ps", "-a", "-q", "-f", "status=exited", "-f", "status=created").split()
            found += stopped[1:]
        return found

    def serves(self) -> set[str]:
        """The releases that answer on the hosts, each asked by itself."""
        return {answered(f"http://{host.address}:8000/health") for host in self.parts.hosts}


def answered(url: str) -> str:
    """Which release answers a URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.headers["X-Release"])


def _database(engine: Engine, address: str) -> int:
    """A database of the environment: not deployed by the example, as one's own is not."""
    port = free_port()
    settings = (f"POSTGRES_PASSWORD={PASSWORD}", "POSTGRES_USER=orders", "POSTGRES_DB=orders")
    words = [word for setting in settings for word in ("-e", setting)]
    made = engine.docker("run", "-d", *words, "-p", f"{address}:{port}:5432", bases.POSTGRES).strip()
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            engine.docker("exec", made, "pg_isready", "-q", "-h", "127.0.0.1", "-d", "orders")
            return port
        except AssertionError:
            assert time.monotonic() < deadline, _log(engine, made)
            time.sleep(0.1)


def _log(engine: Engine, container: str) -> str:
    words = ["docker", "-H", engine.host, "logs", "--tail", "20", container]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def killed(orders: Orders, *arguments: str, operation: str, target: int, after: float = 0.0) -> None:
    """Run a command, and kill its engine once it has begun an operation on a host (by number) and some time later.

    The engine gets SIGKILL: it can clear up nothing. Its workers see that it has gone.
    """
    child = orders.start(*arguments)
    try:
        wait_for(orders, child, operation, orders.parts.hosts[target])
        time.sleep(after)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        child.communicate()


def wait_for(orders: Orders, child: subprocess.Popen[str], operation: str, host: Host) -> None:
    """Until a command has begun an operation on a host."""
    _wait(orders, child, "rollout.started", lambda e: e["op"] == operation and host.host in e["target"])


def wait_for_failure(orders: Orders, child: subprocess.Popen[str], operation: str, host: Host) -> None:
    """Until an operation on a host has failed."""

    def failed(event: dict[str, Any]) -> bool:
        return event["op"] == operation and host.host in event["target"] and not event["ok"]

    _wait(orders, child, "rollout.ended", failed)


def _wait(
    orders: Orders, child: subprocess.Popen[str], kind: str, wanted: Callable[[dict[str, Any]], bool]
) -> None:
    seen = len(events(orders, kind))
    deadline = time.monotonic() + _LONG
    while not any(wanted(event) for event in events(orders, kind)[seen:]):
        assert child.poll() is None, "".join(child.communicate())
        assert time.monotonic() < deadline, f"it did not happen in {_LONG:g} s: {events(orders, kind)[-3:]}"
        time.sleep(0.01)


def events(orders: Orders, kind: str) -> list[dict[str, Any]]:
    """The data of all events of a type, out of the journal."""
    journal = orders.root / ".penstock" / "journal.db"
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=10)) as db:
            rows = db.execute("SELECT data FROM events WHERE type = ? ORDER BY id", (kind,)).fetchall()
    except sqlite3.OperationalError:
        return []  # it is being made
    return [json.loads(row) for (row,) in rows]
