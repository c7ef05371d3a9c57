"""Programs of a step in containers of the image that was built, on a real engine: mounted, and copied."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from penstock import Artifact, CommandFailed, ConfigError, Inside, Step, StepFailed, StepRefused
from penstock.testing import StepMaker
from penstock_docker import Image, penstock_build

from tests.engines import BASE, Engine

pytestmark = pytest.mark.real

SECRET = "c0rrect horse"
LABEL = "label=dev.penstock.step=test.unit"
DOCKERFILE = f"""\
FROM {BASE}
ENV PLACE=image
WORKDIR /srv
RUN echo built > /srv/what
ENTRYPOINT ["false"]
"""
Make = Callable[..., Step]


class Relay(socketserver.ThreadingTCPServer):
    """The engine behind a port: what is asked there may have the files of any machine."""

    daemon_threads = True

    def __init__(self, socket_path: str) -> None:
        super().__init__(("127.0.0.1", 0), Relayed)
        self.socket_path = socket_path


class Relayed(socketserver.BaseRequestHandler):
    """One connection, both ways until either side is done."""

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine, selectors.DefaultSelector() as selector:
            engine.connect(self.server.socket_path)  # type: ignore[attr-defined]
            other = {self.request: engine, engine: self.request}
            for one in other:
                selector.register(one, selectors.EVENT_READ)
            with contextlib.suppress(OSError):
                while selector.get_map():
                    for key, _ in selector.select():
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        if not data:
                            return
                        other[key.fileobj].sendall(data)


@contextlib.contextmanager
def through_a_port(engine: Engine) -> Iterator[str]:
    with Relay(engine.host.removeprefix("unix://")) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{relay.server_address[1]}"
        relay.shutdown()


@pytest.fixture(scope="session")
def shop(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[StepMaker, Artifact]:
    """An image for all tests here, and the maker of steps whose store has it."""
    maker = StepMaker(tmp_path_factory.mktemp("inside"))
    step = maker("build.image", files={"Dockerfile": DOCKERFILE})
    [made] = penstock_build(settings=Image(host=engine.host, name="shop"), step=step)
    step.close()
    return maker, made


def made_by(maker: StepMaker, artifact: Artifact, host: str) -> Iterator[Make]:
    made: list[Step] = []

    def make(limits: dict[str, object] | None = None, image: Artifact = artifact, **more: object) -> Step:
        inside = Inside.model_validate({"step": "build.image", "host": host, **(limits or {})})
        made.append(maker(inside=inside, artifacts=[image], plugins=["docker"], **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for step in made:
        step.leave()
        step.close()


@pytest.fixture
def make(engine: Engine, shop: tuple[StepMaker, Artifact]) -> Iterator[Make]:
    """Makes steps inside the image, on an engine that sees this machine's files."""
    yield from made_by(*shop, engine.host)


@pytest.fixture(params=["mounted", "copied"])
def make_both(
    request: pytest.FixtureRequest, engine: Engine, shop: tuple[StepMaker, Artifact]
) -> Iterator[Make]:
    """The same, and on one that does not."""
    if request.param == "mounted":
        yield from made_by(*shop, engine.host)
        return
    with through_a_port(engine) as host:
        yield from made_by(*shop, host)


@pytest.fixture(autouse=True)
def nothing_is_left(engine: Engine) -> Iterator[None]:
    """After each test there is no container of a step."""
    yield
    assert engine.docker("ps", "-aq", "-f", LABEL).split() == []


def log_of(step: Step) -> str:
    return (step.workspace.parent / "log.txt").read_text()


# --- what a program finds there, and leaves ---


def test_a_program_runs_in_the_image_with_the_workspace_and_what_it_writes_is_ours(make_both: Make) -> None:
    step = make_both(files={"tests/a.txt": "a\n", "gone": ""}, env={"MODE": "test"})
    (step.workspace / "link").symlink_to("/nowhere/at/all")
    script = (
        "cat /srv/what tests/a.txt && echo $PLACE $MODE $PENSTOCK_STEP $PENSTOCK_INSIDE_DIRECTORY && "
        "mkdir reports && echo '<x/>' > reports/r.xml && echo more >> tests/a.txt && rm gone && "
        "test -L link && echo t > $TMPDIR/t && pwd"
    )

    done = step.run(["sh", "-eu", "-c", script], capture=True)

    assert done.stdout.split() == [
        *("built", "a", "image", "test", "test.unit", "/srv"),
        str(step.workspace),
    ]
    assert (step.workspace / "reports/r.xml").read_text() == "<x/>\n"
    assert (step.workspace / "tests/a.txt").read_text() == "a\nmore\n"
    assert (step.workspace / "reports").stat().st_uid == os.getuid()
    assert (step.tmp / "t").read_text() == "t\n"
    assert not (step.workspace / "gone").exists()
    assert os.readlink(step.workspace / "link") == "/nowhere/at/all"
    assert step.ran_inside == step.inside


def test_its_status_and_both_of_its_streams(make_both: Make) -> None:
    step = make_both()

    done = step.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)

    assert done.returncode == 3
    assert {"out", "err"} <= set(log_of(step).split("\n"))
    with pytest.raises(CommandFailed, match="sh ended with status 4"):
        step.run(["sh", "-c", "exit 4"])
    assert step.run(["sh", "-c", "echo out; echo err >&2"], capture=True).stdout == "out\n"


def test_secrets_come_by_no_command_line_and_are_masked_on_both_streams(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    step = make(secrets={"TOKEN": "env:TOKEN"})
    seen: list[str] = []

    def look() -> None:
        while "begun" not in log_of(step).splitlines():
            changed.wait(0.05)
        seen.extend(
            path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline")
        )
        (step.workspace / "seen").touch()

    changed = threading.Event()
    looker = threading.Thread(target=look)
    looker.start()
    wait = "echo begun; until test -e seen; do sleep 0.1; done; test ${#TOKEN} = 13"
    step.run(["sh", "-eu", "-c", f'{wait}; echo "<$TOKEN>"; echo "<$TOKEN>" >&2'])
    looker.join()

    assert SECRET not in log_of(step)
    assert log_of(step).count("<***>") == 2
    assert any("until test -e seen" in text for text in seen)
    assert all(SECRET not in text for text in seen)


def test_the_environment_is_the_image_s_and_nothing_of_this_machine_s(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "here")

    said = make().run(["env"], capture=True).stdout

    assert "OURS" not in said
    assert sys.prefix not in said


def test_what_is_brought_is_there_and_can_not_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "t").write_text("tool\n")
    step = make()
    step.bring(tmp_path / "tools")

    assert step.run(["cat", tmp_path / "tools/t"], capture=True).stdout == "tool\n"
    with pytest.raises(CommandFailed):
        step.run(["sh", "-c", f"echo x > {tmp_path}/tools/t"])
    assert (tmp_path / "tools" / "t").read_text() == "tool\n"


def test_there_is_no_network_unless_asked_for(make: Make) -> None:
    def routes(**limits: object) -> str:
        return make(limits=limits).run(["cat", "/proc/net/route"], capture=True).stdout

    assert "eth0" not in routes()
    assert "eth0" in routes(network=True)


# --- limits ---


def test_a_program_that_takes_too_much_memory_is_ended_and_that_is_said(make: Make) -> None:
    step = make(limits={"memory": "8MB"})

    with pytest.raises(
        StepFailed, match=r"sh was ended for want of memory: inside shop it may have 8,000,000"
    ):
        step.run(["sh", "-c", 'x=aaaaaaaaaaaaaaaa; while true; do x="$x$x"; done'], check=False)


def test_processors_are_limited(make: Make, engine: Engine) -> None:
    step = make(limits={"cpus": 0.5})
    step.run(["sh", "-c", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max || true"])

    assert any(line.startswith("50000") for line in log_of(step).splitlines())


def test_its_time_ends_it_with_all_that_it_started(make: Make) -> None:
    step = make()

    with pytest.raises(StepFailed, match="sh took longer than its time and was ended"):
        step.run(["sh", "-c", "(trap '' TERM; sleep 600) & (sleep 600 &) ; echo begun; sleep 600"], timeout=3)

    assert "begun" in log_of(step).splitlines()


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 2])
def test_whoever_cancels_ends_it_at_any_moment(make: Make, after: float) -> None:
    class Cancelled(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Cancelled

    step = make()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        with pytest.raises(Cancelled):
            step.run(["sleep", "600"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["python3"], r"there is no python3 in shop \(sha256:\w+\)\. Install it in the image"),
        (["./run"], r"there is no \./run in shop"),
    ],
)
def test_a_program_that_the_image_lacks(make: Make, argv: list[str], said: str) -> None:
    with pytest.raises(StepFailed, match=said):
        make().run(argv)


def test_a_script_s_own_127_is_its_status(make: Make) -> None:
    assert make().run(["sh", "-c", "nosuch"], check=False).returncode == 127


def test_an_image_without_a_shell(make: Make, engine: Engine, shop: tuple[StepMaker, Artifact]) -> None:
    maker, _ = shop
    step = maker("build.bare", files={"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": ""})
    [bare] = penstock_build(settings=Image(host=engine.host, name="bare"), step=step)
    step.close()

    with pytest.raises(
        StepFailed, match=r"there is no sh in bare .* Add a shell to it, or write the command as"
    ):
        make(image=bare).run(["sh", "-eu", "-c", "true"])


def test_a_directory_that_is_not_there(make: Make) -> None:
    step = make()

    with pytest.raises(StepFailed, match=r"files/none is not there: true can't be run in it"):
        step.run(["true"], cwd=step.workspace / "none")
    assert not (step.workspace / "none").exists()
    assert step.run(["sh", "-c", "pwd"], cwd=Path("/srv"), capture=True).stdout == "/srv\n"


def test_an_engine_that_lost_the_image_gets_it_out_of_the_store(
    make: Make, engine: Engine, shop: tuple[StepMaker, Artifact]
) -> None:
    image = shop[1].digests["image ID"]
    engine.docker("rmi", "-f", image)

    assert make().run(["cat", "/srv/what"], capture=True).stdout == "built\n"
    assert image in engine.docker("images", "-q", "--no-trunc").split()


def test_an_image_that_is_not_the_one_that_was_built_starts_nothing(
    make: Make, shop: tuple[StepMaker, Artifact]
) -> None:
    claimed = shop[1].model_copy(update={"digests": {"image ID": "sha256:" + "0" * 64}})
    step = make(image=claimed)

    with pytest.raises(StepRefused, match="names another image than its artifact does"):
        step.run(["true"])
    assert step.ran_inside is None


def test_what_is_no_image(make: Make, shop: tuple[StepMaker, Artifact]) -> None:
    wheel = shop[1].model_copy(update={"kind": "wheel", "name": "shop.whl"})

    with pytest.raises(
        ConfigError, match=r"no enabled plugin can run .* which is shop\.whl \(wheel\)\. Name a"
    ):
        make(image=wheel).run(["true"])


def test_an_engine_that_is_away(make: Make, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="can't be reached: there is no such socket"):
        make(limits={"host": f"unix://{tmp_path}/none.sock"}).run(["true"])


def test_a_container_that_is_removed_under_way(make: Make, engine: Engine) -> None:
    step = make()

    def remove() -> None:
        while "begun" not in log_of(step).splitlines():
            changed.wait(0.05)
        engine.docker("rm", "-f", *engine.docker("ps", "-q", "-f", LABEL).split())

    changed = threading.Event()
    remover = threading.Thread(target=remove)
    remover.start()
    with pytest.raises(StepFailed, match=r"the container of sh was removed from .* before its end"):
        step.run(["sh", "-c", "echo begun; sleep 600"])
    remover.join()
