"""Several engines and one environment: one deploys at a time, the newest last, and none is left out unsaid."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from penstock.cli.look import describe
from penstock.runs import load_run
from penstock.signals import wake

from core.tests.lab import Lab, gone, until

PLUGIN = """
class Nothing(Settings): pass

class Do(Settings):
    do: str = ""

def did(step, what):
    line = f"{step.number} {what} {os.getpid()} {time.time()}\\n".encode()
    file = os.open(step.project / "did", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)

@hookimpl
def penstock_source(settings: Nothing, step):
    (step.workspace / "a.txt").write_text("source")
    return Revision(commit="c0ffee" + "0" * 34, time=1)

@hookimpl
def penstock_build(settings: Nothing, step):
    (step.workspace / "a.txt").write_text(f"made in {step.number}")
    return [step.keep(step.workspace / "a.txt", "file")]

@hookimpl
def penstock_test(settings: Do, step):
    exec(settings.do)
    return PASSED

@hookimpl
def penstock_approve(settings: Do, step):
    exec(settings.do)
    return Pending(reason="the plugin was asked")

class Place(Target):
    root: Path
    do: str

    def observe(self, step):
        file = self.root / self.id
        return TargetState(release=file.read_text() if file.exists() else None)

    def apply(self, release, step):
        did(step, "begin")
        exec(self.do)
        (self.root / self.id).write_text(release.digest)
        did(step, "end")

    def probe(self, step):
        return Health(status="healthy")

    def restore(self, state, step):
        did(step, "restore")
        (self.root / self.id).write_text(state.release or "")

@hookimpl
def penstock_targets(settings: Do, step):
    return [Place(id="place", root=step.project, do=settings.do)]
"""
PIPELINE = """
[source.it]
uses = "line"
[build.it]
uses = "line"
"""


def project(lab: Lab, text: str = "", do: str = "") -> Lab:
    lab.plugin("line", PLUGIN)
    lab.toml(f"{PIPELINE}{text}\n[deploy.prod]\nuses = 'line'\ndo = '''{do}'''\n", ("line",))
    return lab


def did(lab: Lab, *what: str) -> list[tuple[int, str]]:
    path = lab.root / "did"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(run), word) for run, word, *_ in lines if word in what or not what]


def deployed(lab: Lab) -> list[int]:
    return [run for run, _ in did(lab, "end")]


def show(lab: Lab, run: int) -> dict[str, Any]:
    journal = lab.journal
    found = describe(load_run(journal, lab.home, run))
    journal.close()
    return found | {"steps": {step["name"]: step for step in found["steps"]}}


def came(lab: Lab, run: int, step: str = "deploy.prod", kind: str = "environment.wanted") -> Any:
    """The event with which a run came to its environment, once it has."""

    def look() -> Any:
        if not lab.home.journal.exists():
            return None
        journal = lab.journal
        found = [e for e in journal.events(run) if (e.type, e.step) == (kind, step)]
        journal.close()
        return found[-1].data if found else None

    return until(look, 30)


HOLDS = """
while step.number == 1 and not Path(step.project, "go-on").exists():
    Path(step.project, "holds").write_text(f"{os.getppid()}\\n")
    time.sleep(0.02)
"""


def holding(lab: Lab, text: str = "") -> subprocess.Popen[str]:
    """A run, the first, that deploys until a file is there."""
    project(lab, text, HOLDS)
    first = lab.start("run")
    until((lab.root / "holds").exists, 30)
    return first


def let_go(lab: Lab) -> None:
    (lab.root / "go-on").touch()


# --- superseding ---


def test_a_newer_run_supersedes_the_one_that_waits_and_not_the_one_that_deploys(lab: Lab) -> None:
    first = holding(lab)
    second = lab.start("run")
    assert came(lab, 2)["behind"] == 1
    third = lab.start("run")

    said, _ = second.communicate(timeout=30)  # at once, while the first one still deploys

    assert second.returncode == 130, said
    assert "… deploy.prod  waits for run 1, which deploys to prod\n" in said
    assert "– deploy.prod  superseded by run 3" in said
    assert "Cancelled in " in said
    assert first.poll() is None
    let_go(lab)
    assert first.wait(30) == 0
    said, _ = third.communicate(timeout=30)
    assert third.returncode == 0, said
    assert "› deploy.prod  supersedes run 2, which waited\n" in said
    assert deployed(lab) == [1, 3]
    step = show(lab, 2)["steps"]["deploy.prod"]
    assert (step["state"], step["reason"], step["superseded_by"]) == ("cancelled", "superseded by run 3", 3)
    assert lab.journal.check()[2] is None


def test_an_older_run_that_comes_late_does_not_replace_what_a_newer_one_deployed(lab: Lab) -> None:
    late = "while step.number == 1 and not Path(step.project, 'go-on').exists(): time.sleep(0.02)"
    project(lab, f"[test.late]\nuses = 'line'\ndo = '''{late}'''\n")
    first = lab.start("run")
    came(lab, 1, "test.late", "step.started")
    assert lab.run("run")[0] == 0
    let_go(lab)

    said, _ = first.communicate(timeout=30)

    assert first.returncode == 130, said
    assert lab.reason("deploy.prod") == "superseded by run 2"
    assert deployed(lab) == [2]


def test_what_nobody_may_supersede_is_deployed_in_the_order_of_the_runs(lab: Lab) -> None:
    first = holding(lab, "[policy.prod]\nsupersede = false\n")
    others = []
    for run in (2, 3, 4):
        others.append(lab.start("run"))
        came(lab, run)
    let_go(lab)

    said = [child.communicate(timeout=30)[0] for child in (first, *others)]

    assert [child.returncode for child in (first, *others)] == [0, 0, 0, 0], said
    assert deployed(lab) == [1, 2, 3, 4]


def test_what_nobody_may_supersede_says_that_it_replaces_something_newer(lab: Lab) -> None:
    late = "while step.number == 1 and not Path(step.project, 'go-on').exists(): time.sleep(0.02)"
    project(lab, f"[policy.prod]\nsupersede = false\n[test.late]\nuses = 'line'\ndo = '''{late}'''\n")
    first = lab.start("run")
    came(lab, 1, "test.late", "step.started")
    assert lab.run("run")[0] == 0
    let_go(lab)

    said, _ = first.communicate(timeout=30)

    assert first.returncode == 0, said
    assert "› deploy.prod  ! goes over what run 2 deployed, which is newer\n" in said
    assert deployed(lab) == [2, 1]


def test_a_rollback_is_superseded_by_nothing_and_supersedes_what_waits(lab: Lab) -> None:
    project(lab, "", HOLDS.replace("== 1", "== 3"))
    for _ in range(2):
        assert lab.run("run")[0] == 0
    third = lab.start("run")
    until((lab.root / "holds").exists, 30)
    fourth = lab.start("run")
    came(lab, 4)
    back = lab.start("rollback", "prod")
    assert came(lab, 5)["supersedes"] == [4]
    newer = lab.start("run")
    assert came(lab, 6)["behind"] == 5
    assert fourth.wait(30) == 130
    let_go(lab)

    said = [child.communicate(timeout=30)[0] for child in (third, back, newer)]

    assert [child.returncode for child in (third, back, newer)] == [0, 0, 0], said
    assert deployed(lab) == [1, 2, 3, 5, 6]


# --- approval ---

APPROVE = "[approve.prod]\n"


def test_a_run_that_waits_for_approval_is_superseded_by_the_next_one_that_asks(lab: Lab) -> None:
    project(lab, APPROVE)
    assert lab.run("run")[0] == 3

    code, said = lab.run("run")

    assert code == 3, said
    assert "› approve.prod  supersedes run 1, which waited\n" in said
    assert show(lab, 1)["state"] == "cancelled"
    assert lab.reason("approve.prod") == "superseded by run 2"
    assert [line.partition(" s  ")[2] for line in lab.run("runs")[1].splitlines()] == [
        "penstock approve 2",
        "superseded by run 2",
    ]
    assert lab.run("approve", "1", "prod") == (
        2,
        "penstock: run 1 was superseded by run 2 at prod: it is not deployed any more, and nothing was "
        "approved. What waits: penstock runs\n",
    )
    assert lab.run("approve", "prod")[0] == 0
    assert deployed(lab) == [2]


def test_who_was_approved_does_not_give_way_to_who_only_asks(lab: Lab) -> None:
    project(lab, APPROVE)
    assert lab.run("run")[0] == 3
    assert lab.run("approve", "1", "--no-resume")[0] == 0

    assert lab.run("run")[0] == 3

    assert lab.run("resume", "1")[0] == 0
    assert lab.run("approve", "2")[0] == 0
    assert deployed(lab) == [1, 2]


def test_who_asks_gives_way_to_who_deploys(lab: Lab) -> None:
    project(lab, APPROVE)
    assert lab.run("run")[0] == 3

    assert lab.run("run", "--approve", "prod")[0] == 0

    assert show(lab, 1)["state"] == "cancelled"
    assert lab.reason("approve.prod") == "superseded by run 2"


def test_who_comes_to_ask_late_is_superseded_at_once(lab: Lab) -> None:
    late = "while step.number == 1 and not Path(step.project, 'go-on').exists(): time.sleep(0.02)"
    project(lab, f"{APPROVE}[test.late]\nuses = 'line'\ndo = '''{late}'''\n")
    first = lab.start("run")
    came(lab, 1, "test.late", "step.started")
    assert lab.run("run")[0] == 3
    let_go(lab)

    said, _ = first.communicate(timeout=30)

    assert first.returncode == 130, said
    assert lab.reason("approve.prod") == "superseded by run 2"


def test_a_plugin_that_is_asked_for_approval_is_superseded_when_it_has_answered(lab: Lab) -> None:
    asked = "while step.number == 1 and not Path(step.project, 'go-on').exists(): time.sleep(0.02)"
    project(lab, f"[approve.prod]\nuses = 'line'\ndo = '''{asked}'''\n")
    first = lab.start("run")
    came(lab, 1, "approve.prod", "step.started")
    assert lab.run("run")[0] == 3
    assert first.poll() is None
    let_go(lab)

    said, _ = first.communicate(timeout=30)

    assert first.returncode == 130, said
    assert lab.reason("approve.prod") == "superseded by run 2"
    assert [e.type for e in lab.events(1)].count("step.finished") == 3


# --- cut off ---

KILLED = """
if not Path(step.project, "killed").exists():
    Path(step.project, "killed").touch()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""


def killed(lab: Lab, text: str = "") -> None:
    """A run, the first, whose engine is killed in the middle of its rollout."""
    project(lab, text, KILLED)
    child = lab.start("run")
    child.communicate(timeout=30)
    assert child.returncode == -9


def test_a_lock_does_not_outlive_who_held_it_and_the_rollout_goes_on(lab: Lab) -> None:
    killed(lab)

    assert lab.run("resume", "1")[0] == 0

    assert did(lab) == [(1, "begin"), (1, "begin"), (1, "end")]


DEAF = """
if step.number == 1:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
"""


def test_what_a_killed_run_left_is_ended_before_another_one_deploys(lab: Lab) -> None:
    project(lab, "", DEAF)
    lab.start("run").communicate(timeout=30)
    worker = int((lab.root / "did").read_text().split()[2])
    assert not gone(worker)

    code, said = lab.run("run")

    assert code == 0, said
    assert "… deploy.prod  waits for run 1, which deploys to prod\n" in said
    assert did(lab) == [(1, "begin"), (2, "begin"), (2, "end")]
    _never_two_at_once(lab)


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_a_rollout_that_was_cut_off_touches_nothing_that_a_newer_run_deployed(lab: Lab, command: str) -> None:
    killed(lab)
    assert lab.run("run")[0] == 0
    there = (lab.root / "place").read_text()

    lab.run(command, "1")

    assert show(lab, 1)["state"] == "cancelled"
    assert (
        lab.reason("deploy.prod")
        == "superseded by run 2, which deployed to prod after this rollout was cut off"
    )
    assert did(lab) == [(1, "begin"), (2, "begin"), (2, "end")]
    assert (lab.root / "place").read_text() == there


def test_a_run_that_was_cut_off_while_it_waited_gives_way_until_it_is_taken_up(lab: Lab) -> None:
    late = "while step.number == 2 and not Path(step.project, 'late').exists(): time.sleep(0.02)"
    first = holding(lab, f"[test.late]\nuses = 'line'\ndo = '''{late}'''\n")
    second = lab.start("run")
    came(lab, 2, "test.late", "step.started")
    third = lab.start("run")
    came(lab, 3)
    third.kill()
    third.wait()
    (lab.root / "late").touch()
    assert came(lab, 2)["behind"] == 1
    let_go(lab)

    assert [child.wait(30) for child in (first, second)] == [0, 0]
    assert lab.run("resume", "3")[0] == 0
    assert deployed(lab) == [1, 2, 3]


def test_a_cancelled_rollout_that_was_cut_off_waits_for_the_environment_and_can_be_left(lab: Lab) -> None:
    """Ctrl-C and `cancel` are heard while a rollout that was cut off waits to be put back."""
    killed(lab)
    lock = lab.home.environment_lock("prod")
    until(lock.take)
    child = lab.start("resume", "1")
    until(lambda: wake(lab.home, 1), 20)
    assert lab.run("cancel", "1") == (0, "Run 1 is told to stop.\n")
    came(lab, 1, None, "run.cancelled")  # type: ignore[arg-type]  # an event of no step
    assert child.poll() is None
    lock.release()

    said, _ = child.communicate(timeout=30)

    assert child.returncode == 130, said
    assert did(lab) == [(1, "begin"), (1, "restore")]


@pytest.mark.parametrize("how", ["cancel", "SIGINT"])
def test_a_run_that_waits_for_an_environment_can_be_cancelled(lab: Lab, how: str) -> None:
    first = holding(lab)
    second = lab.start("run")
    came(lab, 2)

    if how == "cancel":
        assert lab.run("cancel", "2")[0] == 0
    else:
        second.send_signal(2)

    said, _ = second.communicate(timeout=10)
    assert second.returncode == 130, said
    let_go(lab)
    assert first.wait(30) == 0
    assert show(lab, 2)["steps"]["deploy.prod"]["state"] == "cancelled"
    assert deployed(lab) == [1]


# --- many ---

ENGINES = 20
DRIVER = """
import os, sys
from penstock.cli import invoke
import penstock.cli.run, sqlite3, pydantic
for _ in range(int(sys.argv[1])):
    sys.stdout.flush()
    if (engine := os.fork()) == 0:
        os._exit(invoke(["run"]))
    print("ended:", os.waitstatus_to_exitcode(os.waitpid(engine, 0)[1]), flush=True)
"""
SLOWLY = """
begun = Path(step.project, "did").read_text().count("begin")
if LETHAL and begun % 3 == 2 and not Path(step.project, f"killed-{step.number}").exists():
    Path(step.project, f"killed-{step.number}").touch()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""


def start(lab: Lab, runs: int) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(lab.site), "NO_COLOR": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(runs)],
        cwd=lab.root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lab.made.append(child)
    return child


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "runs"), [(False, 5), (True, 2)], ids=["undisturbed", "some killed"])
def test_twenty_engines_deploy_to_one_environment_a_hundred_times(lab: Lab, kill: bool, runs: int) -> None:
    project(lab, "", SLOWLY.replace("LETHAL", str(kill)))
    engines = [start(lab, runs) for _ in range(ENGINES)]

    said = [child.communicate(timeout=120)[0] for child in engines]
    codes = Counter(word for text in said for word in _ended(text))
    unfinished = sorted(line.run for line in lab.journal.runs(unfinished=True))
    resumed = {run: lab.run("resume", str(run)) for run in unfinished}

    count = ENGINES * runs
    assert sum(codes.values()) == count, said
    assert set(codes) <= {"0", "130", "-9"}, said
    assert bool(codes["-9"]) == kill
    assert len(resumed) == codes["-9"]
    assert {code for code, _ in resumed.values()} <= {0, 130}, resumed
    _never_two_at_once(lab)
    assert deployed(lab) == sorted(deployed(lab))
    assert deployed(lab)[-1] == count
    assert len(deployed(lab)) > 1
    ends = {run: _end_of(lab, run) for run in range(1, count + 1)}
    assert {run for run, (state, _) in ends.items() if state == "passed"} == set(deployed(lab))
    for run, (state, by) in ends.items():
        assert state == "passed" or (state == "cancelled" and by > run), (run, state, by)
    assert lab.journal.check()[2] is None
    assert lab.leftovers() == []


def _ended(said: str) -> list[str]:
    return [line.removeprefix("ended: ") for line in said.splitlines() if line.startswith("ended: ")]


def _end_of(lab: Lab, run: int) -> tuple[str, int]:
    journal = lab.journal
    [end] = [e for e in journal.of_run(run, ("step.finished",)) if e.step == "deploy.prod"]
    journal.close()
    return end.data["state"], end.data.get("superseded_by", 0)


def _never_two_at_once(lab: Lab) -> None:
    at_it: tuple[str, str] | None = None
    for line in Path(lab.root / "did").read_text().splitlines():
        run, what, pid, _ = line.split()
        if what == "begin":
            assert at_it is None or gone(int(at_it[1])), f"{run} began while {at_it} was at it"
            at_it = run, pid
        else:
            assert at_it == (run, pid)
            at_it = None
