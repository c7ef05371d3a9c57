from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock import processes
from penstock.executor import Done, LocalPool, Progress
from penstock.model import Revision
from penstock.request import Response

from core.tests.lab import Lab, answer, ask, gone, heard, number_in, until

# A program that resists: it ignores SIGTERM, forks twice and leaves its session, and says who it is.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    time.sleep(600)
os.setsid()
if os.fork():
    time.sleep(600)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getppid()} {os.getpid()}\\n")
time.sleep(600)
"""


def plugin(body: str, signature: str = "step", answer: str = "PASSED") -> str:
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return f"@hookimpl\ndef penstock_test({signature}):\n{lines}\n    return {answer}\n"


def pool_of(lab: Lab, body: str) -> LocalPool:
    return lab.pool(lab.load(fake=plugin(body)))


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def numbers_in(path: Path) -> Callable[[], list[int]]:
    """What processes have written, once all of it is there."""

    def look() -> list[int]:
        text = path.read_text() if path.exists() else ""
        return [int(word) for word in text.split()] if text.endswith("\n") else []

    return look


def stubborn(lab: Lab) -> str:
    """A path that the program of that name writes its process ids to, and the script itself."""
    script = lab.root / "stubborn.py"
    script.write_text(STUBBORN)
    return f"[sys.executable, {str(script)!r}, {str(lab.root / 'pids')!r}]"


def pids(lab: Lab) -> list[int]:
    found: list[int] = until(numbers_in(lab.root / "pids"))
    return found


# --- what a plugin may do wrong ---

FAULTS: dict[str, tuple[str, str, str]] = {
    "raises": (
        "raise RuntimeError('ouch')",
        "error",
        'the plugin "fake" failed: RuntimeError: ouch. The whole story: penstock logs 1 test.unit',
    ),
    "raises nothing in words": ("assert not step", "error", 'the plugin "fake" failed: AssertionError. The'),
    "fails": ("raise StepFailed('3 of 4 fell over')", "failed", "3 of 4 fell over"),
    "refuses": ("from penstock import StepRefused; raise StepRefused('shut')", "refused", "shut"),
    "finds bad settings": ("from penstock import ConfigError; raise ConfigError('no')", "failed", "no"),
    "ends the process": (
        "os._exit(7)",
        "error",
        "the process of the step exited with 7 before it had a result",
    ),
    "ends the process quietly": (
        "os._exit(0)",
        "error",
        "the process of the step exited with 0 before it had a result",
    ),
    "is killed": (
        "os.kill(os.getpid(), signal.SIGKILL)",
        "error",
        "the process of the step was killed by SIGKILL (by somebody, or for want of memory) before it had a result",
    ),
    "crashes": (
        "signal.signal(signal.SIGSEGV, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGSEGV)",
        "error",
        "the process of the step was killed by SIGSEGV before it had a result",
    ),
    "exits": ("sys.exit(3)", "error", 'the plugin "fake" failed: it ends the process: sys.exit(3). The'),
    "interrupts": ("raise KeyboardInterrupt", "error", 'the plugin "fake" failed: KeyboardInterrupt. The'),
    "leaves a generator": ("raise GeneratorExit", "error", 'the plugin "fake" failed: GeneratorExit. The'),
    "cancels itself": (
        "import asyncio; raise asyncio.CancelledError",
        "error",
        'the plugin "fake" failed: CancelledError. The',
    ),
    "does not come back from itself": (
        "def f(): f()\nf()",
        "error",
        'the plugin "fake" failed: RecursionError: maximum recursion depth exceeded. The',
    ),
    "opens what is not there": (
        "open('/never/there')",
        "error",
        'the plugin "fake" failed: No such file or directory: /never/there. The',
    ),
    "returns another type": (
        "return 'passed'",
        "error",
        'the plugin "fake" returned str from penstock_test, which must return TestReport',
    ),
    "returns nothing": (
        "return None",
        "error",
        'the plugin "fake" returned NoneType from penstock_test, which',
    ),
    "names bytes that are no text": (
        "raise StepFailed(os.fsdecode(b'caf\\xe9'))",
        "failed",
        "caf\ufffd",
    ),
    "says what is no text": (
        "raise StepFailed('\\ud800')",
        "failed",
        "\\ud800",
    ),
    "says very much": ("raise StepFailed('x' * 10_000_000)", "failed", "xxxxxxxx"),
    "closes everything": (
        "os.closerange(3, 500); time.sleep(0.05)",
        "error",
        "the process of the step exited with 0 before it had a result",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_s_fault_is_an_answer_and_the_next_step_works(fault: str, lab: Lab) -> None:
    body, outcome, reason = FAULTS[fault]
    pool = pool_of(lab, "if step.name == 'test.bad':\n" + indented(body))

    found = ask(pool, lab.request("test.bad"))
    after = ask(pool, lab.request("test.good"))

    reason = reason.replace("test.unit", "test.bad")
    assert (found.outcome, found.reason[: len(reason)]) == (outcome, reason)
    assert len(found.reason) < 5000
    assert after.outcome == "passed"
    assert after.data["summary"] == "1 passed"


def test_a_fault_s_traceback_is_in_the_log(lab: Lab) -> None:
    ask(pool_of(lab, "raise RuntimeError('ouch')"), lab.request())

    assert "Traceback" in lab.log()
    assert "RuntimeError: ouch" in lab.log()


def test_an_answer_of_65_mib_is_refused(lab: Lab) -> None:
    source = "@hookimpl\ndef penstock_approve(step):\n    return Pending(reason='x' * 65 * 2**20)\n"
    # A reason is cut off; data is not.
    source += "@hookimpl\ndef penstock_source(step):\n    return Revision(subject='é' * 40 * 2**20)\n"
    source = "from penstock import Pending\n" + source
    pool = lab.pool(lab.load(fake=source))

    found = ask(pool, lab.request("source"), within=30)

    assert found.outcome == "error"
    assert found.reason.startswith('the plugin "fake" returned 80 MiB; results may have 64 MiB. Files belong')
    assert ask(pool, lab.request("approve.x")).outcome == "pending"


def test_what_is_not_enabled_or_not_there_says_so(lab: Lab) -> None:
    pool = pool_of(lab, "pass")

    assert ask(pool, lab.request(uses="other")).reason == 'the plugin "other" is not enabled'
    assert ask(pool, lab.request("scan.x")).reason == 'the plugin "fake" does not implement penstock_scan'


def test_garbage_in_the_engine_s_channel_ends_the_worker_and_not_the_engine(lab: Lab) -> None:
    body = """
if step.name == "test.bad":
    for descriptor in range(3, 60):
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
                os.write(descriptor, GARBAGE)
        except OSError:
            pass
    time.sleep(600)
"""
    for garbage in (
        b"\0\0\0\2{}",
        b"\0\0\0\4nope",
        b"\0\0\0\2[]",
        b"\xff\xff\xff\xff",
        b'\0\0\0\x10{"progress": [1]}',
    ):
        pool = pool_of(lab, body.replace("GARBAGE", repr(garbage)))

        assert ask(pool, lab.request("test.bad"), within=5).outcome == "error"
        assert ask(pool, lab.request("test.good")).outcome == "passed"


# --- what a plugin prints, and tells ---


def test_what_a_plugin_prints_is_in_its_step_s_log(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    pool = pool_of(
        lab, "print('from Python', step.name); os.write(2, b'from below\\n'); os.system('echo from a child')"
    )

    for name in ("test.a", "test.b"):
        ask(pool, lab.request(name))

    for name in ("test.a", "test.b"):
        assert sorted(lab.log(name).splitlines()) == ["from Python " + name, "from a child", "from below"]
    assert capfd.readouterr() == ("", "")


def test_a_secret_is_in_nothing_that_a_step_leaves(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-t0ken")
    body = """
token = step.secret("TOKEN")
print("printed", token); os.write(1, b"written " + token.encode() + b"\\n"); os.system("echo child $TOKEN_OF_MINE " + token)
step.log("logged " + token); step.progress(1, 2, "at " + token)
if step.name == "test.fails": raise StepFailed("could not log in with " + token)
if step.name == "test.faults": raise RuntimeError("wrong: " + token)
outcome = "failed" if step.name == "test.reports" else "passed"
return TestReport(tool="t " + token, cases=(TestCase(name="login " + token, outcome=outcome, message=token),))
"""
    pool = pool_of(lab, body)
    progress: list[Progress] = []
    answers: list[Response] = []
    for name in ("test.fails", "test.faults", "test.reports", "test.passes"):
        pool.submit(name, lab.request(name, secrets={"TOKEN": "env:TOKEN"}))
        for news in heard(pool):
            if isinstance(news, Done):
                answers.append(news.response)
                break
            progress.append(news)

    assert [found.outcome for found in answers] == ["failed", "error", "failed", "passed"]
    assert answers[0].reason == "could not log in with ***"
    assert "***" in str(answers[2].data["notes"])
    assert [entry.what for entry in progress] == ["at ***"] * 4
    pool.close()
    for path in lab.root.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path
    assert "s3cr3t" not in str(answers)
    log = lab.log("test.faults")
    for words in ("printed ***", "written ***", "child ***", "logged ***", "RuntimeError: wrong: ***"):
        assert words in log


def test_progress_is_heard_before_the_answer(lab: Lab) -> None:
    pool = pool_of(lab, "for n in range(3): step.progress(n, 3, f'part {n}')")
    pool.submit("ask", lab.request())
    found = []
    for news in heard(pool):
        found.append(news)
        if isinstance(news, Done):
            break

    assert found[:3] == [Progress("ask", n, 3, f"part {n}") for n in range(3)]


def test_threads_that_tell_of_progress_while_the_answer_is_sent_do_no_harm(lab: Lab) -> None:
    source = """
import threading
from penstock import Revision
def chatter(step):
    while True: step.progress(1, 2, "x" * 1000)
@hookimpl
def penstock_source(step):
    for _ in range(3): threading.Thread(target=chatter, args=(step,), daemon=True).start()
    return Revision(subject="x" * 5_000_000)
"""
    pool = lab.pool(lab.load(fake=source))

    for _ in range(3):
        assert ask(pool, lab.request("source")).outcome == "passed"


# --- one worker after another ---


def test_a_worker_is_used_again(lab: Lab) -> None:
    pool = pool_of(lab, f"open({str(lab.root / 'pids')!r}, 'a').write(f'{{os.getpid()}}\\n')")

    for name in ("test.a", "test.b", "test.c"):
        ask(pool, lab.request(name))

    assert len(set(pids(lab))) == 1


def test_steps_side_by_side_have_a_worker_and_a_workspace_each(lab: Lab) -> None:
    body = """
Path(step.project, step.name).write_text(str(step.workspace))
while not all(Path(step.project, name).exists() for name in ("test.a", "test.b")): time.sleep(0.01)
"""
    pool = pool_of(lab, body)
    for name in ("test.a", "test.b"):
        pool.submit(name, lab.request(name))
    done = []
    for news in heard(pool):
        done.append(news)
        if len(done) == 2:
            break

    assert {news.response.outcome for news in done if isinstance(news, Done)} == {"passed"}
    assert (lab.root / "test.a").read_text() != (lab.root / "test.b").read_text()


def test_a_worker_that_died_while_it_had_nothing_to_do_is_replaced(lab: Lab) -> None:
    pool = pool_of(lab, f"open({str(lab.root / 'pids')!r}, 'a').write(f'{{os.getpid()}}\\n')")
    ask(pool, lab.request())
    [first] = pids(lab)
    os.kill(first, signal.SIGKILL)
    until(lambda: gone(first))

    assert ask(pool, lab.request()).outcome == "passed"
    assert pids(lab)[-1] != first


def test_what_a_plugin_does_to_the_process_does_not_reach_the_next_step(lab: Lab) -> None:
    body = """
import json
state = [os.environ.get("LEFT"), os.environ.get("HOME"), os.getcwd(), os.umask(0o022), signal.getsignal(signal.SIGINT) is None]
with open(step.project / "states", "a") as file: file.write(json.dumps(state) + "\\n")
os.environ["LEFT"] = "behind"; os.environ.pop("HOME"); os.chdir(step.tmp); os.umask(0o077)
"""
    pool = pool_of(lab, body)

    for _ in range(2):
        assert ask(pool, lab.request()).outcome == "passed"

    first, second = (lab.root / "states").read_text().splitlines()
    assert first == second
    assert "behind" not in first


@pytest.mark.parametrize(
    "close",
    [
        "os.close(1)",
        "os.closerange(0, 3)",
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout.detach()",
        "sys.stdout = sys.stderr = None",
    ],
)
def test_streams_that_a_plugin_closes_are_open_in_the_next_step(close: str, lab: Lab) -> None:
    body = f"""
step.run(["echo", "by a program"])
print("by a plugin"); print("by a plugin, too", file=sys.stderr)
{close}
"""
    pool = pool_of(lab, body)

    for name in ("test.a", "test.b", "test.c"):
        assert ask(pool, lab.request(name)).outcome == "passed"
        log = lab.home.log(1, name, 1).read_text()
        assert log.endswith("\nby a program\nby a plugin\nby a plugin, too\n")


def test_a_thread_that_a_plugin_leaves_does_not_meet_the_next_step(lab: Lab) -> None:
    body = """
import threading
open(step.project / "pids", "a").write(f"{os.getpid()}\\n")
if step.name == "test.a": threading.Thread(target=time.sleep, args=(600,)).start()
"""
    pool = pool_of(lab, body)

    for name in ("test.a", "test.b"):
        assert ask(pool, lab.request(name)).outcome == "passed"

    first, second = pids(lab)
    assert first != second
    assert gone(first)


def test_nothing_of_a_step_is_in_the_next_one_s_places(lab: Lab) -> None:
    body = """
assert os.listdir(step.workspace) == os.listdir(step.tmp) == [], "not empty"
for place in (step.workspace, step.tmp): (place / "left").mkdir(); os.mkfifo(place / "left" / "pipe")
"""
    pool = pool_of(lab, body)

    for _ in range(2):
        assert ask(pool, lab.request()).outcome == "passed"
    assert not (lab.home.workspaces / "0" / "tmp").exists()


def test_programs_of_a_step_get_signals_as_usual(lab: Lab) -> None:
    pool = pool_of(lab, "print(step.run(['cat', '/proc/self/status'], capture=True).stdout, end='')")

    ask(pool, lab.request())

    masks = dict(re.findall(r"^(SigIgn|SigBlk):\s+(\w+)$", lab.log(), re.MULTILINE))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        assert not int(masks["SigIgn"], 16) >> (number - 1) & 1, number
    assert int(masks["SigBlk"], 16) == 0


# --- what is left running ---


def test_background_processes_end_with_their_step(lab: Lab) -> None:
    pool = pool_of(
        lab,
        f"subprocess.Popen({stubborn(lab)})\nwhile not Path(step.project, 'pids').exists(): time.sleep(0.01)",
    )

    found = ask(pool, lab.request())

    assert found.outcome == "passed"
    assert all(gone(pid) for pid in pids(lab))


def test_a_service_outlives_its_step_the_next_ones_and_the_pool(lab: Lab) -> None:
    body = """
if step.name == "test.a":
    pid = step.detach(["sh", "-c", "sleep 600 & echo $! >$OUT; exit"], log=step.project / "log", env={"OUT": str(step.project / "child")})
    while not (step.project / "child").exists(): time.sleep(0.01)
    pid = step.detach(["sleep", "600"], log=step.project / "log")
    (step.project / "pid").write_text(f"{pid}\\n")
"""
    pool = pool_of(lab, body)
    for name in ("test.a", "test.b"):
        assert ask(pool, lab.request(name)).outcome == "passed"
    service = until(number_in(lab.root / "pid"))
    child = until(number_in(lab.root / "child"))
    pool.close()

    for pid in (service, child):
        assert processes.alive(pid)
        assert pid not in processes.marked("")
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "kill"])
def test_a_service_outlives_the_death_of_its_worker(how: str, lab: Lab) -> None:
    body = f"""
pid = step.detach(["sleep", "600"], log=step.project / "log")
(step.project / "pid").write_text(f"{{pid}}\\n")
{how}
"""
    pool = pool_of(lab, body)

    assert ask(pool, lab.request()).outcome == "error"

    service = until(number_in(lab.root / "pid"))
    assert processes.alive(service)
    os.kill(service, signal.SIGKILL)


@pytest.mark.parametrize("how", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "kill"])
@pytest.mark.parametrize(
    "start", ["step.run(['setsid', '-f', *{0}])", "subprocess.Popen({0}, close_fds=False)"]
)
def test_what_a_dead_worker_s_step_was_running_goes_too(how: str, start: str, lab: Lab) -> None:
    wait = "while not Path(step.project, 'pids').exists(): time.sleep(0.01)"
    pool = pool_of(lab, f"{start.format(stubborn(lab))}\n{wait}\n{how}")

    assert ask(pool, lab.request()).outcome == "error"

    assert all(gone(pid) for pid in pids(lab))


def test_a_copy_of_the_worker_that_a_plugin_forked_does_not_hide_its_death(lab: Lab) -> None:
    body = """
if os.fork() == 0:
    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(step.project / "pids", "a").write(f"{os.getpid()}\\n")
    time.sleep(600)
while not Path(step.project, "pids").exists(): time.sleep(0.01)
os._exit(3)
"""
    pool = pool_of(lab, body)

    found = ask(pool, lab.request(), within=5)

    assert found.reason == "the process of the step exited with 3 before it had a result"
    assert all(gone(pid) for pid in pids(lab))


def test_one_worker_s_death_does_not_end_what_another_does_for_the_same_step(lab: Lab) -> None:
    body = """
first = Path(step.project, "first")
if not first.exists():
    first.touch()
    while not Path(step.project, "second").exists(): time.sleep(0.01)
    os._exit(1)
Path(step.project, "second").touch()
step.run(["sh", "-c", "until test -e $0/dead; do sleep 0.01; done", step.project])
"""
    pool = pool_of(lab, body)
    pool.submit("one", lab.request("test.it"))
    until(lambda: (lab.root / "first").exists())
    pool.submit("other", lab.request("test.it"))

    assert answer(pool, "one").outcome == "error"
    (lab.root / "dead").touch()
    assert answer(pool, "other").outcome == "passed"


# --- getting ready ---

MARKED = "Path(step.project, step.name).touch()"


def readied(lab: Lab, **fields: Any) -> LocalPool:
    """A pool whose one worker got ready for `test.next` and has to wait."""
    pool = pool_of(lab, MARKED)
    ask(pool, lab.request("test.first"))
    pool.prepare("next", lab.request("test.next", **fields))
    until(lambda: lab.home.log(1, "test.next", 1).exists())
    return pool


def test_a_worker_that_is_ready_does_nothing_before_it_may_begin(lab: Lab) -> None:
    pool = readied(lab)

    assert pool.wait(0.2) == []
    assert not (lab.root / "test.next").exists()

    pool.submit("next", lab.request("test.next"))

    assert answer(pool, "next").outcome == "passed"
    assert (lab.root / "test.next").exists()
    assert len(pool._processes) == 1


def test_what_can_not_be_got_ready_is_said_once_it_may_begin(lab: Lab) -> None:
    nowhere = Revision(snapshot="sha256:" + "0" * 64)
    pool = readied(lab, revision=nowhere)

    assert pool.wait(0.2) == []

    pool.submit("next", lab.request("test.next", revision=nowhere))

    assert answer(pool, "next").outcome in ("error", "refused")
    assert ask(pool, lab.request("test.last")).outcome == "passed"
    assert not (lab.root / "test.next").exists()


def test_another_worker_takes_what_one_was_ready_for_that_died(lab: Lab) -> None:
    pool = readied(lab)
    [worker] = pool._processes
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: gone(worker.pid))

    pool.submit("next", lab.request("test.next"))

    assert answer(pool, "next").outcome == "passed"
    assert worker not in pool._processes


def test_a_worker_that_is_ready_ends_with_its_pool(lab: Lab) -> None:
    pool = readied(lab)
    started = time.monotonic()

    pool.close()

    assert time.monotonic() - started < 2
    assert not (lab.root / "test.next").exists()
    assert lab.leftovers() == []


# --- told to stop ---

RESISTANCE: dict[str, str] = {
    "is deaf, and hides": "subprocess.Popen({stubborn}, env={{}}, start_new_session=True)\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(600)",
    "runs a program": "step.run({stubborn})",
    "sleeps": "{start}; time.sleep(600)",
    "catches everything": "{start}\nwhile True:\n    try: time.sleep(600)\n    except BaseException: pass",
    "ignores SIGTERM": "{start}; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(600)",
    "cleans up for ever": "{start}\ntry: time.sleep(600)\nfinally:\n    while True: time.sleep(600)",
    "is stopped": "{start}; os.kill(os.getpid(), signal.SIGSTOP)",
    "hides": "subprocess.Popen({stubborn}, env={{}}, start_new_session=True)\nwhile True:\n    try: time.sleep(600)\n    except BaseException: pass",
}


def test_nothing_is_left_five_seconds_after_the_end_however_a_step_resists(lab: Lab) -> None:
    command = stubborn(lab).replace(repr(str(lab.root / "pids")), "str(step.project / step.name)")
    ways = {f"test.{number}": way for number, way in enumerate(RESISTANCE.values())}
    body = "".join(
        f"if step.name == {name!r}:\n{indented(way.format(stubborn=command, start=f'subprocess.Popen({command})'))}"
        for name, way in ways.items()
    )
    pool = pool_of(lab, body)
    for name in ways:
        pool.submit(name, lab.request(name))
    found = [pid for name in ways for pid in until(numbers_in(lab.root / name))]
    started = time.monotonic()

    for name in ways:
        pool.end(name)
    ends = {}
    for news in heard(pool, 6):
        if isinstance(news, Done):
            ends[news.ticket] = news.response
        if len(ends) == len(ways):
            break
    until(lambda: all(gone(pid) for pid in found), 5 - (time.monotonic() - started))

    assert {(end.outcome, end.reason) for end in ends.values()} == {("cancelled", "it was told to stop")}
    assert time.monotonic() - started < 5
    assert lab.leftovers() == []


def test_a_step_that_does_not_resist_ends_at_once_and_may_clean_up(lab: Lab) -> None:
    pool = pool_of(lab, "try:\n    print('began', flush=True); time.sleep(600)\nfinally: print('cleaned up')")
    pool.submit("ask", lab.request())
    until(lambda: lab.home.log(1, "test.unit", 1).exists() and "began" in lab.log())
    started = time.monotonic()

    pool.end("ask")
    response = answer(pool, "ask")

    assert response.outcome == "cancelled"
    assert time.monotonic() - started < 1
    assert "cleaned up" in lab.log()


@pytest.mark.parametrize("used", [False, True], ids=["new worker", "idle worker"])
def test_a_step_is_ended_also_before_it_has_begun(used: bool, lab: Lab) -> None:
    pool = pool_of(lab, "if step.name == 'test.hangs': time.sleep(600)")
    for _ in range(5):
        if used:
            ask(pool, lab.request("test.first"))
        started = time.monotonic()

        pool.submit("ask", lab.request("test.hangs"))
        pool.end("ask")

        assert answer(pool, "ask").outcome == "cancelled"
        assert time.monotonic() - started < 2


def test_an_end_that_comes_too_late_does_not_reach_the_next_step(lab: Lab) -> None:
    pool = pool_of(lab, "pass")
    pool.submit("ask", lab.request())
    [worker] = pool._processes
    until(lambda: b"passed" in worker.connection.recv(10_000, socket.MSG_PEEK))

    pool.end("ask")

    assert answer(pool, "ask").outcome == "passed"
    assert ask(pool, lab.request("test.next")).outcome == "passed"


def test_closing_ends_what_is_under_way(lab: Lab) -> None:
    pool = pool_of(
        lab, "step.run(['sh', '-c', 'echo $$ >pid; mv pid $0; exec sleep 600', step.project / 'pids'])"
    )
    pool.submit("ask", lab.request())
    found = pids(lab)

    pool.close()

    assert all(gone(pid) for pid in found)
    assert lab.leftovers() == []


# --- the engine's death ---

ENGINE = """
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from core.tests.lab import Lab
from penstock.plugins import Installed, Plugins
lab = Lab(Path(sys.argv[1]), Path(sys.argv[2]))
sys.path.insert(0, sys.argv[2])
found = {"fake": Installed("fake", "penstock-fake", "1", EntryPoint("fake", sys.argv[3], "penstock"))}
pool = lab.pool(Plugins.load(found, found))
for name in (sys.argv[4], "test.idle"):
    pool.submit(name, lab.request(name))
while True:
    pool.wait(None)
"""


RESISTING = """
open(step.project / f"{step.name}.pid", "w").write(f"{os.getpid()}\\n")
if step.name != "test.idle":
    subprocess.Popen(STUBBORN)
if step.name == "test.busy":
    step.run(["sleep", "600"])
while step.name == "test.resists":
    try: time.sleep(600)
    except BaseException: pass
"""


@pytest.mark.parametrize(
    ("number", "busy"), [(signal.SIGKILL, "resists"), (signal.SIGHUP, "busy")], ids=["SIGKILL", "SIGHUP"]
)
def test_workers_and_their_programs_do_not_outlive_the_engine(number: int, busy: str, lab: Lab) -> None:
    module = lab.plugin("fake", plugin(RESISTING.replace("STUBBORN", stubborn(lab)))).entry_point.value
    root = Path(__file__).parents[2]
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, lab.root, lab.site, module, f"test.{busy}"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    lab.made.append(engine)
    workers = [until(number_in(lab.root / f"test.{name}.pid")) for name in (busy, "idle")]
    found = pids(lab)

    engine.send_signal(number)
    engine.wait()

    until(lambda: all(gone(pid) for pid in [*workers, *found]), 5)
    assert lab.leftovers() == []


def test_ctrl_c_is_not_for_workers(lab: Lab) -> None:
    pool = pool_of(lab, "os.kill(os.getpid(), signal.SIGINT); time.sleep(0.05)")

    assert ask(pool, lab.request()).outcome == "passed"


# --- the pool itself ---


def test_waiting_ends_when_another_descriptor_has_something_to_read(lab: Lab) -> None:
    pool = pool_of(lab, "pass")
    reader, writer = os.pipe()
    threading.Timer(0.05, os.write, (writer, b"!")).start()
    started = time.monotonic()

    assert pool.wait(20, (reader,)) == []

    assert time.monotonic() - started < 5
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_a_pool_that_is_closed_holds_nothing_open(lab: Lab) -> None:
    descriptors = os.listdir("/proc/self/fd")
    # What an earlier test has killed comes back to this process, and may take a moment to be gone.
    others = set(processes.descendants(os.getpid()))
    pool = pool_of(lab, "if step.name == 'test.dies': os._exit(1)")
    for name in ("test.a", "test.dies", "test.b"):
        ask(pool, lab.request(name))
    pool.close()

    assert len(os.listdir("/proc/self/fd")) == len(descriptors)
    assert set(processes.descendants(os.getpid())) <= others


def test_a_step_goes_on_where_the_source_step_has_written_its_files(lab: Lab) -> None:
    source = """
    @hookimpl
    def penstock_source(settings: Settings, step):
        (step.workspace / "a.txt").write_text("source")
        (step.workspace / "a.txt").chmod(0o644)
        while not Path(step.project, "go").exists(): time.sleep(0.01)
        return Revision(ref=f"{os.getpid()} {os.stat(step.workspace / 'a.txt').st_ino}")

    @hookimpl
    def penstock_test(settings: Settings, step):
        here = f"{os.getpid()} {os.stat(step.workspace / 'a.txt').st_ino}"
        return TestReport(tool=here, checks_only=True, cases=(TestCase(name="one", outcome="passed"),))
    """
    pool = lab.pool(lab.load(fake=source))
    pool.submit("other", lab.request("test.other", kind="tools"))
    pool.submit("source", lab.request("source"))
    assert answer(pool, "other").outcome == "passed"
    (lab.root / "go").touch()
    taken = answer(pool, "source")
    assert taken.outcome == "passed", taken.reason
    revision = Revision.model_validate(taken.data["revision"])
    request = lab.request("test.unit")
    request = request.model_copy(update={"info": request.info.model_copy(update={"revision": revision})})

    found = ask(pool, request)

    assert found.outcome == "passed", found.reason
    assert found.data["summary"] == revision.ref


def test_what_every_step_needs_is_made_while_a_worker_has_nothing_to_do(lab: Lab) -> None:
    body = """
    from penstock.evidence import Reference
    from penstock.model import Tool
    from penstock.tries import Try
    late = [each.__name__ for each in (TestCase, TestReport, Tool, Reference, Try) if not each.__pydantic_complete__]
    raise StepFailed(f"still to be made: {late}")
    """
    pool = pool_of(lab, textwrap.dedent(body))
    assert ask(pool, lab.request(kind="tools")).outcome == "passed"

    assert ask(pool, lab.request()).reason == "still to be made: []"
