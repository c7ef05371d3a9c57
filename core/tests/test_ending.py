"""Signals at moments at which nobody seems to listen, and commands that end before their work does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from penstock.runs import working_on
from penstock.signals import wake_socket

from core.tests.lab import Lab, ask, gone, number_in, until

FAKE = """
def passes(step, name):
    (step.project / name).touch()
    while not (step.project / "go").exists():
        time.sleep(0.01)

@hookimpl
def penstock_source(step):
    (step.workspace / "a.txt").write_text("source")
    return Revision(commit="c0ffee" + "0" * 34, time=1)

@hookimpl
def penstock_test(step):
    if os.environ.get("WAITS") == step.name:
        passes(step, "testing")
    return PASSED

class Nowhere(Target):
    def observe(self, step):
        return TargetState()

    def apply(self, release, step):
        if os.environ.get("WAITS") == step.name:
            passes(step, "deploying")

    def probe(self, step):
        return Health(status="healthy")

    def restore(self, state, step):
        pass

@hookimpl
def penstock_build(step):
    (step.workspace / "a.txt").write_text(str(step.number))
    return [step.keep(step.workspace / "a.txt", "file")]

@hookimpl
def penstock_targets(step):
    return [Nowhere(id="nowhere")]
"""
WATCHES = """
@hookimpl
def penstock_event(event):
    home = Path(os.environ["ROOT"])
    if event.type == os.environ.get("SLOW"):
        (home / "slow").touch()
        while not (home / "go").exists():
            time.sleep(0.01)
"""
REAPS = """
@hookimpl
def penstock_reap(run, step_name, home):
    (home.parent / "reaping").touch()
    while not (home.parent / "go").exists():
        time.sleep(0.01)
"""
PLAN = """
[source.it]
uses = "fake"
[test.it]
uses = "fake"
[build.it]
uses = "fake"
[approve.live]
[deploy.live]
uses = "fake"
"""


def project(lab: Lab, text: str = PLAN, **plugins: str) -> Lab:
    for name, source in {"fake": FAKE, **plugins}.items():
        lab.plugin(name, source)
    lab.toml(text, ("fake", *plugins))
    return lab


def is_there(lab: Lab, name: str) -> Callable[[], bool]:
    return (lab.root / name).exists


def killed(lab: Lab) -> None:
    """A run that was killed in its test."""
    child = lab.start("run", WAITS="test.it")
    until(is_there(lab, "testing"))
    child.kill()
    child.communicate()


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("command", ["run", "resume"])
def test_a_run_is_cancelled_also_before_its_engine_listens(command: str, how: str, lab: Lab) -> None:
    project(lab, reaps=REAPS)
    killed(lab)
    child = lab.start(command)
    until(is_there(lab, "reaping"))

    child.send_signal(getattr(signal, how))
    (lab.root / "go").touch()
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 130, said
    run = 2 if command == "run" else 1
    assert lab.journal.run(run).state == "cancelled", said
    [event] = [event for event in lab.events(run) if event.type == "run.cancelled"]
    assert event.data["reason"] == f"cancelled by {'Ctrl-C' if how == 'SIGINT' else how}"
    assert lab.leftovers() == []


def test_who_asks_twice_before_an_engine_listens_is_not_kept_waiting(lab: Lab) -> None:
    project(lab, reaps=REAPS)
    killed(lab)
    child = lab.start("resume")
    until(is_there(lab, "reaping"))

    child.send_signal(signal.SIGINT)
    while child.poll() is None:  # the first is heard before the second is sent, whenever that is
        child.send_signal(signal.SIGINT)
        time.sleep(0.2)

    assert child.returncode == 130
    assert lab.journal.run(1).state == "running"
    until(lambda: lab.leftovers() == [])


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_over_stands_whoever_ends_it_then(how: str, lab: Lab) -> None:
    project(lab, PLAN.partition("[approve")[0], watches=WATCHES)
    child = lab.start("run", ROOT=str(lab.root), SLOW="run.finished")
    until(is_there(lab, "slow"))
    until(lambda: lab.journal.run(1).state == "passed")

    child.send_signal(getattr(signal, how))
    (lab.root / "go").touch()
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 0, said
    assert "Passed" in said


def test_a_terminal_that_closes_cancels_though_it_hangs_up_twice(lab: Lab) -> None:
    """A shell tells its jobs, and then the kernel tells the foreground: engine and workers, twice."""
    resists = FAKE.replace(
        '        passes(step, "testing")\n',
        '        try: passes(step, "testing")\n'
        '        finally:\n            time.sleep(0.3)\n            (step.project / "cleaned").touch()\n',
    )
    project(lab, fake=resists)
    child = lab.start("run", WAITS="test.it")
    until(is_there(lab, "testing"))

    os.killpg(child.pid, signal.SIGHUP)
    until(lambda: any(event.type == "run.cancelled" for event in lab.events()))
    os.killpg(child.pid, signal.SIGHUP)
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 130, said
    assert lab.journal.run(1).state == "cancelled"
    assert (lab.root / "cleaned").exists()
    assert lab.leftovers() == []


def test_with_nohup_a_run_outlives_its_terminal(lab: Lab) -> None:
    project(lab, PLAN.partition("[approve")[0])
    child = lab.start("run", WAITS="test.it", HUP="SIG_IGN")
    until(is_there(lab, "testing"))

    os.killpg(child.pid, signal.SIGHUP)
    (lab.root / "go").touch()
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 0, said
    assert lab.journal.run(1).state == "passed"


def test_an_approval_whose_command_was_killed_says_how_it_goes_on(lab: Lab) -> None:
    project(lab)
    assert lab.run("run")[0] == 3
    child = lab.start("approve", WAITS="deploy.live")
    until(is_there(lab, "deploying"))
    child.kill()
    child.communicate()

    for words in (("approve",), ("approve", "1"), ("reject", "live")):
        code, said = lab.run(*words)
        assert code == 2
        assert said.rstrip().endswith("Run 1 was cut off, and goes on with: penstock resume 1"), said

    code, said = lab.run("resume", "1")
    assert code == 0, said


@pytest.mark.parametrize("word", ["reject", "cancel"])
def test_a_word_is_heard_also_by_an_engine_that_took_up_the_run_meanwhile(word: str, lab: Lab) -> None:
    project(
        lab,
        slow="""
if "SLOW" in os.environ:
    home = Path(os.environ["SLOW"])
    (home / "importing").touch()
    while not (home / "go").exists():
        time.sleep(0.01)
""",
    )
    assert lab.run("run")[0] == 3
    child = lab.start(word, SLOW=str(lab.root))
    until(is_there(lab, "importing"))  # no engine has heard it: it is about to take up the run itself

    with working_on(lab.home, 1), wake_socket(lab.home, 1) as calls:
        (lab.root / "go").touch()
        said, _ = child.communicate(timeout=30)
        heard = calls.recv(64)

    assert (child.returncode, heard) == (0, b"!"), said
    assert "penstock: " not in said


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_a_run_stops_where_its_journal_is_taken_away(how: str, lab: Lab) -> None:
    project(lab)
    child = lab.start("run", WAITS="test.it")
    until(is_there(lab, "testing"))
    # Once nothing more is on its way there, so that it can be removed as a whole.
    until(lambda: len([event for event in lab.events() if event.type == "step.finished"]) == 2)
    aside = lab.root / "aside"
    (lab.root / ".penstock").rename(aside)
    if how == "removed":
        shutil.rmtree(aside)

    (lab.root / "go").touch()
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 4, said
    assert "was moved or removed while it was in use, and nothing more is put on record" in said
    assert "Put " in said
    assert lab.leftovers() == []
    if how == "moved":
        shutil.rmtree(lab.root / ".penstock")
        aside.rename(lab.root / ".penstock")
        assert lab.run("resume")[0] == 3
        assert lab.run("audit")[0] == 0


@pytest.mark.parametrize("how", ["event", "section"])
def test_what_an_observer_has_started_ends_soon_after_a_killed_engine(how: str, lab: Lab) -> None:
    settings = "settings: Watch, " if how == "section" else ""
    watches = f"""
class Watch(Settings):
    pass

@hookimpl
def penstock_event({settings}event):
    if event.type == "step.started" and event.step == "test.it":
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (Path({str(lab.root)!r}) / "child").write_text(f"{{child.pid}}\\n")
        child.wait()
"""
    section = '[observe.it]\nuses = "watches"\n' if how == "section" else ""
    project(lab, PLAN + section, watches=watches)
    engine = lab.start("run", WAITS="test.it")
    child = until(number_in(lab.root / "child"))

    engine.kill()
    with_output_closed(engine)

    until(lambda: gone(child))


def test_a_rollback_goes_on_and_hears_others_whatever_they_write(lab: Lab) -> None:
    project(lab)
    for _ in range(4):
        code, said = lab.run("run", "--approve", "live")
        assert code == 0, said
    child = lab.start("rollback", "live", WAITS="deploy.live")
    until(is_there(lab, "deploying"))

    assert lab.run("cancel", "5")[0] == 0
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 130, said
    assert lab.journal.run(5).state == "cancelled"


# --- no further process ---


def test_a_step_that_can_t_start_its_program_for_want_of_processes_is_cut_off(lab: Lab) -> None:
    project(
        lab,
        fake=FAKE
        + """
def too_many(*_, **__):
    raise BlockingIOError(11, os.strerror(11))

@hookimpl
def penstock_verify(step):
    if "LIMITED" in os.environ:
        subprocess.Popen = too_many
    step.run(["true"])
    return Verification(checks=(Check(name="there", passed=True),))
""",
        text=PLAN.replace("[approve.live]\n", '[verify.live]\nuses = "fake"\n'),
    )

    code, said = lab.run("run", LIMITED="1")

    assert code == 4
    assert said.rstrip().endswith(
        "verify.live: true can't be run: Resource temporarily unavailable. Allow more processes: "
        "ulimit -u. Then: penstock resume 1"
    )
    assert lab.journal.run(1).state == "running"
    code, said = lab.run("resume", "1")
    assert code == 0, said


def test_a_pool_that_can_t_fork_says_so_and_still_hears(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = lab.pool(lab.load(fake=FAKE))

    def too_many() -> int:
        raise BlockingIOError(11, os.strerror(11))

    with monkeypatch.context() as limited:
        limited.setattr(os, "fork", too_many)
        with pytest.raises(BlockingIOError):
            pool.submit("it", lab.request("test.it"))

    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert ask(pool, lab.request("test.it")).outcome == "passed"


# --- shell ---


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_what_runs_in_a_shell_ends_with_it_however_that_ends(number: int, lab: Lab) -> None:
    project(lab)
    assert lab.run("run")[0] == 3
    script = f"trap '' HUP TERM; sleep 600 & echo $! > {lab.root}/pid; wait; wait"
    shell = lab.start("shell", "last", "test.it", "--", "sh", "-c", script)
    child = until(number_in(lab.root / "pid"))

    shell.send_signal(number)
    with_output_closed(shell)

    until(lambda: gone(child))
    until(lambda: not list(lab.home.workspaces.glob("shell-*")))


def with_output_closed(child: subprocess.Popen[str]) -> None:
    child.wait(timeout=30)
    assert child.stdout is not None
    child.stdout.close()
