"""Services beside steps, with a plugin that starts a process and leaves a thing outside of any process tree."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from penstock import reaping

from core.tests.lab import ONE_FILE, Lab, ask, gone, number_in, until

SERVER = '''
from contextlib import contextmanager

class Do(Settings):
    do: str = ""

class Server(Settings):
    """Greets whoever connects."""
    greeting: str = "hello"
    image: str = ""
    do: str = ""
    undo: str = ""

SERVE = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    client.sendall((sys.argv[1] + " " + os.environ.get("PASSWORD", "nothing")).encode())
    client.close()
"""

def things(project):
    place = Path(project) / "things"
    place.mkdir(exist_ok=True)
    return place

@hookimpl
@contextmanager
def penstock_service(settings: Server, service, step):
    thing = things(step.project) / f"{step.number} {step.name} {service.name}"
    thing.touch()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, settings.greeting],
        stdout=subprocess.PIPE, env=service.variables(), start_new_session=True,
    )
    try:
        port = int(server.stdout.readline())
        service.log(f"serves with {service.variables().get('PASSWORD')}")
        (step.project / "server").write_text(f"{server.pid}\\n")
        exec(settings.do)
        yield Service(port=port, variables={"URL": f"tcp://127.0.0.1:{port}"}, tools=TOOLS)
    finally:
        exec(settings.undo)
        server.kill()
        server.wait()
        server.stdout.close()
        thing.unlink()

TOOLS = (Tool(name="server", version="1", path="server:1", sha256="a" * 64),)

@hookimpl
def penstock_service_tools(settings: Server):
    return list(TOOLS)

@hookimpl
def penstock_reap(run, step_name, home):
    with open(home.parent / "reaped", "a") as file:
        file.write(f"{run} {step_name}\\n")
    if (home.parent / "broken").exists():
        raise StepFailed("the shed is locked")
    for thing in things(home.parent).iterdir():
        number, step, _ = thing.name.split(" ")
        if int(number) == run and step_name in (None, step):
            thing.unlink()

@hookimpl
def penstock_test(settings: Do, step):
    import socket
    greetings = []
    for service in step.services.values():
        with socket.create_connection((service.host, service.port)) as client:
            greetings.append(client.recv(100).decode())
    step.log(f"heard {greetings}")
    step.run(["sh", "-c", "env | grep -e PENSTOCK_SERVICE -e URL -e PASSWORD | sort"], check=False)
    exec(settings.do)
    return PASSED
'''
PIPELINE = """
[build.a]
uses = "fake"

[service.db]
uses = "fake"
greeting = "good day"

[test.unit]
uses = "fake"
services = ["db"]
"""

WAITS = """do = "(step.project / 'go').exists() or ((step.project / 'at').touch(), time.sleep(60))"\n"""


@pytest.fixture
def fake(lab: Lab) -> Lab:
    lab.plugin("fake", ONE_FILE + SERVER)
    return lab


def things(lab: Lab) -> list[str]:
    return sorted(path.name for path in (lab.root / "things").glob("*"))


def server_of(lab: Lab) -> int:
    return int(until(number_in(lab.root / "server")))


# --- a step with a service ---


def test_a_step_reaches_its_service_and_nothing_of_it_is_left(fake: Lab) -> None:
    fake.toml(PIPELINE, ("fake",))

    code, said = fake.run("run")

    assert code == 0, said
    log = fake.log()
    port = log.partition("PENSTOCK_SERVICE_DB_PORT=")[2].partition("\n")[0]
    assert "Starting service db\nheard ['good day nothing']\n" in log
    assert (
        f"PENSTOCK_SERVICE_DB_HOST=127.0.0.1\nPENSTOCK_SERVICE_DB_PORT={port}\nURL=tcp://127.0.0.1:{port}\n"
        in log
    )
    assert things(fake) == []
    assert gone(server_of(fake))
    assert not (fake.root / "reaped").exists()  # nobody was killed


def test_the_log_of_a_service_is_one_of_its_own(fake: Lab) -> None:
    fake.toml(PIPELINE, ("fake",))
    fake.run("run")

    assert fake.run("logs", "last", "test.unit", "--service", "db") == (0, "serves with None\n")
    assert fake.run("logs", "last", "test.unit", "--service", "dbx") == (
        2,
        'penstock: test.unit has no service "dbx". Did you mean "db"? There are db\n',
    )
    assert "serves with" not in fake.run("logs", "last")[1]


def test_a_service_s_secret_is_its_own_and_shows_up_nowhere(fake: Lab) -> None:
    fake.toml(
        PIPELINE.replace("[test", '[service.db.secrets]\nPASSWORD = "env:DB_PASSWORD"\n\n[test'), ("fake",)
    )

    code, said = fake.run("run", DB_PASSWORD="swordfish")

    assert code == 0, said
    assert "heard ['good day ***']" in fake.log()  # it was told; the step did not declare it
    assert "PASSWORD=" not in fake.log()
    assert fake.run("logs", "last", "test.unit", "--service", "db")[1] == "serves with ***\n"


FAILING = {
    "a service that does not start": (
        {"do": "raise StepFailed('it was not healthy within 1 s')"},
        1,
        "service db: it was not healthy within 1 s",
    ),
    "a plugin that breaks": (
        {"do": "raise ValueError('what?')"},
        4,
        'service db: the plugin "fake" failed: ValueError: what?',
    ),
}


@pytest.mark.parametrize(("service", "code", "reason"), FAILING.values(), ids=FAILING)
def test_a_service_that_can_t_be_had_fails_the_step(
    fake: Lab, service: dict[str, str], code: int, reason: str
) -> None:
    extra = "".join(f"{key} = {json.dumps(value)}\n" for key, value in service.items())
    fake.toml(PIPELINE.replace("[test", f"{extra}\n[test"), ("fake",))

    ended, said = fake.run("run")

    assert (ended, fake.reason("test.unit")) == (code, reason), said
    assert "heard" not in fake.log()
    assert things(fake) == []


def test_a_service_that_can_t_be_stopped_fails_no_step_and_is_reaped(fake: Lab) -> None:
    undo = json.dumps("server.kill(); server.wait(); raise OSError('it hangs')")
    fake.toml(PIPELINE.replace("[test", f"undo = {undo}\n\n[test"), ("fake",))

    code, said = fake.run("run")

    assert code == 0, said
    assert "service db could not be removed: OSError: it hangs" in fake.log()
    assert (fake.root / "reaped").read_text() == "1 test.unit\n"
    assert things(fake) == []


# --- whoever is killed ---


def test_at_its_timeout_a_step_loses_its_service(fake: Lab) -> None:
    fake.toml(PIPELINE + 'timeout = "1s"\ndo = "time.sleep(60)"\n', ("fake",))

    code, _ = fake.run("run")

    assert (code, fake.states()["test.unit"]) == (1, "failed")
    assert things(fake) == []
    assert gone(server_of(fake))


def test_when_the_worker_is_killed_what_it_left_is_reaped_before_the_step_is_over(fake: Lab) -> None:
    fake.toml(PIPELINE + 'do = "os.kill(os.getpid(), signal.SIGKILL)"\n', ("fake",))

    code, said = fake.run("run")

    assert code == 4, said
    assert "SIGKILL" in fake.reason("test.unit")
    assert (fake.root / "reaped").read_text() == "1 test.unit\n" * 3  # each time before it is begun anew
    assert things(fake) == []
    assert gone(server_of(fake))


def test_what_can_t_be_reaped_is_said_and_tried_again_at_the_next_run(fake: Lab) -> None:
    (fake.root / "broken").touch()
    fake.toml(PIPELINE + 'do = "os.kill(os.getpid(), signal.SIGKILL)"\n', ("fake",))

    fake.run("run")

    assert fake.reason("test.unit").endswith(
        "What it left outside its processes could not be removed: the shed is locked."
    )
    assert things(fake) == ["1 test.unit service.db"]

    fake.toml(PIPELINE, ("fake",))
    code, said = fake.run("run")
    assert code == 0, said
    assert "penstock: what was left outside its processes could not be removed: the shed is locked." in said

    (fake.root / "broken").unlink()
    code, said = fake.run("run")
    assert (code, "could not be removed" in said) == (0, False)
    assert things(fake) == []
    assert reaping.unreaped(fake.home) == []


def kill_all(lab: Lab, engine: Any) -> None:
    """The engine, its workers and all that these have started, at once."""
    pids = [engine.pid, *lab.leftovers(), server_of(lab)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in {*pids, *lab.leftovers()}:
        os.kill(pid, signal.SIGKILL)
    engine.wait()
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize("then", ["run", "resume"])
def test_when_all_are_killed_the_next_who_comes_reaps(fake: Lab, then: str) -> None:
    fake.toml(PIPELINE + WAITS, ("fake",))
    engine = fake.start("run")
    until((fake.root / "at").exists)
    kill_all(fake, engine)
    assert things(fake) == ["1 test.unit service.db"]
    (fake.root / "go").touch()

    code, said = fake.run(then)

    assert code == 0, said
    assert (fake.root / "reaped").read_text() == "1 None\n"
    assert things(fake) == []


def test_a_run_that_is_worked_on_is_not_reaped(fake: Lab) -> None:
    fake.toml(PIPELINE + WAITS, ("fake",))
    first = fake.start("run")
    until((fake.root / "at").exists)
    (fake.root / "go").touch()

    code, said = fake.run("run")

    assert code == 0, said
    assert things(fake) == ["1 test.unit service.db"]
    assert not (fake.root / "reaped").exists()
    first.send_signal(signal.SIGTERM)
    first.wait()
    assert things(fake) == []


HANGING = {
    "stubborn": (
        "except BaseException",
        "the process of the step was killed by SIGALRM before it had a result",
    ),
    "slow": ("except ZeroDivisionError", "that took longer than 0.2 s"),
}


@pytest.mark.parametrize(("caught", "reason"), HANGING.values(), ids=HANGING)
def test_a_plugin_that_hangs_while_it_reaps_is_ended(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caught: str, reason: str
) -> None:
    monkeypatch.setattr(reaping, "PATIENCE", 0.2)
    monkeypatch.setattr(reaping, "_LAST_MOMENT", 0.2)
    hanging = f"""
        @hookimpl
        def penstock_reap(run, step_name, home):
            while True:
                try:
                    time.sleep(60)
                {caught}:
                    pass
    """
    pool = lab.pool(lab.load(fake=hanging))

    response = ask(pool, lab.request(kind="reap", runs=(7,)))

    assert (response.outcome, response.reason.partition(". The whole")[0]) == ("error", reason)
    assert reaping.unreaped(lab.home) == [7]


# --- what goes on record ---


def test_what_a_service_was_started_from_is_in_the_evidence_and_in_the_cache_s_key(fake: Lab) -> None:
    fake.toml(PIPELINE + "cache = true\n", ("fake",))

    fake.run("run")
    [entry] = [event.data for event in fake.events() if event.step == "test.unit" and "cache" in event.data]
    statement = json.loads(entry["statements"][entry["evidence"][0]["statement"]])

    assert {"name": "service db: server", "digest": {"sha256": "a" * 64}} in [
        {"name": each["name"], "digest": each["digest"]} for each in statement["predicate"]["configuration"]
    ]
    [about, *around] = statement["predicate"]["configuration"]
    assert about["name"] == "test.unit"
    assert {each["annotations"]["role"] for each in around} == {"beside"}  # or a gate took them for steps
    assert {"tools.server", "services.db"} <= entry["cache"]["parts"].keys()
    assert fake.run("run")[0] == 0
    assert fake.states(2)["test.unit"] == "cached"

    fake.toml(PIPELINE.replace("good day", "good night") + "cache = true\n", ("fake",))
    assert fake.run("run")[0] == 0
    assert fake.states(3)["test.unit"] == "passed"
