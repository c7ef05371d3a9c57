"""Services with a real Docker Engine: started, waited for, reached, removed, and reaped."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from penstock import Artifact, Inside, Service, Step, StepFailed
from penstock.testing import StepMaker
from penstock_docker import ServiceContainer, labels, penstock_reap, penstock_service, penstock_service_tools

from tests.engines import BASE, Engine

pytestmark = pytest.mark.real

HTTPD = (
    "sh",
    "-c",
    "mkdir -p /www; echo hello from $GREETER > /www/index.html; exec httpd -f -p 8080 -h /www",
)
SECRET = "c0rrect horse"


class Bench:
    def __init__(self, made: Engine, make_step: StepMaker) -> None:
        self.engine = made
        self.make_step = make_step

    def steps(self, name: str = "test.api", **secrets: str) -> tuple[Step, Step]:
        """A step, and its service."""
        return self.make_step(name), self.make_step("service.web", secrets=secrets)

    def settings(self, **settings: Any) -> ServiceContainer:
        usual = {"host": self.engine.host, "image": BASE, "command": HTTPD, "ports": [8080]}
        return ServiceContainer(**{**usual, "start_timeout": 60.0, **settings})

    def left(self) -> list[str]:
        """All that carries our labels."""
        wanted = f"label={labels.HOME}"
        found = self.engine.docker("ps", "-aq", "--filter", wanted)
        found += self.engine.docker("network", "ls", "-q", "--filter", wanted)
        named = self.engine.docker("volume", "ls", "-q").split()
        # A container's own volumes carry no label; those of other tests have names.
        return found.split() + [name for name in named if re.fullmatch("[0-9a-f]{64}", name)]


@pytest.fixture
def bench(engine: Engine, make_step: StepMaker) -> Iterator[Bench]:
    made = Bench(engine, make_step)
    yield made
    assert not made.left()


def get(service: Service, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://{service.host}:{service.port}{path}", timeout=30) as answer:
        return str(answer.read().decode())


def test_a_service_is_reached_while_the_step_works_and_is_gone_afterwards(bench: Bench) -> None:
    step, own = bench.steps(PASSWORD="env:HOME")
    settings = bench.settings(
        variables={"GREETER": "busybox"},
        step_variables={"BASE_URL": "http://{host}:{port}/"},
        tmpfs=["/tmp:size=1m"],
        memory="64MiB",
        cpus=0.5,
    )

    with penstock_service(settings=settings, service=own, step=step) as service:
        assert get(service) == "hello from busybox\n"
        [container] = bench.engine.docker("ps", "-q", "--filter", f"label={labels.HOME}").split()
        [inspected] = json.loads(bench.engine.docker("inspect", container))
        port = str(service.port)

    assert (service.host, service.variables["BASE_URL"]) == ("127.0.0.1", f"http://127.0.0.1:{port}/")
    assert service.network in inspected["NetworkSettings"]["Networks"]
    assert inspected["HostConfig"]["Memory"] == 64 << 20
    # By its image ID, which goes on record, and never by its tag.
    [tool] = service.tools
    assert (inspected["Config"]["Image"], tool.path) == (f"sha256:{tool.sha256}", BASE)
    assert not bench.left()


def test_what_a_service_prints_is_kept_and_its_secrets_are_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", SECRET)
    step, own = bench.steps(PASSWORD="env:THE_PASSWORD")
    script = 'echo begun with "$PASSWORD"; trap "echo ended; exit 0" TERM; sleep 100000 & wait'
    settings = bench.settings(command=("sh", "-c", script), ports=[])

    with penstock_service(settings=settings, service=own, step=step) as service:
        argv = bench.engine.docker("ps", "-a", "--no-trunc", "--format", "{{.Command}} {{.Labels}}")

    assert service.port is None
    assert SECRET not in argv
    assert bench.make_step.log_of(own) == "begun with ***\n"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


SICK: dict[str, tuple[dict[str, Any], str]] = {
    "it ends": (
        {"command": ["sh", "-c", "echo no database here; exit 3"]},
        "it ended by itself, with status 3. The last that it printed:\n  no database here",
    ),
    "its port stays shut": (
        {"command": ["sh", "-c", "echo thinking; sleep 1000"], "start_timeout": 1.0},
        "it was not healthy within 1 s of its start (start_timeout): its port 8080 is not open. "
        "The last that it printed:\n  thinking",
    ),
    "its check fails": (
        {"health": ["sh", "-c", "echo not yet; exit 1"], "start_timeout": 2.0},
        "it was not healthy within 2 s of its start (start_timeout): sh -c echo not yet; exit 1 ended with 1 "
        'and said "not yet". It printed nothing',
    ),
    "no check of its own": (
        {"health": "image"},
        f'health = "image": {BASE} has no HEALTHCHECK. Name a command, or "port"',
    ),
    "no port": (
        {"health": "port", "ports": []},
        'health = "port", and it has none: the image exposes none, and ports names none',
    ),
    "no such image": (
        {"image": "nobody/knows:it", "pull": "never"},
        'the engine does not have the image nobody/knows:it, and pull = "never"',
    ),
    "an image ID that is not there": (
        {"image": f"sha256:{'0' * 64}"},
        f"the engine does not have sha256:{'0' * 64}, and no registry knows an image ID: name the image by its "
        "digest in a registry, such as postgres@sha256:…",
    ),
    "a build that built no image": (
        {"image": "build.web"},
        'image = "build.web": that step has built no image, and one is needed',
    ),
}


@pytest.mark.parametrize(("settings", "message"), SICK.values(), ids=SICK)
def test_a_service_that_does_not_get_healthy(bench: Bench, settings: dict[str, Any], message: str) -> None:
    step, own = bench.steps()
    context = penstock_service(settings=bench.settings(**settings), service=own, step=step)

    with pytest.raises(StepFailed) as failed:
        context.__enter__()

    assert str(failed.value) == message


def test_a_command_that_is_not_there_is_named(bench: Bench) -> None:
    step, own = bench.steps()

    with pytest.raises(StepFailed, match='"nonesuch": executable file not found'):
        penstock_service(settings=bench.settings(command=["nonesuch"]), service=own, step=step).__enter__()


def test_a_service_that_ends_too_early_is_told_of(bench: Bench) -> None:
    step, own = bench.steps()
    settings = bench.settings(command=["sh", "-c", "sleep 0.5; exit 9"], ports=[], health="running")

    with penstock_service(settings=settings, service=own, step=step):
        until(lambda: not bench.engine.docker("ps", "-q", "--filter", f"label={labels.HOME}"))

    told = "service web: it ended by itself, with status 9, while the step was still at work"
    assert told in bench.make_step.log_of(step)


def test_the_image_s_own_check_is_asked_often(bench: Bench) -> None:
    dockerfile = f"FROM {BASE}\nEXPOSE 8080\nHEALTHCHECK --interval=1h CMD test -e /tmp/ready\n"
    context = bench.make_step("build.web", files={"Dockerfile": dockerfile}).workspace
    bench.engine.docker("build", "-q", "-t", "checked:1", str(context))
    step, own = bench.steps()
    settings = bench.settings(
        image="checked:1", command=["sh", "-c", "echo > /tmp/ready; sleep 1000"], ports=[]
    )

    with penstock_service(settings=settings, service=own, step=step) as service:
        assert service.port is not None
    [told] = penstock_service_tools(settings=settings)

    assert (told,) == service.tools


def test_programs_inside_of_an_image_reach_a_service_on_a_network_without_a_way_out(bench: Bench) -> None:
    image = Artifact(name="shop", kind="image", digest=f"sha256:{1:064x}")
    inside = Inside(step="build.image", host=bench.engine.host)
    step = bench.make_step("test.api", inside=inside, artifacts=[image], plugins=["docker"])
    own = bench.make_step("service.web")

    with penstock_service(settings=bench.settings(), service=own, step=step) as service:
        [container] = bench.engine.docker("ps", "-q", "--filter", f"label={labels.HOME}").split()
        ports = bench.engine.docker("port", container)
        internal = bench.engine.docker("network", "inspect", "-f", "{{.Internal}}", str(service.network))

    assert (service.host, service.port, ports, internal) == ("web", 8080, "", "true\n")


def test_two_services_of_a_step_share_its_network(bench: Bench) -> None:
    step, own = bench.steps()
    other = bench.make_step("service.asker")
    asks = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 web 8080; sleep 1000"

    with penstock_service(settings=bench.settings(), service=own, step=step) as web:
        settings = bench.settings(command=["sh", "-c", asks], ports=[], health="running")
        with penstock_service(settings=settings, service=other, step=step) as asker:
            assert asker.network == web.network
            until(lambda: "hello from" in bench.make_step.log_of(other))


def test_what_a_killed_process_left_is_reaped_and_nothing_else(bench: Bench) -> None:
    contexts = []
    for name, run in (("test.a", 1), ("test.b", 1), ("test.a", 2)):
        step, own = bench.make_step(name, run=run), bench.make_step("service.web", run=run)
        context = penstock_service(settings=bench.settings(), service=own, step=step)
        context.__enter__()
        contexts.append((context, step))
    homes = [step.project / ".penstock" for _, step in contexts]

    def there() -> list[str]:
        label = '{{.Label "dev.penstock.run"}} {{.Label "dev.penstock.step"}}'
        ours = ("--filter", f"label={labels.HOME}")
        return sorted(bench.engine.docker("ps", "-a", *ours, "--format", label).splitlines())

    penstock_reap(run=1, step_name="test.b", home=homes[0])  # of that checkout there is no such step
    assert there() == ["1 test.a", "1 test.b", "2 test.a"]
    penstock_reap(run=1, step_name="test.a", home=homes[0])
    assert there() == ["1 test.b", "2 test.a"]
    penstock_reap(run=1, step_name=None, home=homes[1])
    assert there() == ["2 test.a"]
    penstock_reap(run=1, step_name=None, home=homes[2])
    assert there() == ["2 test.a"]
    for context, _ in contexts:
        context.__exit__(None, None, None)  # nothing is left to do for most, which is no fault
