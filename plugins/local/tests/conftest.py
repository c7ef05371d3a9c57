from __future__ import annotations

import hashlib
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock import Artifact, Health, Release, Revision, Step
from penstock.testing import StepMaker, make_step, write_wheel
from penstock_local import control, layout, penstock_targets, processes
from penstock_local.layout import Instance
from penstock_local.settings import Local
from penstock_local.supervisor import start_of
from penstock_local.target import Directory

__all__ = ["make_step"]

SERVER = """
import http.server, os, sys
VERSION = {version!r}
MODE = {mode!r}
print("toy", VERSION, "starts", flush=True)
if MODE == "crash":
    sys.exit(3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if MODE == "sick" else 200)
        self.end_headers()
        body = os.environ.get("TOKEN", "") if self.path == "/token" else VERSION
        self.wfile.write(body.encode())
    def log_message(self, *args):
        pass
if MODE == "double":
    import subprocess
    script = (
        "import os,sys,time\\nif os.fork(): os._exit(0)\\nos.setsid()\\n"
        "open(sys.argv[1],'w').write(str(os.getpid()))\\ntime.sleep(600)"
    )
    subprocess.Popen([sys.executable, "-c", script, sys.argv[2]]).wait()
if MODE == "stubborn":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
RUN = ("{python}", "-m", "toy", "{port}")


def wheel(path: Path, version: str) -> Path:
    """A wheel that serves its version over HTTP."""
    files = {
        "toy/__init__.py": "",
        "toy/__main__.py": SERVER.format(version=version, mode="good"),
        "toy/data.txt": "",
    }
    return write_wheel(path, files, name="toy", version=version)


def free_port(count: int = 1) -> int:
    """The first of so many neighbouring ports on which nobody listens."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port + count < 65535 and all(processes.is_free(port + i) for i in range(count)):
            return port


class Deployer:
    """Makes releases and targets as a run does, and ends whatever they started."""

    def __init__(self, make_step: StepMaker, root: Path) -> None:
        self.make_step = make_step
        self.root = root
        self.directory = root / "live"
        self._seen: set[Path] = {self.directory}

    def step(self, *, secrets: dict[str, str] | None = None, env: dict[str, str] | None = None) -> Step:
        return self.make_step("deploy.staging", environment="staging", secrets=secrets, env=env)

    def release(self, *paths: Path, kind: str = "wheel") -> Release:
        kept = tuple(
            self.make_step.store.keep(path, "directory" if path.is_dir() else kind) for path in paths
        )
        return self.release_of(kept)

    def release_of(self, kept: tuple[Artifact, ...]) -> Release:
        digests = sorted(artifact.digest for artifact in kept)
        digest = digests[0]
        if len(digests) > 1:
            digest = "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()
        return Release(
            digest=digest, artifacts=kept, revision=Revision(commit="c" * 40), run=1, environment="staging"
        )

    def toy(self, version: str, mode: str = "good") -> Release:
        """The server as a directory, which is deployed quickly."""
        package = self.root / f"{version}-{mode}" / "toy"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__main__.py").write_text(SERVER.format(version=version, mode=mode))
        (package / "data.txt").touch()
        return self.release(package)

    def toy_wheel(self, version: str) -> Release:
        """The server as a wheel."""
        return self.release(wheel(self.root / "wheels", version))

    def settings(self, **more: object) -> Local:
        values = {"directory": str(self.directory), "stop_grace": 3, "start_timeout": 8, "settle": 0.1}
        return Local.model_validate({**values, **more})

    def service(self, **more: object) -> Local:
        return self.settings(**{"run": RUN, "port": free_port(), "health": "/health", **more})

    def targets(self, settings: Local, step: Step | None = None) -> list[Directory]:
        found = penstock_targets(settings, step or self.step())
        targets = [target for target in found if isinstance(target, Directory)]
        self._seen |= {Path(target.root) for target in targets}
        return targets

    def target(self, settings: Local) -> Directory:
        (target,) = self.targets(settings)
        return target

    def free_port(self, count: int = 1) -> int:
        return free_port(count)

    def settled(self, target: Directory) -> Health:
        """The first look that is not unknown, as the core's rollout asks."""
        deadline = time.monotonic() + 15
        while (seen := target.probe(self.step())).status == "unknown":
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)
        return seen

    def deploy(self, target: Directory, release: Release) -> Health:
        target.apply(release, self.step())
        return self.settled(target)

    def pid(self, target: Directory) -> int:
        live = control.running(Instance(Path(target.root), target.number))
        assert live is not None
        assert live.status.pid is not None
        return live.status.pid

    def alive(self, pid: int) -> bool:
        return start_of(pid) is not None

    def get(self, settings: Local, path: str = "/", instance: int = 1) -> str:
        with urllib.request.urlopen(f"{settings.url_of(instance)}{path}", timeout=5) as answer:
            return answer.read().decode()

    def stop_all(self) -> None:
        for root in self._seen:
            for instance in layout.instances(root):
                control.stop(instance, 0.5)


@pytest.fixture
def deployer(make_step: StepMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployer]:
    """A `Deployer`; nothing that it started is left after the test."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    made = Deployer(make_step, tmp_path)
    yield made
    made.stop_all()
