from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from penstock import config, plan
from penstock.engine import Engine, load_run, new_run, working_on
from penstock.errors import ConfigError, PluginError
from penstock.executor import Progress
from penstock.journal import Journal, New
from penstock.machine import local_engine
from penstock.model import Event
from penstock.processes import alive, descendants
from penstock.request import Request
from penstock.signals import SOCKET, wake, wake_socket
from penstock.state import RunState

from core.tests.lab import Lab, gone, number_in, until

FAKE = """
class Do(Settings):
    do: str = ""

class Places(Settings):
    places: tuple[str, ...]
    slow: float = 0.0
    broken: tuple[str, ...] = ()

def did(step, what):
    with open(step.project / "did", "a") as file:
        file.write(f"{step.number} {step.name} {what} {time.time()}\\n")

@hookimpl
def penstock_source(settings: Do, step):
    (step.workspace / "a.txt").write_text("source")
    exec(settings.do)
    did(step, "done")
    return Revision(commit="c0ffee" + "0" * 34, time=1)

@hookimpl
def penstock_build(settings: Do, step):
    exec(settings.do)
    did(step, "done")
    return [step.keep(step.workspace / "a.txt", "file")]

@hookimpl
def penstock_test(settings: Do, step):
    exec(settings.do)
    did(step, "done")
    return PASSED

class Place(Target):
    slow: float
    broken: bool

    @property
    def file(self):
        return Path(self.id)

    def observe(self, step):
        return TargetState(release=self.file.read_text() if self.file.exists() else None)

    def write(self, text, step, what):
        did(step, f"{what}-begins")
        self.file.write_text("half of " + text)
        time.sleep(self.slow)
        self.file.write_text(text)
        did(step, f"{what}-ends")

    def apply(self, release, step):
        self.write(release.digest, step, "apply")

    def probe(self, step):
        return Health(status="unhealthy" if self.broken else "healthy", detail="as it is")

    def restore(self, state, step):
        if state.release is None:
            self.file.unlink(missing_ok=True)
        else:
            self.write(state.release, step, "restore")

@hookimpl
def penstock_targets(settings: Places, step):
    return [Place(id=place, slow=settings.slow, broken=place in settings.broken) for place in settings.places]
"""
HEAD = """
[source.it]
uses = "fake"
[build.it]
uses = "fake"
"""


def project(lab: Lab, text: str, *more: str, **plugins: str) -> Lab:
    """A project with these sections, and further plugins by name."""
    for name, source in {"fake": FAKE, **plugins}.items():
        lab.plugin(name, source)
    lab.toml(HEAD + text, ("fake", *plugins, *more))
    return lab


def a_test(name: str, do: str = "", **keys: Any) -> str:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return f"[test.{name}]\nuses = 'fake'\ndo = '''{do}'''\n{lines}"


def deploy(lab: Lab, count: int = 3, **keys: Any) -> str:
    places = [str(lab.root / f"place-{number}") for number in range(count)]
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f"[deploy.prod]\nuses = 'fake'\nplaces = {json.dumps(places)}\n{lines}"


def places(lab: Lab) -> list[str]:
    return [path.read_text() for path in sorted(lab.root.glob("place-*"))]


def did(lab: Lab) -> list[tuple[int, str, str, float]]:
    """What the plugin did: run, step, what, and when."""
    path = lab.root / "did"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(run), step, what, float(when)) for run, step, what, when in lines]


def started(lab: Lab, step: str, run: int = 1) -> bool:
    if not lab.home.journal.exists():
        return False
    return any(event.type == "step.started" and event.step == step for event in lab.events(run))


HANG = "Path(step.project, step.name).touch(); step.run(['sleep', '600'])"


def hanging(lab: Lab, step: str = "test.hangs") -> None:
    until(lambda: (lab.root / step).exists(), 20)


HANG_ONCE = """
mark = Path(step.project, step.name)
if not mark.exists():
    mark.touch(); step.run(['sleep', '600'])
"""


def engine_in_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunState]:
    """Runs the project with an engine in this process.

    `between` is called when the run is on record, `look` with the engine before it works.
    """
    monkeypatch.syspath_prepend(str(lab.site))
    found, plugins = config.load(lab.root / "penstock.toml")
    made = plan.make(found, plugins.versions)
    journal = lab.journal

    def run(
        between: Callable[[], None] = lambda: None,
        observer: Callable[[Event | Progress, RunState], None] = lambda *_: None,
        look: Callable[[Engine], None] = lambda _: None,
    ) -> RunState:
        state, _ = new_run(journal, lab.home, made, {})
        between()
        with working_on(lab.home, state.run) as locks:
            engine: Engine = local_engine(lab.root, lab.home, journal, state, plugins, observer, locks, 2, 0)
            engine.watchers.start()
            look(engine)
            try:
                return engine.work()
            finally:
                engine.executor.close()
                engine.watchers.close()

    return run


LOADED = "import sys; Path(step.project, 'loaded').write_text(str('penstock.rollout' in sys.modules))"


@pytest.mark.parametrize("deploys", [False, True])
def test_what_deploys_is_imported_before_any_step_where_the_plan_deploys_at_all(
    lab: Lab, deploys: bool
) -> None:
    project(lab, a_test("a", LOADED) + (deploy(lab) if deploys else ""))

    code, said = lab.run("run")

    assert code == 0, said
    assert (lab.root / "loaded").read_text() == str(deploys)


# --- how runs end ---


def test_a_run_that_passes(lab: Lab) -> None:
    project(lab, a_test("a") + a_test("b") + deploy(lab))

    code, said = lab.run("run")

    assert code == 0, said
    assert lab.states() == dict.fromkeys(
        ("source.it", "build.it", "test.a", "test.b", "deploy.prod"), "passed"
    )
    assert len(set(places(lab))) == 1
    assert places(lab)[0].startswith("sha256:")
    assert lab.leftovers() == []
    assert lab.journal.check()[2] is None
    assert os.listdir(lab.home.store.root / "incoming") == []


@pytest.mark.parametrize(
    ("do", "fault", "says"),
    [
        ("raise StepFailed('no good')", False, "no good"),
        ("raise ValueError('oh')", True, 'the plugin "fake" failed: ValueError: oh.'),
        ("os._exit(3)", True, "the process of the step exited with 3 before it had a result"),
    ],
    ids=["fails", "faults", "dies"],
)
def test_a_run_whose_test_does_not_pass_deploys_nothing(
    do: str, fault: bool, says: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(lab, a_test("bad", do) + a_test("good") + deploy(lab))

    state = engine_in_here(lab, monkeypatch)()

    assert state.state == "failed"
    assert lab.states() == {
        "source.it": "passed",
        "build.it": "passed",
        "test.bad": "failed",
        "test.good": "passed",
    }
    assert state.steps["test.bad"].reason.startswith(says)
    assert state.steps["test.bad"].fault == fault
    assert state.steps["deploy.prod"].state == "skipped"
    assert places(lab) == []


def test_a_step_that_may_fail_hinders_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    project(lab, a_test("bad", "raise StepFailed('no')", allow_failure=True) + deploy(lab))

    state = engine_in_here(lab, monkeypatch)()

    assert state.state == "passed"
    assert lab.states()["test.bad"] == "failed"
    assert len(places(lab)) == 3


def test_a_step_is_tried_again_after_a_pause(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = "mark = Path(step.project, 'once')\nif not mark.exists():\n    mark.touch(); raise StepFailed('flaky')"
    project(lab, a_test("flaky", flaky, retries=1) + a_test("bad", "raise StepFailed('bad')", retries=1))

    engine_in_here(lab, monkeypatch)()

    events = [event for event in lab.events() if event.step == "test.flaky"]
    assert [event.type for event in events] == [
        "step.started",
        "step.retried",
        "step.started",
        "step.finished",
    ]
    assert events[1].data["reason"] == "flaky"
    assert events[2].time >= events[1].data["not_before"] >= events[1].time + 0.9
    assert [event.data.get("attempt") for event in events[::2]] == [1, 2]
    assert lab.states()["test.flaky"] == "passed"
    assert lab.states()["test.bad"] == "failed"
    counts = Counter(event.type for event in lab.events() if event.step == "test.bad")
    assert counts == {"step.started": 2, "step.retried": 1, "step.finished": 1}


def test_a_step_that_hangs_is_ended_when_its_time_is_over(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    project(lab, a_test("hangs", HANG, timeout="0.5s") + deploy(lab))
    begun = time.monotonic()

    state = engine_in_here(lab, monkeypatch)()

    assert state.state == "failed"
    assert lab.reason("test.hangs") == "it took longer than 0.5 s (timeout)"
    assert time.monotonic() - begun < 5
    assert lab.leftovers() == []


def test_a_deployment_that_is_unhealthy_is_put_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (lab.root / f"place-{number}").write_text(f"sha256:{number}" + "0" * 63)
    before = places(lab)
    project(lab, deploy(lab, broken=json.dumps([str(lab.root / "place-1")])))

    state = engine_in_here(lab, monkeypatch)()

    assert state.state == "failed"
    assert "place-1 is unhealthy: as it is; put back to what ran before" in lab.reason("deploy.prod")
    assert places(lab) == before


# --- a word from outside ---


@pytest.mark.parametrize("how", ["cancel", "SIGINT", "SIGTERM"])
def test_a_run_stops_within_five_seconds_when_it_is_told_to(how: str, lab: Lab) -> None:
    resists = "Path(step.project, step.name).touch()\nwhile True:\n    try: time.sleep(600)\n    except Exception: pass"
    project(lab, a_test("hangs", HANG) + a_test("resists", resists) + deploy(lab))
    child = lab.start("run")
    hanging(lab)
    hanging(lab, "test.resists")
    begun = time.monotonic()

    if how == "cancel":
        assert lab.run("cancel", "--why", "enough")[0] == 0
    else:
        child.send_signal(getattr(signal, how))
    said, _ = child.communicate(timeout=10)

    assert time.monotonic() - begun < 5, said
    assert child.returncode == 130
    assert lab.journal.run(1).state == "cancelled"
    words = {
        "cancel": r"cancelled by \w+: enough",
        "SIGINT": "cancelled by Ctrl-C",
        "SIGTERM": "cancelled by SIGTERM",
    }
    assert re.fullmatch(words[how], lab.reason("test.hangs"))
    assert lab.states() == {
        **dict.fromkeys(("source.it", "build.it"), "passed"),
        **dict.fromkeys(("test.hangs", "test.resists"), "cancelled"),
    }
    assert lab.leftovers() == []
    assert not (lab.home.run(1) / SOCKET).exists()


def test_a_second_ctrl_c_leaves_at_once_and_leaves_nothing_behind(lab: Lab) -> None:
    project(
        lab,
        a_test(
            "hangs",
            "Path(step.project, step.name).touch()\nwhile True:\n    try: time.sleep(600)\n    except BaseException: pass",
        ),
    )
    child = lab.start("run")
    hanging(lab)

    child.send_signal(signal.SIGINT)
    until(lambda: any(event.type == "run.cancelled" for event in lab.events()))
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=10)

    assert child.returncode == 130
    assert lab.leftovers() == []


def test_a_word_that_came_between_two_of_the_engine_s_own_is_heard(lab: Lab) -> None:
    waits = (
        "Path(step.project, step.name).touch()\nwhile not Path(step.project, 'go').exists(): time.sleep(0.01)"
    )
    project(lab, a_test("waits", waits) + a_test("after", needs=["test.waits"]))
    child = lab.start("run")
    hanging(lab, "test.waits")

    lab.journal.append(1, [New("run.cancelled", None, {"reason": "nobody called", "by": "me"}, time.time())])
    (lab.root / "go").touch()
    child.communicate(timeout=10)

    assert lab.journal.run(1).state == "cancelled"
    assert not started(lab, "test.after")


# --- what has to happen at one moment ---


def test_a_cancel_before_the_engine_listens_is_heard(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = engine_in_here(project(lab, a_test("hangs", HANG)), monkeypatch)
    word = New("run.cancelled", None, {"reason": "at once", "by": "me"}, 1.0)

    state = run(between=lambda: lab.journal.append(1, [word]) and None)  # type: ignore[func-returns-value]  # a list

    assert state.state == "cancelled"
    assert lab.states() == {}


def test_an_answer_while_the_engine_stops_to_wait_is_heard(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = engine_in_here(project(lab, "[approve.prod]\n" + deploy(lab)), monkeypatch)

    def answer(event: Event | Progress, _: RunState) -> None:
        if isinstance(event, Event) and event.type == "run.waiting":
            lab.journal.append(1, [New("approval.rejected", "approve.prod", {"by": "ana", "why": "no"}, 1.0)])

    state = run(observer=answer)

    assert state.state == "refused"
    told = [event.type for event in lab.events()]
    assert told[told.index("run.waiting") :][:4] == [
        "run.waiting",
        "approval.rejected",
        "run.resumed",
        "step.finished",
    ]
    assert lab.reason("approve.prod") == "rejected by ana: no"


def test_a_turn_is_one_commit_and_what_it_leads_to_begins_after_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = a_test("a") + a_test("b", needs=["test.a"]) + a_test("c", needs=["test.b"]) + deploy(lab, 1)
    run = engine_in_here(project(lab, steps), monkeypatch)
    commits: list[str] = []
    on_record: list[tuple[str, str]] = []

    def look(engine: Engine) -> None:
        submit = engine.executor.submit

        def sent(ticket: str, request: Request) -> None:
            name = ticket.partition("\0")[0]
            last = [event.type for event in Journal(lab.home.journal).events(1) if event.step == name][-1]
            on_record.append((request.op or request.kind, last))
            submit(ticket, request)

        monkeypatch.setattr(engine.executor, "submit", sent)
        engine.journal._db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)

    state = run(look=look)

    assert state.state == "passed"
    assert on_record == [
        *[("hook", "step.started")] * 5,
        ("admit", "step.started"),
        ("observe", "rollout.started"),
        ("apply", "rollout.started"),
        ("probe", "rollout.started"),
        ("attest", "rollout.ended"),
    ]
    assert len(commits) == len(on_record) + 1  # the last one ends the run


def test_an_idle_worker_gets_ready_before_the_commit_and_begins_after_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine_in_here(project(lab, a_test("a") + a_test("b", needs=["test.a"])), monkeypatch)
    happened: list[str] = []

    def look(engine: Engine) -> None:
        for name in ("prepare", "submit"):
            method = getattr(engine.executor, name)

            def seen(ticket: str, request: Request, name: str = name, method: Any = method) -> None:
                happened.append(f"{name} {ticket}")
                method(ticket, request)

            monkeypatch.setattr(engine.executor, name, seen)
        engine.journal._db.set_trace_callback(
            lambda text: happened.append(text) if text == "COMMIT" else None
        )

    state = run(look=look)

    assert state.state == "passed"
    assert happened == [
        *(
            word
            for step in ("source.it", "build.it", "test.a", "test.b")
            for word in (f"prepare {step}", "COMMIT", f"submit {step}")
        ),
        "COMMIT",
    ]


def test_workers_have_their_requests_before_anybody_is_told_and_the_source_comes_first(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = a_test("a", cache=True) + a_test("b", needs=["test.a"], cache=True)
    run = engine_in_here(project(lab, steps), monkeypatch)
    happened: list[str] = []

    def look(engine: Engine) -> None:
        submit = engine.executor.submit

        def sent(ticket: str, request: Request) -> None:
            happened.append(f"{request.kind} {request.step.name}")
            submit(ticket, request)

        monkeypatch.setattr(engine.executor, "submit", sent)

    def observer(event: Event | Progress, state: RunState) -> None:
        if isinstance(event, Event) and event.type.startswith("step."):
            happened.append(f"{event.type} {event.step}")

    state = run(look=look, observer=observer)

    assert state.state == "passed"
    assert happened[:3] == ["hook source.it", "tools cache", "step.started source.it"]
    assert happened[-4:] == [
        *("hook test.b", "step.finished test.a", "step.started test.b"),
        "step.finished test.b",
    ]


@pytest.mark.parametrize("name", ["stage", "commit"])
def test_a_journal_that_takes_nothing_more_ends_the_engine_and_its_workers(
    name: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = "import sqlite3; Path(step.project, 'go').touch(); time.sleep(0.3)"
    run = engine_in_here(project(lab, a_test("a", full)), monkeypatch)

    def refuse(*_: object) -> None:
        raise PluginError("the journal can't be written: disk full")

    def observer(event: Event | Progress, _: RunState) -> None:
        if isinstance(event, Event) and event.step == "test.a":
            monkeypatch.setattr(f"penstock.journal.Journal.{name}", refuse)

    with pytest.raises(PluginError, match=r"can't be written: disk full"):
        run(observer=observer)

    monkeypatch.undo()
    assert lab.leftovers() == []
    state = load_run(lab.journal, lab.home, 1)
    assert state.state == "running"


def test_whoever_calls_learns_whether_an_engine_listens(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []
    run = engine_in_here(project(lab, ""), monkeypatch)

    run(observer=lambda *_: heard.append(wake(lab.home, 1)))

    assert heard
    assert all(heard[2:-2])
    assert not wake(lab.home, 1)
    assert not wake(lab.home, 77)


def test_a_socket_that_a_killed_engine_left_is_not_taken_for_an_engine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.home.run(1).mkdir(parents=True)
    with wake_socket(lab.home, 1):
        assert not wake(lab.home, 1)
        lock = lab.home.engine_lock(1)
        assert lock.take()
        assert wake(lab.home, 1)
        lock.release()


# --- one engine a run, one deployment an environment ---


def test_a_second_engine_on_a_run_is_refused(lab: Lab) -> None:
    project(lab, a_test("hangs", HANG))
    child = lab.start("run")
    hanging(lab)

    code, said = lab.run("resume")

    assert (code, said) == (
        2,
        "penstock: run 1 is being worked on by another process. Watch it: penstock logs -f 1\n",
    )
    assert child.poll() is None
    with pytest.raises(ConfigError, match=r"run 1 is being worked on"), working_on(lab.home, 1):
        pass


def test_an_engine_that_is_leaving_is_waited_for(lab: Lab) -> None:
    lock = lab.home.engine_lock(1)
    assert lock.take()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from penstock.home import Lock\n"
            "print(Lock(Path(sys.argv[1])).take(wait=True), flush=True); time.sleep(0.3)",
            lock.path,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    lab.made.append(holder)
    lock.release()
    assert holder.stdout
    holder.stdout.readline()

    with working_on(lab.home, 1, clean=True) as (engine, _):
        assert holder.poll() is not None or not engine.is_held()


def test_two_runs_never_deploy_to_one_environment_at_once(lab: Lab) -> None:
    project(lab, deploy(lab, count=3, slow=0.05) + "[policy.prod]\nsupersede = false\n")

    children = [lab.start("run") for _ in range(3)]
    said = [child.communicate(timeout=60)[0] for child in children]

    assert [child.returncode for child in children] == [0, 0, 0], said
    spans = []
    for run in (1, 2, 3):
        times = [when for number, _, what, when in did(lab) if number == run and what.startswith("apply")]
        assert len(times) == 6
        spans.append((min(times), max(times)))
    spans.sort()
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(spans))


# --- killed, and gone on with ---


def killed(lab: Lab, child: subprocess.Popen[str], after: float, *, whole_group: bool) -> bool:
    """Kill an engine so many seconds after it has begun to write; False if it had ended."""
    before = len(lab.events())
    until(lambda: len(lab.events()) > before or child.poll() is not None, 20)
    try:
        child.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.send_signal(signal.SIGKILL)
        child.communicate()
        return True
    return False


def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(lab: Lab) -> None:
    chance = random.Random(7)
    tests = "".join(a_test(name, "time.sleep(0.1)") for name in "abc")
    project(lab, tests + deploy(lab, count=6, slow=0.05, rollout='{ strategy = "rolling", batch = 2 }'))
    kills = 0
    child = lab.start("run")
    while killed(lab, child, chance.uniform(0, 0.06 + kills / 50), whole_group=chance.random() < 0.3):
        kills += 1
        child = lab.start("resume", "1")

    code = child.returncode
    assert code == 0
    assert kills >= 10
    assert lab.states() == dict.fromkeys(
        ("source.it", "build.it", "test.a", "test.b", "test.c", "deploy.prod"), "passed"
    )
    finished: set[str] = set()
    healthy: set[str] = set()
    for event in lab.events():
        if event.type == "step.finished":
            assert event.step not in finished
            finished.add(str(event.step))
        elif event.type == "step.started":
            assert event.step not in finished, "what is finished is not begun again"
        elif event.type == "rollout.started" and event.data["op"] == "apply":
            assert event.data["target"] not in healthy, "what is healthy is left alone"
        elif event.type == "rollout.ended" and event.data.get("health") == "healthy":
            healthy.add(event.data["target"])
    assert len(places(lab)) == 6
    assert len(set(places(lab))) == 1
    assert places(lab)[0].startswith("sha256:")
    assert lab.journal.check()[2] is None
    assert lab.leftovers() == []
    assert not list((lab.home.workspaces).glob("*/tmp/*"))


def test_what_a_killed_engine_left_running_is_ended_before_the_run_goes_on(lab: Lab) -> None:
    # A worker that an engine's death does not end: it runs no Python that could hear of it.
    deaf = """
if not Path(step.project, 'pid').exists():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    Path(step.project, 'pid').write_text(f'{os.getpid()}\\n')
    time.sleep(600)
"""
    project(lab, a_test("deaf", deaf))
    child = lab.start("run")
    worker = until(number_in(lab.root / "pid"), 20)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert alive(worker)

    code, said = lab.run("resume")

    assert code == 0, said
    assert gone(worker)
    assert lab.leftovers() == []


def test_a_publish_step_whose_plugin_asks_for_the_evidence_sees_all_before_it(lab: Lab) -> None:
    asks = """
@hookimpl
def penstock_publish(settings: Settings, step, evidence):
    Path(step.project, "saw").write_text(" ".join(sorted(each.step for each in evidence)))
    return [Publication(artifact=a.digest, location="here#" + a.digest) for a in step.artifacts]
"""
    project(lab, a_test("one") + "[publish.it]\nuses = 'asks'\n", asks=asks)

    code, said = lab.run("run")

    assert code == 0, said
    assert (lab.root / "saw").read_text() == "build.it test.one"


def test_statements_are_in_the_store_once_a_step_reads_them(lab: Lab) -> None:
    waits = "while not Path(step.project, 'go').exists(): time.sleep(0.01)"
    project(lab, a_test("one") + a_test("two", waits, needs=["test.one"]) + deploy(lab))
    child = lab.start("run")
    until(lambda: started(lab, "test.two"), 20)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    finished = [event for event in lab.events() if event.type == "step.finished"]
    digests = [entry["statement"] for event in finished for entry in event.data.get("evidence", ())]
    assert len(digests) == 2
    assert not any(lab.home.store.has(digest) for digest in digests)
    (lab.root / "go").touch()

    code, said = lab.run("resume")

    assert code == 0, said
    assert lab.states()["deploy.prod"] == "passed"
    for digest in digests:
        lab.home.store.verify(digest)


def test_a_run_s_plan_is_the_one_that_its_first_event_names(lab: Lab) -> None:
    project(lab, "")
    lab.run("run")
    other = lab.home.store.add_bytes(b"{}")
    with sqlite3.connect(lab.home.journal) as db:
        db.execute("UPDATE runs SET plan = ?", (other,))
    db.close()

    assert lab.journal.check()[2] is not None
    assert load_run(lab.journal, lab.home, 1).plan.digest != other


# --- plugins that watch ---

WATCH = """
@hookimpl
def penstock_event(event):
    with open(os.environ["SEEN"] + NAME, "a") as file:
        file.write(f"{event.run} {event.id} {event.type}\\n")
    AFTER
"""


def watcher(name: str, after: str = "pass") -> str:
    return WATCH.replace("NAME", repr(f".{name}")).replace("AFTER", after)


def seen_by(lab: Lab, name: str) -> list[int]:
    path = lab.root / f"seen.{name}"
    return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


def test_observers_see_each_event_once_whatever_another_one_does(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    others = {
        "raises": "raise RuntimeError('mine')",
        "exits": "os._exit(1)",
        "leaves": "sys.exit(1)",
        "interrupts": "raise KeyboardInterrupt",
        "stalls": "subprocess.Popen(['sleep', '600']); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        "prints": "os.write(1, b'noise')",
    }
    watchers = {name: watcher(name, after) for name, after in others.items()}
    project(lab, a_test("a") + a_test("b"), good=watcher("good"), **watchers)
    monkeypatch.setenv("SEEN", str(lab.root / "seen"))
    monkeypatch.setattr("penstock.observers.PATIENCE", 1.0)
    before = set(descendants(os.getpid()))
    begun = time.monotonic()

    state = engine_in_here(lab, monkeypatch)()

    ids = [event.id for event in lab.events()]
    assert state.state == "passed"
    for name in ("good", "raises", "leaves", "interrupts", "prints"):
        assert seen_by(lab, name) == ids, name
    assert seen_by(lab, "exits") == seen_by(lab, "stalls") == ids[:1]
    assert time.monotonic() - begun < 5, "a stalled one is ended soon after the run"
    assert set(descendants(os.getpid())) <= before
    assert capfd.readouterr().out == "", "standard output is for results"


def test_a_run_that_is_gone_on_with_shows_observers_what_they_have_not_seen(lab: Lab) -> None:
    project(
        lab, a_test("hangs", "if step.attempt_once(): pass" if False else HANG_ONCE), good=watcher("good")
    )
    child = lab.start("run", SEEN=str(lab.root / "seen"))
    hanging(lab)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    lab.journal.append(1, [New("note", None, {}, 1.0)])

    code, said = lab.run("resume", SEEN=str(lab.root / "seen"))

    assert code == 0, said
    assert seen_by(lab, "good") == [event.id for event in lab.events()]


# --- a machine that fails ---

KILLED_ONCE = """
mark = Path(step.project, step.name)
if not mark.exists():
    mark.touch(); os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_step_whose_worker_is_killed_is_begun_anew(lab: Lab) -> None:
    project(lab, a_test("a", KILLED_ONCE) + a_test("b") + deploy(lab))

    code, said = lab.run("run")

    assert code == 0, said
    assert "again: the process of the step was killed by SIGKILL" in said
    types = Counter(event.type for event in lab.events() if event.step == "test.a")
    assert types == {"step.started": 1, "step.repeated": 1, "step.finished": 1}
    assert lab.leftovers() == []


def test_a_step_whose_worker_is_killed_each_time_is_itself_at_fault(lab: Lab) -> None:
    project(lab, a_test("a", "os.kill(os.getpid(), signal.SIGKILL)"))

    code, said = lab.run("run")

    assert code == 4, said
    assert lab.states()["test.a"] == "failed"
    assert "was killed by SIGKILL" in lab.reason("test.a")
    assert Counter(event.type for event in lab.events())["step.repeated"] == 2


FULL_ONCE = """
mark = Path(step.project, step.name)
if not mark.exists():
    mark.touch(); raise OSError(28, "No space left on device")
"""


def test_a_machine_without_room_stops_the_run_where_it_is(lab: Lab) -> None:
    project(lab, a_test("a", FULL_ONCE) + a_test("b", needs=["test.a"]))

    code, said = lab.run("run")

    assert code == 4, said
    assert said.splitlines()[-1] == (
        "penstock: test.a: the disk is full. The whole story: penstock logs 1 test.a. Make room. "
        "Then: penstock resume 1"
    )
    assert "test.a" not in lab.states()
    assert lab.run("resume")[0] == 0
    assert Counter(step for _, step, _, _ in did(lab)) == Counter(
        ("source.it", "build.it", "test.a", "test.b")
    )
    assert lab.leftovers() == []
