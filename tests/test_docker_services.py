"""Services of the docker plugin through the command line; and whoever is killed, nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import BASE, Engine, engine
from tests.projects import Project

__all__ = ["engine"]

pytestmark = [pytest.mark.real, pytest.mark.slow]

LABEL = "label=dev.penstock.home"
CONFIG = """\
[penstock]
plugins = ["git", "docker", "shell"]

[build.web]
uses = "docker"

[service.web]
uses = "docker"
image = "build.web"
secrets = {{ GREETER = "env:GREETER" }}
step_variables = {{ BASE_URL = "http://{{host}}:{{port}}" }}

[service.files]
uses = "docker"
image = "{base}"
command = ["httpd", "-f", "-p", "80", "-h", "/bin"]
ports = [80]
health = {health}
start_timeout = "{start_timeout}"

[test.api]
uses = "shell"
run = '''{script}'''
services = ["web", "files"]
"""
SCRIPT = """
python3 - <<'END'
import os, urllib.request as r
print(r.urlopen(os.environ["BASE_URL"], timeout=30).read().decode())
at = "http://%s:%s/ls" % (os.environ["PENSTOCK_SERVICE_FILES_HOST"], os.environ["PENSTOCK_SERVICE_FILES_PORT"])
print(len(r.urlopen(at, timeout=30).read()) > 1000)
END
"""
DOCKERFILE = f"""\
FROM {BASE}
EXPOSE 8080
VOLUME /data
CMD ["sh", "-c", "mkdir -p /www; echo hello $GREETER | cat > /www/index.html; exec httpd -f -p 8080 -h /www"]
"""


def config(script: str = SCRIPT, health: str = '"port"', start_timeout: str = "60s") -> str:
    return CONFIG.format(base=BASE, script=script, health=health, start_timeout=start_timeout)


@pytest.fixture
def tried(project: Project, engine: Engine) -> Iterator[Project]:
    """A project with services; nothing of any is left after the test."""
    project.env |= {"DOCKER_HOST": engine.host, "GREETER": "wor1d0f0urs"}
    project.commit({"Dockerfile": DOCKERFILE, "penstock.toml": config()})
    yield project
    assert left(engine) == []


def left(engine: Engine) -> list[str]:
    containers = engine.docker("ps", "-aq", "--filter", LABEL).split()
    networks = engine.docker("network", "ls", "-q", "--filter", LABEL).split()
    return [*containers, *networks, *engine.docker("volume", "ls", "-q").split()]


def until(condition: Callable[[], Any], within: float = 120) -> Any:
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_test_with_two_services(tried: Project) -> None:
    done = tried.passes("run", "--json")

    log = tried.passes("logs", "last", "test.api").out
    assert "hello ***\n\nTrue\n" in log  # what the service is handed in secret
    [data] = [
        event["data"]
        for event in map(json.loads, done.out.splitlines())
        if event["type"] == "step.finished" and event["step"] == "test.api"
    ]
    predicate = json.loads(data["statements"][data["evidence"][0]["statement"]])["predicate"]
    [_, image] = predicate["configuration"]
    assert image["name"] == "service files: penstock-base"
    assert image["annotations"]["path"] == BASE


def test_a_service_that_never_gets_healthy_says_why(tried: Project) -> None:
    script = "echo it must not come to that"
    sick = """["sh", "-c", "echo 'no disk'; exit 7"]"""
    tried.commit({"penstock.toml": config(script, health=sick, start_timeout="2s")})

    done = tried.run("run")

    assert done.code == 1
    assert (
        "service files: it was not healthy within 2 s of its start (start_timeout): sh -c echo 'no disk'; exit 7 "
        'ended with 7 and said "no disk". It printed nothing' in tried.step("test.api")["reason"]
    )
    assert "it must not come to that" not in tried.logs()


WAITS = "touch $PENSTOCK_TEST_AT; while ! test -e $PENSTOCK_TEST_GO; do sleep 0.1; done"


@pytest.fixture
def begun(tried: Project, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose test waits, beside its services."""
    at, go = tmp_path / "at", tmp_path / "go"
    tried.env |= {"PENSTOCK_TEST_AT": str(at), "PENSTOCK_TEST_GO": str(go)}
    tried.commit({"penstock.toml": config(WAITS)})
    child = tried.start("run")
    try:
        until(at.exists)
        at.unlink()
        yield child
    finally:
        child.kill()
        child.communicate()


def workers_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_when_its_worker_is_killed_a_step_s_services_are_reaped_and_it_is_begun_anew(
    tried: Project, engine: Engine, begun: subprocess.Popen[str]
) -> None:
    before = set(left(engine))
    [worker] = [pid for pid in workers_of(begun.pid) if workers_of(pid)]

    os.kill(worker, signal.SIGKILL)
    until(Path(tried.env["PENSTOCK_TEST_AT"]).exists)

    assert before
    assert not before & set(left(engine))
    Path(tried.env["PENSTOCK_TEST_GO"]).touch()
    out, err = begun.communicate(timeout=120)
    assert begun.returncode == 0, out + err


def test_a_cancelled_run_leaves_nothing(tried: Project, engine: Engine, begun: subprocess.Popen[str]) -> None:
    tried.passes("cancel")

    assert begun.wait(timeout=120) == 130
    assert left(engine) == []


def test_when_all_are_killed_at_once_whoever_resumes_reaps(
    tried: Project, engine: Engine, begun: subprocess.Popen[str]
) -> None:
    before = set(left(engine))

    os.killpg(begun.pid, signal.SIGSTOP)
    for pid in [begun.pid, *workers_of(begun.pid)]:
        os.kill(pid, signal.SIGKILL)
    begun.wait()
    assert set(left(engine)) == before
    Path(tried.env["PENSTOCK_TEST_GO"]).touch()
    tried.passes("resume")

    assert before
    assert left(engine) == []


INSIDE = """\
[penstock]
plugins = ["git", "docker", "shell"]

[build.web]
uses = "docker"

[service.web]
uses = "docker"
image = "build.web"
secrets = { GREETER = "env:GREETER" }

[test.inside]
uses = "shell"
run = '''
test "$PENSTOCK_SERVICE_WEB_HOST $PENSTOCK_SERVICE_WEB_PORT" = "web 8080"
printf 'GET / HTTP/1.0\\n\\n' | busybox nc -w 10 web 8080
'''
inside = "build.web"
services = ["web"]
"""


def test_a_program_inside_an_image_reaches_a_service_by_its_name_and_nothing_else(
    tried: Project, engine: Engine
) -> None:
    tried.commit({"penstock.toml": INSIDE})

    tried.passes("run")

    assert "hello ***" in tried.passes("logs", "last", "test.inside").out
    assert list((tried.root / ".penstock/cache/docker/made").iterdir()) == []
