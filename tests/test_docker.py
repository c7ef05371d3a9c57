"""A service as an image, through the command line: built, tested, signed, published, deployed, put back."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from tests.engines import BASE, Engine, engine, registry, registry_files
from tests.projects import Project

__all__ = ["engine", "registry", "registry_files"]

pytestmark = [pytest.mark.real, pytest.mark.slow]

DOCKERFILE = f"""\
FROM {BASE}
COPY www /www
CMD ["httpd", "-f", "-p", "8080", "-h", "/www", "-v"]
"""
CONFIG = """\
[penstock]
plugins = ["git", "docker", "sigstore", "shell"]

[build.image]
uses = "docker"
repository = "{registry}/shop"

[test.files]
uses = "shell"
run = "test -s www/index.html"

[sign.release]
uses = "sigstore"

[publish.release]
uses = "docker"
tags = ["main"]
move_tags = true

[deploy.staging]
uses = "docker"
ports = ["127.0.0.1:{port}:8080"]
health = "/"
start_timeout = "5s"
stop_grace = "1s"
before = [{{ name = "look", command = ["cat", "/www/index.html"] }}]
rollout = {{ healthy_within = "10s" }}
"""


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return str(answer.read().decode())


def test_from_a_dockerfile_to_what_serves_and_back(project: Project, engine: Engine, registry: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    project.env["DOCKER_HOST"] = engine.host
    project.commit(
        {
            "Dockerfile": DOCKERFILE,
            "www/index.html": "one\n",
            "penstock.toml": CONFIG.format(registry=registry, port=port),
        }
    )

    # The digest that serves is the digest that was tested.
    project.passes("run", timeout=600)
    first = project.digest("image")
    assert page(port) == "one\n"
    [target] = project.json("status", "staging")["targets"]
    assert (target["release"], target["health"]) == (first, "healthy")
    [artifact] = project.step("build.image")["artifacts"]
    [container] = engine.docker("ps", "-q", "-f", "label=dev.penstock.environment=staging").split()
    assert engine.docker("inspect", "-f", "{{.Image}}", container).strip() == artifact["digests"]["image ID"]
    assert "All signatures verify" in project.passes("verify", first).out

    assert (
        "look on local: cat /www/index.html\none\nlook is done"
        in project.passes("logs", "last", "deploy.staging").out
    )
    assert "docker:local#staging | " in project.passes("logs", "staging", "--tail", "1").out

    # A migration that fails changes nothing.
    broken = CONFIG.replace('"cat", "/www/index.html"', '"cat", "/no/such/table"')
    project.commit({"penstock.toml": broken.format(registry=registry, port=port)})
    done = project.run("run", timeout=600)
    assert done.code == 1
    assert "ended with 1: cat: can't open '/no/such/table'" in done.said
    assert "nothing was changed" in done.said
    assert engine.docker("ps", "-q", "-f", "label=dev.penstock.environment=staging").split() == [container]
    assert engine.docker("ps", "-aq", "-f", "label=dev.penstock.job").split() == []

    project.commit({"www/index.html": "two\n", "penstock.toml": CONFIG.format(registry=registry, port=port)})
    project.passes("run", timeout=600)
    assert page(port) == "two\n"

    # A release that is never well is put back by itself.
    project.commit({"Dockerfile": DOCKERFILE.replace("8080", "8081")})
    done = project.run("run", timeout=600)
    assert done.code == 1
    assert "put back to what ran before" in done.said
    assert page(port) == "two\n"

    project.passes("rollback", "staging", timeout=600)
    assert page(port) == "one\n"
