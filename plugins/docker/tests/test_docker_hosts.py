"""Hosts that misbehave, each with a real engine: what is said, and that the earlier release goes on serving."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from penstock import ConfigError, Release, Step, StepFailed, StepRefused, Target, TargetState
from penstock_docker import Service, labels, penstock_reap
from penstock_docker.settings import Tls

from tests.bench import SERVING, Bench
from tests.engines import BASE, Engine
from tests.far import Far, cut, free_port, sshd

pytestmark = pytest.mark.real

SECRET = "c0rrect horse"
SLOWLY = """trap 'echo told; sleep 2; echo ended; exit' TERM; while :; do sleep 0.1; done"""
"""What takes its time to end."""
BIG = f"FROM {BASE}\nRUN dd if=/dev/zero of=/big bs=1M count=64\n"


def containers(engine: Engine, service: str, state: str = "") -> list[str]:
    """The releases of a service's containers, in that state or in any."""
    words = ["ps", "-a", "--format", '{{.Label "dev.penstock.release"}}']
    words += ["-f", f"label=dev.penstock.service={service}", *(["-f", f"status={state}"] if state else [])]
    return engine.docker(*words).split()


@pytest.fixture
def releases(bench: Bench) -> list[Release]:
    """Two that serve."""
    return [
        bench.release(bench.build(SERVING, {"www/index.html": f"{n}\n"}, builder="classic")) for n in (1, 2)
    ]


# --- a call that is cut off ---


def killed_at(number: int, call: Callable[[], None]) -> bool:
    """Run it in a process that is killed at its Nth change to an engine, half of them made; whether it was."""
    child = os.fork()
    if child == 0:
        count = 0
        send = requests.Session.send

        def counted(self: requests.Session, request: requests.PreparedRequest, **more: object) -> object:
            nonlocal count
            if request.method == "GET":
                return send(self, request, **more)
            count += 1
            if count == number and number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = send(self, request, **more)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        requests.Session.send = counted  # type: ignore[method-assign, assignment]
        try:
            call()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("then", ["apply", "restore"])
def test_an_apply_that_was_killed_anywhere_is_made_again_or_put_back(
    bench: Bench, releases: list[Release], then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    service = f"killed-{then}"
    target, step = bench.target(
        service=service, settle=0, stop_grace=1, secret_files=("TOKEN",), networks=("one", "two")
    )
    first, second = releases
    target.apply(first, step())
    before = target.observe(step())
    number = 1
    cut_off = step()
    while killed_at(number, lambda: target.apply(second, cut_off)):
        if then == "apply":
            target.apply(second, step())
            assert containers(bench.engine, service, "running") == [second.digest]
            assert containers(bench.engine, service) == [second.digest, first.digest]
            assert before.data["container"] in bench.engine.docker("ps", "-aq", "--no-trunc").split()
        target.restore(before, step())
        assert target.observe(step()) == before
        assert containers(bench.engine, service) == [first.digest]
        number += 1
    assert number >= 6  # made, joined to a network, given its secret, the other stopped, started


def test_a_restore_that_was_killed_anywhere_is_made_again(bench: Bench, releases: list[Release]) -> None:
    target, step = bench.target(service="unrestored", settle=0, stop_grace=1)
    target.apply(releases[0], step())
    before = target.observe(step())
    number = 1
    target.apply(releases[1], step())
    cut_off = step()
    while killed_at(number, lambda: target.restore(before, cut_off)):
        target.restore(before, step())
        assert target.observe(step()) == before
        assert containers(bench.engine, "unrestored") == [releases[0].digest]
        target.apply(releases[1], step())
        number += 1
    assert number >= 3


class Withheld(BaseException):
    """Ends a call as a kill would, with a request under way."""


@pytest.mark.parametrize("then", ["restore", "apply"])
def test_what_an_engine_makes_for_a_call_that_was_killed_is_not_left_there(
    bench: Bench, releases: list[Release], monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """It goes on with a request when nobody waits for it any more, and is done when the next call has looked."""
    service = f"late-{then}"
    target, step = bench.target(service=service, settle=0, stop_grace=1)
    first, second = releases
    target.apply(first, step())
    before = target.observe(step())
    send = requests.Session.send
    withheld: list[tuple[requests.Session, requests.PreparedRequest]] = []

    def slow(self: requests.Session, request: requests.PreparedRequest, **more: object) -> object:
        path = str(request.path_url).partition("?")[0]
        if path.endswith("/containers/create") and not withheld:
            withheld.append((self, request))
            raise Withheld
        answer = send(self, request, **more)
        if path.endswith("/containers/json") and withheld:
            monkeypatch.setattr(requests.Session, "send", send)
            send(*withheld[0], **more)
        return answer

    monkeypatch.setattr(requests.Session, "send", slow)
    with pytest.raises(Withheld):
        target.apply(second, step())
    if then == "restore":
        target.restore(before, step())
        assert target.observe(step()) == before
        assert containers(bench.engine, service) == [first.digest]
    else:
        target.apply(second, step())
        assert containers(bench.engine, service, "running") == [second.digest]
        assert containers(bench.engine, service) == [second.digest, first.digest]


@pytest.mark.parametrize("then", ["restore", "apply"])
def test_one_that_is_being_stopped_for_a_call_that_was_killed_runs_afterwards(
    bench: Bench, releases: list[Release], then: str
) -> None:
    """It runs on for as long as it may, and then ends, whoever wanted that."""
    slow = bench.build(f"FROM {BASE}\nCOPY www /www\nCMD {SLOWLY}\n", {"www/a": "a"}, builder="classic")
    service = f"ending-{then}"
    target, step = bench.target(service=service, settle=0, stop_grace=60)
    release = bench.release(slow)
    target.apply(release, step())
    before = target.observe(step())
    container = str(before.data["container"])
    cut_off = step()
    child = os.fork()
    if child == 0:
        target.apply(releases[0], cut_off)
        os._exit(1)
    while "told" not in bench.engine.docker("logs", container):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    if then == "restore":
        target.restore(before, step())
    else:
        target.apply(release, step())

    while "ended" not in bench.engine.docker("logs", container):
        assert target.observe(step()) == before
    assert target.observe(step()) == before


# --- what can't be started ---


def test_a_container_that_cannot_be_made_stops_nothing(bench: Bench, releases: list[Release]) -> None:
    target, step = bench.target(service="unmade", settle=0)
    target.apply(releases[0], step())
    before = target.observe(step())
    other, _ = bench.target(service="unmade", settle=0, memory=1)

    with pytest.raises(StepFailed, match=r"unmade-.* can't be made on unix:.*[Mm]emory"):
        other.apply(releases[1], step())

    assert target.observe(step()) == before


def test_a_port_that_another_container_has_stops_nothing(bench: Bench, releases: list[Release]) -> None:
    port = free_port()
    bench.engine.docker("run", "-d", "--name", "theirs", "-p", f"127.0.0.1:{port}:80", BASE, "sleep", "600")
    target, step = bench.target(service="taken", settle=0)
    target.apply(releases[0], step())
    before = target.observe(step())
    other, _ = bench.target(service="taken", settle=0, ports=(f"{port}:8080",))

    with pytest.raises(
        StepFailed, match=rf"port {port} of unix:.* taken by the container theirs .*docker stop"
    ):
        other.apply(releases[1], step())

    assert target.observe(step()) == before
    assert containers(bench.engine, "taken") == [releases[0].digest]


def test_a_port_that_a_program_has(bench: Bench, releases: list[Release]) -> None:
    target, step = bench.target(service="listens", settle=0, stop_grace=1)
    target.apply(releases[0], step())
    before = target.observe(step())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other, _ = bench.target(service="listens", settle=0, ports=(f"127.0.0.1:{port}:8080",))
        with pytest.raises(
            StepFailed, match=r"publish another port: ports\. What ran before runs again: listens-"
        ):
            other.apply(releases[1], step())

    assert target.observe(step()) == before


def test_the_same_release_with_other_settings_or_secrets_is_another_container(
    bench: Bench, releases: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    target, step = bench.target(service="changed", settle=0, stop_grace=1, service_secrets=("TOKEN",))
    seen = []
    for value in (SECRET, SECRET, "another one"):
        monkeypatch.setenv("TOKEN", value)
        target.apply(releases[0], step())
        seen.append(target.observe(step()).data["container"])

    assert seen[0] == seen[1] != seen[2]
    known = bench.engine.docker("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Labels}}")
    assert "another one" not in known
    assert SECRET not in known


# --- secrets ---


def test_secrets_as_files_are_in_nothing_that_describes_the_container(
    bench: Bench, releases: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    target, step = bench.target(service="files", settle=0, secret_files=("TOKEN",))
    target.apply(releases[0], step())
    container = str(target.observe(step()).data["container"])

    assert bench.engine.docker("exec", container, "cat", "/run/secrets/TOKEN") == SECRET
    assert SECRET not in bench.engine.docker("inspect", container)
    assert SECRET not in bench.engine.docker("exec", container, "env")
    bench.engine.docker("restart", "-t", "1", container)
    assert bench.engine.docker("exec", container, "cat", "/run/secrets/TOKEN") == SECRET


# --- a host that goes away ---


@pytest.fixture
def away(bench: Bench, far: Far, releases: list[Release]) -> Iterator[tuple[Target, Callable[[], Step]]]:
    """A service on the far host, which runs."""
    target, step = bench.target(far.tcp, service="far", settle=0, stop_grace=1, tls=far.tls, answer_within=20)
    target.apply(releases[0], step())
    yield target, step
    target.restore(TargetState(), step())


def test_a_host_behind_tls(
    bench: Bench, far: Far, away: tuple[Target, Callable[[], Step]], tmp_path: Path
) -> None:
    target, step = away
    assert target.probe(step()).status == "healthy"

    for tls, said in [
        (None, r"it wants TLS\. Name the certificates"),
        ({**far.tls, "ca": str(tmp_path / "none")}, r'tls.ca = ".*none": there is no such file'),
        ({**far.tls, "ca": far.tls["cert"]}, r"not signed by the authority that is named as tls\.ca"),
    ]:
        other, _ = bench.target(far.tcp, service="far", **({"tls": tls} if tls else {}))
        with pytest.raises((StepFailed, ConfigError), match=said):
            other.observe(step())


def test_a_host_that_answers_no_more_is_given_up_and_goes_on_serving(
    bench: Bench, far: Far, away: tuple[Target, Callable[[], Step]], releases: list[Release]
) -> None:
    _, step = away
    target, _ = bench.target(far.tcp, service="far", settle=0, stop_grace=1, tls=far.tls, answer_within=1)
    before = target.observe(step())

    with far.stopped(), pytest.raises(StepFailed, match=r"engine at tcp:.* does not answer.*answer_within"):
        target.apply(releases[1], step())
    away[0].restore(before, step())

    assert away[0].observe(step()) == before


def test_what_was_cut_off_on_a_host_behind_tls_is_reaped_there(bench: Bench, far: Far) -> None:
    step = bench.make_step("deploy.staging", environment="staging")
    marks = labels.of(step, far.tcp, Tls(**far.tls))
    words = [word for name, value in marks.items() for word in ("-l", f"{name}={value}")]
    far.engine.docker("run", "-d", *words, BASE, "sleep", "600")

    penstock_reap(run=step.number, step_name=step.name, home=step.project / ".penstock")

    assert far.engine.docker("ps", "-aq", "-f", f"label={labels.HOME}").split() == []


def test_a_host_behind_ssh(
    bench: Bench, far: Far, releases: list[Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sshd(tmp_path / "ssh", far.engine.host) as port:
        monkeypatch.setenv("PATH", f"{tmp_path}/ssh/bin", prepend=os.pathsep)
        host = f"ssh://root@127.0.0.1:{port}"
        target, step = bench.target(host, service="ssh", settle=0, stop_grace=1, answer_within=20)
        target.apply(releases[0], step())
        assert target.observe(step()).release == releases[0].digest
        assert target.probe(step()).status == "healthy"

        impatient, _ = bench.target(host, service="ssh", answer_within=1)
        with far.stopped(), pytest.raises(StepFailed, match=rf"engine at {host} .* does not answer"):
            impatient.observe(step())
        target.restore(TargetState(), step())
        assert containers(far.engine, "ssh") == []

        (tmp_path / "ssh" / "known").write_text("")
        with pytest.raises(StepFailed, match="does not know the host's key"):
            target.observe(step())
    with pytest.raises(StepFailed, match="nobody listens there"):
        target.observe(step())


# --- a pull that goes wrong ---


def on_far(bench: Bench, far: Far, repository: str, **more: float) -> tuple[Target, Callable[[], Step]]:
    return bench.target(far.engine.host, service="far", settle=0, stop_grace=1, repository=repository, **more)


@pytest.mark.parametrize("how", ["breaks off", "hangs"])
def test_a_pull_that_breaks_off_or_says_no_more(
    bench: Bench, far: Far, registry: str, away: tuple[Target, Callable[[], Step]], how: str
) -> None:
    noise = os.urandom(1 << 16).hex()
    made = bench.build(
        SERVING, {"www/noise": noise}, builder="classic", repository=f"{registry}/{how.split()[0]}"
    )
    before = away[0].observe(away[1]())

    with cut(registry, 20_000, hang=how == "hangs") as address:
        target, step = on_far(bench, far, f"{address}/{how.split()[0]}", answer_within=3)
        said = "can't pull 127.*See from that host" if how == "breaks off" else "does not answer"
        with pytest.raises(StepFailed, match=said):
            target.apply(bench.release(made), step())

    assert away[0].observe(away[1]()) == before
    assert containers(far.engine, "far") == [before.release]


def test_a_registry_that_serves_other_bytes(
    bench: Bench, far: Far, registry: str, registry_files: Path, away: tuple[Target, Callable[[], Step]]
) -> None:
    made = bench.build(
        SERVING, {"www/index.html": "once\n" * 100}, builder="classic", repository=f"{registry}/changed"
    )
    layer = made.parts[-1].removeprefix("sha256:")
    path = registry_files / f"docker/registry/v2/blobs/sha256/{layer[:2]}/{layer}/data"
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # of the checksum at its end
    path.write_bytes(data)
    before = away[0].observe(away[1]())
    target, step = on_far(bench, far, f"{registry}/changed")

    with pytest.raises((StepFailed, StepRefused), match="What the registry serves is not what was put there"):
        target.apply(bench.release(made), step())

    assert away[0].observe(away[1]()) == before


@pytest.mark.parametrize("pulled", [True, False], ids=["pulled", "out of the store"])
def test_a_host_without_room(
    bench: Bench, far: Far, registry: str, away: tuple[Target, Callable[[], Step]], pulled: bool
) -> None:
    made = bench.build(BIG, {}, builder="classic", repository=f"{registry}/big")
    before = away[0].observe(away[1]())
    target, step = bench.target(
        far.engine.host, service="far", **({"repository": f"{registry}/big"} if pulled else {})
    )

    with pytest.raises(
        StepFailed, match=r"(?s)unix:.*no space left.*Make room on its disk: docker system df"
    ):
        target.apply(bench.release(made), step())

    assert away[0].observe(away[1]()) == before


# --- settings ---


def test_what_a_service_is_called(bench: Bench) -> None:
    from penstock_docker.targets import name_of

    step = bench.make_step("deploy.web", environment="production")

    assert name_of(Service(), step) == "web-production"
    assert name_of(Service(repository="registry.example.com/ana/shop"), step) == "shop-web-production"
    assert name_of(Service(service="own"), step) == "own"
    assert name_of(Service(), bench.make_step("deploy.staging", environment="staging")) == "staging"
