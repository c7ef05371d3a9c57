"""`penstock doctor` and the record of tools: what is missing is named, with what to do about it."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from penstock import StepFailed
from penstock_docker import doctor, engine, penstock_doctor, penstock_tools
from penstock_docker.settings import Anything

from tests.bench import Bench
from tests.engines import BASE, Engine
from tests.far import Far
from tests.projects import Project


@contextmanager
def serving(path: Path, answers: dict[str, tuple[int, str]]) -> Iterator[str]:
    """Something behind a socket that answers so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answers.get(self.path, (404, "no such page"))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

        def address_string(self) -> str:
            return "here"

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (200, json.dumps({"Version": "18.06", "ApiVersion": "1.38"})),
            r"speaks version 1\.38 of the API, and 1\.41 or newer is needed\. Install Docker 20\.10",
        ),
        ((200, "<html>hello</html>"), "what answers there is no Docker engine"),
        ((404, "nothing here"), "what answers there is no Docker engine"),
    ],
)
def test_what_is_no_engine_that_can_be_used(tmp_path: Path, answer: tuple[int, str], said: str) -> None:
    with serving(tmp_path / "s", {"/version": answer}) as where:
        [check] = penstock_doctor(settings=Anything(host=where))
        assert not check.passed
        with pytest.raises(StepFailed, match=said), engine.connected(where):
            pytest.fail("it was used")


@pytest.mark.skipif(os.geteuid() != 0, reason="root may become another")
def test_a_socket_that_is_not_for_us() -> None:
    with tempfile.TemporaryDirectory() as place, serving(Path(place, "s"), {}) as where:
        os.chmod(place, 0o755)
        os.chmod(f"{place}/s", 0o600)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgid(65534)
                os.setuid(65534)
                [check] = penstock_doctor(settings=Anything(host=where))
                code = 0 if "permission denied. Add yourself to the group" in check.detail else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.real
def test_what_is_there_and_what_is_not(engine: Engine, far: Far, registry: str, tmp_path: Path) -> None:
    [good, greeted] = penstock_doctor(settings=Anything(host=engine.host, repository=f"{registry}/shop"))
    assert good.passed
    assert good.detail.startswith("Docker ")
    assert greeted.passed

    away = Anything(hosts=(far.engine.host, f"unix://{tmp_path}/none"), repository="127.0.0.1:1/shop")
    little, missing, registry_gone = penstock_doctor(settings=away)
    assert [check.passed for check in (little, missing, registry_gone)] == [False] * 3
    assert "MiB are left in" in little.detail
    assert "docker system prune" in little.detail
    assert "there is no such socket. Start it" in missing.detail
    assert "registry 127.0.0.1:1 can't be reached" in registry_gone.detail


@pytest.mark.real
def test_the_engine_and_the_program_go_on_record(engine: Engine, tmp_path: Path) -> None:
    named = {tool.name: tool for tool in penstock_tools(settings=Anything(host=engine.host))}

    assert named["docker engine"].version == engine.docker("version", "-f", "{{.Server.Version}}").strip()
    assert named["docker engine"].path.startswith(f"{engine.host}#")
    assert named["docker, for BuildKit"].sha256
    assert penstock_tools(settings=Anything(host=f"unix://{tmp_path}/none")) == []
    assert penstock_tools(settings=Anything(hosts=(engine.host,))) == []


@pytest.mark.real
@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_a_full_disk_at_build(bench: Bench, far: Far, builder: str) -> None:
    far.engine.docker("image", "inspect", BASE)
    text = f"FROM {BASE}\nRUN dd if=/dev/zero of=/big bs=1M count=100\n"
    with pytest.raises(StepFailed, match=r"the build failed.*Make room"):
        Bench(far.engine, bench.make_step).build(text, {}, builder=builder)


@pytest.mark.real
def test_the_command_says_it(project: Project, engine: Engine) -> None:
    project.commit(
        {
            "Dockerfile": "FROM scratch\n",
            "penstock.toml": '[penstock]\nplugins = ["git", "docker"]\n[build.image]\nuses = "docker"\n',
        }
    )
    good = project.run("doctor", env={"DOCKER_HOST": engine.host})
    bad = project.run("doctor", env={"DOCKER_HOST": "unix:///none.sock"})

    assert (good.code, bad.code) == (0, 1)
    assert "✓ docker: engine: Docker " in good.out
    assert (
        "✗ docker: engine: the Docker engine at unix:///none.sock can't be reached: there is no such socket. Start"
        in bad.out
    )
    assert "the program that it runs is not there" not in bad.out


def test_room_is_told_of_engines_of_this_machine_only() -> None:
    assert doctor.hosts_of(Anything(hosts=("a", "b"))) == ("a", "b")
    assert doctor.hosts_of(Anything()) == (None,)
