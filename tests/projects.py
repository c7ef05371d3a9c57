"""Projects to run Penstock in, as a user would: through its command line."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from penstock.cli import invoke

ROOT = Path(__file__).parent.parent
PENSTOCK = Path(sys.executable).with_name("penstock")
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ana",
    "GIT_AUTHOR_EMAIL": "ana@example.com",
    "GIT_COMMITTER_NAME": "Ana",
    "GIT_COMMITTER_EMAIL": "ana@example.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@functools.cache
def namespace() -> tuple[str, ...]:
    """What starts a program with mounts of its own: as root, or in a namespace where one is."""
    words = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
    done = subprocess.run([*words, "true"], capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)} does not work here: {done.stderr.decode()}"
    return words


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass
class Project:
    """A directory with a repository, and the `penstock` that is used in it."""

    root: Path
    env: dict[str, str]
    penstock: Path = PENSTOCK
    deployed: list[Path] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path, data: Path, *, penstock: Path = PENSTOCK) -> Self:
        root.mkdir(parents=True)
        env = {**os.environ, **IDENTITY, "XDG_DATA_HOME": str(data), "NO_COLOR": "1"}
        made = cls(root, env, penstock)
        made.git("init", "-q", "-b", "main")
        return made

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: Mapping[str, str] | None = None, message: str = "A change") -> str:
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.penstock, *arguments],
            cwd=self.root,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 300) -> Done:
        child = self.start(*arguments, env=env)
        out, err = child.communicate(timeout=timeout)
        assert "Traceback" not in err, err
        return Done(child.returncode, out, err)

    def run_here(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
        """The same in this process: for what is refused, where nothing is started that outlives it."""
        with contextlib.chdir(self.root):
            code = invoke(list(arguments))
        out, err = capsys.readouterr()
        return Done(code, out, err)

    def passes(self, *arguments: str, **more: Any) -> Done:
        done = self.run(*arguments, **more)
        assert done.code == 0, f"{' '.join(arguments)} ended with {done.code}:\n{done.said}\n{self.logs()}"
        return done

    def logs(self) -> str:
        return self.run("logs").said

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        return json.loads(done.out)

    def states(self, run: str = "last") -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.json("show", run)["steps"]}

    def step(self, name: str, run: str = "last") -> dict[str, Any]:
        found: dict[str, Any] = self.json("show", run, name)
        return found

    def digest(self, kind: str = "wheel", run: str = "last") -> str:
        """The digest of the one artifact of a kind."""
        steps = self.json("show", run)["steps"]
        [found] = [a["digest"] for step in steps for a in step["artifacts"] if a["kind"] == kind]
        return str(found)

    def stored(self, digest: str) -> Path:
        """Where the store keeps the bytes of a digest."""
        digits = digest.removeprefix("sha256:")
        return self.root / ".penstock" / "artifacts" / digits[:2] / digits[2:]

    def stop(self) -> None:
        if self.deployed:
            self.passes("local", "stop", *(str(place) for place in self.deployed))


@dataclass
class Shop(Project):
    """A copy of the example, with ports of its own."""

    ports: dict[str, int] = field(default_factory=dict)

    @classmethod
    def copy(cls, place: Path) -> Shop:
        shop = cls.make(place / "shop", place / "data")
        leave = shutil.ignore_patterns("__pycache__", ".penstock*", ".*_cache", "*.egg-info")
        shutil.copytree(ROOT / "examples" / "shop", shop.root, ignore=leave, dirs_exist_ok=True)
        shop.ports = {"staging": free_port(), "production": free_port()}
        text = (shop.root / "penstock.toml").read_text()
        for usual, port in (("41873", shop.ports["staging"]), ("41874", shop.ports["production"])):
            assert usual in text
            text = text.replace(usual, str(port))
        shop.write({"penstock.toml": text})
        shop.deployed = [place / "releases" / name for name in shop.ports]
        shop.commit(message="The shop")
        return shop

    def get(self, environment: str, path: str = "/health") -> tuple[int, str]:
        """What the service in an environment answers; 0 where nothing does."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.ports[environment], timeout=5)) as http_:
            try:
                http_.request("GET", path)
                answer = http_.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)

    def release(self, environment: str) -> str | None:
        """What really runs there: asked of the target, not of the journal."""
        [target] = self.json("status", environment)["targets"]
        return target["release"]  # type: ignore[no-any-return]  # JSON


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
