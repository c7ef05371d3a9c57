from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from penstock import process, processes
from penstock.errors import CommandFailed, ConfigError, PluginError, StepFailed, StepRefused
from penstock.model import Artifact, Revision
from penstock.testing import StepMaker

from core.tests.lab import gone, number_in, until

SECRET = "s3cr3t-t0ken"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


# --- how programs end ---


def test_a_program_runs_in_the_workspace_and_its_output_goes_to_the_log(make_step: StepMaker) -> None:
    step = make_step(files={"a.txt": "x"})

    done = step.run(sh("ls; pwd; echo err >&2"))

    assert (done.returncode, done.stdout) == (0, "")
    assert make_step.log_of(step) == f"$ sh -c ls; pwd; echo err >&2\na.txt\n{step.workspace}\nerr\n"


def test_quiet_leaves_the_command_line_out(make_step: StepMaker) -> None:
    step = make_step()

    step.run(sh("echo hello"), quiet=True)

    assert make_step.log_of(step) == "hello\n"


@pytest.mark.parametrize(
    ("script", "says", "code"),
    [
        ("exit 3", "sh ended with status 3", 3),
        ("kill -9 $$", "sh ended with signal SIGKILL", -9),
        ("kill -40 $$", "sh ended with signal 40", -40),
    ],
)
@pytest.mark.parametrize("secrets", [{}, {"TOKEN": "env:TOKEN"}], ids=["plain", "masked"])
def test_a_bad_end_is_told(
    script: str, says: str, code: int, secrets: dict[str, str], make_step: StepMaker
) -> None:
    step = make_step(secrets=secrets)

    with pytest.raises(CommandFailed, match=f"^{says}$") as caught:
        step.run(sh(script))

    assert caught.value.returncode == code
    assert step.run(sh(script), check=False).returncode == code


def test_what_can_t_be_run_says_what_is_missing(make_step: StepMaker) -> None:
    step = make_step(files={"script": "#!/never/there\n", "plain": "text"})
    (step.workspace / "script").chmod(0o755)

    for argv, cwd, says in (
        (
            ["no-such-program"],
            None,
            "no-such-program is not on the PATH, so it can't be run. Install it, or add its directory to PATH",
        ),
        (["./nothing"], None, "./nothing is not there: it can't be run"),
        (["true"], Path("/never/there"), "/never/there is not there: true can't be run in it"),
        (["./script"], None, "./script can't be run: the interpreter that its first line names is not there"),
        (["./plain"], None, "./plain can't be run: Permission denied"),
        (["true", "a\0b"], None, "true can't be run: embedded null byte"),
        (["true", "x" * 3_000_000], None, "true can't be run: Argument list too long"),
    ):
        with pytest.raises(StepFailed, match=f"^{re.escape(says)}$"):
            step.run(argv, cwd=cwd, quiet=True)


@pytest.mark.parametrize(
    ("capture", "secrets"), [(False, {}), (True, {"TOKEN": "env:TOKEN"})], ids=["plain", "masked"]
)
def test_a_timeout_ends_the_whole_group(
    capture: bool, secrets: dict[str, str], make_step: StepMaker, tmp_path: Path
) -> None:
    step = make_step(secrets=secrets)
    stubborn = "import signal, os, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    stubborn += "open(os.environ['OUT'], 'w').write(f'{os.getpid()}\\n'); time.sleep(600)"
    script = f'{sys.executable} -c "{stubborn}" & while [ ! -s $OUT ]; do sleep 0.01; done; wait'
    started = time.monotonic()

    with pytest.raises(StepFailed, match=r"^sh took longer than its time and was ended$"):
        step.run(sh(script), env={"OUT": str(tmp_path / "pid")}, timeout=0.5, capture=capture)

    assert time.monotonic() - started < 4
    pid = number_in(tmp_path / "pid")()
    assert pid is None or until(lambda: gone(pid), 1)


def test_a_program_that_ends_when_asked_is_not_waited_for_longer(make_step: StepMaker) -> None:
    step = make_step()
    started = time.monotonic()

    with pytest.raises(StepFailed):
        step.run(sh("trap 'echo cleaned up; exit' TERM; sleep 600 & wait"), timeout=0.3)

    assert time.monotonic() - started < 1.2
    assert "cleaned up" in make_step.log_of(step)


@pytest.mark.parametrize("noise", ["sleep 600", "while echo noise; do :; done"], ids=["silent", "loud"])
@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("secrets", [{}, {"TOKEN": "env:TOKEN"}], ids=["plain", "masked"])
def test_a_child_that_keeps_the_pipe_open_is_not_waited_for(
    noise: str, capture: bool, secrets: dict[str, str], make_step: StepMaker
) -> None:
    step = make_step(secrets=secrets)
    started = time.monotonic()

    done = step.run(sh(f"({noise}) & echo $! >pid; echo said before the end"), capture=capture)

    pid = int((step.workspace / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    assert time.monotonic() - started < 5
    assert "said before the end\n" in (done.stdout if capture else make_step.log_of(step))


# --- output ---


@pytest.mark.parametrize("secrets", [{}, {"TOKEN": "env:TOKEN"}], ids=["plain", "masked"])
def test_much_output_comes_whole(secrets: dict[str, str], make_step: StepMaker) -> None:
    step = make_step(secrets=secrets)
    script = "import sys; sys.stdout.write('x' * 20_000_000); sys.stderr.write('y' * 1_000_000)"

    done = step.run([sys.executable, "-c", script], capture=True, quiet=True)

    assert len(done.stdout) == 20_000_000
    assert make_step.log_of(step) == "y" * 1_000_000


def test_output_that_is_not_text_goes_to_the_log_as_it_is(make_step: StepMaker) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN"})
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)))"

    captured = step.run([sys.executable, "-c", script], capture=True, quiet=True).stdout
    step.run([sys.executable, "-c", script], quiet=True)

    assert (step.workspace.parent / "log.txt").read_bytes() == bytes(range(256))
    assert captured == bytes(range(256)).decode(errors="replace")


def test_secrets_are_masked_on_both_streams(make_step: StepMaker) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN"})

    step.run(sh('echo out $TOKEN; echo err $TOKEN >&2; printf %s "$TOKEN" | base64'), quiet=True)
    done = step.run(sh("echo $TOKEN; echo err $TOKEN >&2"), capture=True, quiet=True)
    step.log(f"and {SECRET}")

    assert done.stdout == SECRET + "\n", "what is captured is for the plugin"
    log = make_step.log_of(step)
    assert SECRET not in log
    assert log == "out ***\nerr ***\n***\nerr ***\nand ***\n"


def test_a_secret_that_is_written_in_pieces_is_masked(make_step: StepMaker) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN"})
    script = "import os\nfor byte in os.environb[b'TOKEN']: os.write(1, bytes([byte])); os.write(2, b'')"

    step.run([sys.executable, "-c", script], quiet=True)

    assert make_step.log_of(step) == "***"


def test_progress_and_any_text_in_the_log(make_step: StepMaker) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN"})

    step.progress(1, 2, "half")
    step.log("half of a pair: \ud800, a byte: \udcff")

    raw = (step.workspace.parent / "log.txt").read_bytes()
    assert raw == b"half of a pair: \\ud800, a byte: \\udcff\n"


# --- secrets ---


@pytest.mark.parametrize(
    "word", [SECRET, f"--token={SECRET}", "czNjcjN0LXQwa2Vu"], ids=["alone", "inside", "base64"]
)
def test_a_secret_on_the_command_line_is_refused(word: str, make_step: StepMaker, tmp_path: Path) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN"})

    for start in (
        lambda: step.run(["echo", word]),
        lambda: step.detach(["echo", word], log=tmp_path / "log"),
    ):
        with pytest.raises(
            PluginError, match=r"test.unit: a secret stands on the command line of echo"
        ) as caught:
            start()
        assert SECRET not in str(caught.value)
    assert make_step.log_of(step) == ""


def test_a_secret_that_was_not_declared_is_not_handed_out(make_step: StepMaker) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN"})

    assert step.secret("TOKEN") == SECRET
    with pytest.raises(
        ConfigError, match=r'\[test.unit\] declares no secret "OTHER". Add: secrets = { OTHER = "env:OTHER" }'
    ):
        step.secret("OTHER")


# --- environment ---


def environment(make_step: StepMaker, **more: object) -> dict[str, str]:
    step = make_step(**more)  # type: ignore[arg-type]  # as the caller says
    return dict(
        line.split("=", 1) for line in step.run(["env", "-0"], capture=True).stdout.split("\0") if line
    )


def test_what_the_machine_says_can_be_taken_out_and_what_the_section_says_stays(
    make_step: StepMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONE", "TWO", "THREE"):
        monkeypatch.setenv(name, "machine")
    step = make_step(env={"TWO": "section"}, secrets={"THREE": "env:TOKEN"})

    told = step.run(
        ["sh", "-c", 'echo "${ONE-no} $TWO ${#THREE}"'],
        env={"ONE": None, "TWO": None, "THREE": None},
        capture=True,
    )

    assert told.stdout == f"no section {len(SECRET)}\n"


def test_a_program_s_environment(make_step: StepMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "PYTHONHOME"):
        monkeypatch.setenv(name, "/somewhere")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")

    found = environment(
        make_step, name="deploy.it", environment="production", env={"A": "1"}, secrets={"MINE": "env:TOKEN"}
    )

    assert "VIRTUAL_ENV" not in found
    assert "PYTHONHOME" not in found
    assert found["PATH"].startswith("/bin:/usr/bin:")
    assert found["PENSTOCK_STEP"] == "deploy.it"
    assert found["PENSTOCK_RUN"] == "1"
    assert found["PENSTOCK_ENVIRONMENT"] == "production"
    assert found["PENSTOCK_REVISION"].startswith("4f2c1e9")
    assert found["SOURCE_DATE_EPOCH"] == "1700000000"
    assert (found["A"], found["MINE"]) == ("1", SECRET)
    assert Path(found["TMPDIR"]).is_dir()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", found["TRACEPARENT"])
    assert found[processes.MARK].endswith(f":{os.getpid()}:deploy.it:1")


def test_a_trace_is_one_for_the_run_and_a_span_for_each_step(make_step: StepMaker) -> None:
    first, second, other = (
        environment(make_step, name=name, run=run)["TRACEPARENT"].split("-")
        for name, run in (("test.a", 1), ("test.b", 1), ("test.a", 2))
    )

    assert first[1] == second[1] != other[1]
    assert first[2] != second[2]


def test_the_commit_s_time_gives_way_to_the_user_s(
    make_step: StepMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")

    assert environment(make_step)["SOURCE_DATE_EPOCH"] == "5"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert "SOURCE_DATE_EPOCH" not in environment(make_step, revision=Revision())


def test_other_steps_secrets_are_hidden(make_step: StepMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_TOKEN", "x")
    step = make_step()
    step._info = step._info.model_copy(update={"hidden": ("OTHER_TOKEN",)})

    assert "OTHER_TOKEN" not in step.run(["env"], capture=True).stdout


def test_what_the_call_adds_wins_over_the_section_and_it_over_the_user(
    make_step: StepMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A", "user")
    step = make_step(env={"A": "section"})

    assert step.run(["printenv", "A"], capture=True).stdout == "section\n"
    assert step.run(["printenv", "A"], capture=True, env={"A": "call"}).stdout == "call\n"


# --- services ---


def test_what_is_detached_has_neither_mark_nor_secrets_and_a_session_of_its_own(
    make_step: StepMaker, tmp_path: Path
) -> None:
    step = make_step(secrets={"TOKEN": "env:TOKEN", "MINE": "env:TOKEN"}, env={"A": "1"})

    pid = step.detach(
        sh("env; echo session $(ps -o sid= -p $$); pwd; echo ready; exec sleep 600"),
        log=tmp_path / "log",
        env={"B": "2"},
    )
    until(lambda: (tmp_path / "log").read_text().endswith("ready\n"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    said = (tmp_path / "log").read_text()
    lines = said.splitlines()
    assert {"A=1", "B=2", "PENSTOCK_STEP=test.unit"} <= set(lines)
    assert not any(
        line.startswith((processes.MARK, "TOKEN=", "MINE=", "TMPDIR=", "TRACEPARENT=")) for line in lines
    )
    assert SECRET not in said
    assert lines[-3:] == [f"session {pid}", "/", "ready"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["no-such-program"], "no-such-program can't be started: No such file or directory"),
        (["true", "a\0"], "true can't be started: embedded null byte"),
    ],
)
def test_what_can_t_be_detached_says_why(
    argv: list[str], says: str, make_step: StepMaker, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed, match=f"^{says}$"):
        make_step().detach(argv, log=tmp_path / "log")


# --- results ---


def test_what_is_kept_can_be_fetched_by_a_later_step(make_step: StepMaker) -> None:
    first = make_step("build.it", files={"dist/app.whl": "wheel", "site/index.html": "<p>", "site/a/b": ""})
    wheel, site = first.keep(Path("dist/app.whl"), "wheel"), first.keep(Path("site"), "site", name="the-site")

    later = make_step("test.it", artifacts=[wheel, site])

    assert later.artifacts == (wheel, site)
    assert later.fetch(wheel).name == "app.whl"
    assert later.fetch(wheel).read_text() == "wheel"
    assert later.fetch(site).name == "the-site"
    assert sorted(str(p.relative_to(later.fetch(site))) for p in later.fetch(site).rglob("*")) == [
        "a",
        "a/b",
        "index.html",
    ]


def test_what_is_not_there_can_t_be_kept(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed, match=r"^nothing.whl can't be kept: it is not there$"):
        make_step().keep(Path("dist/nothing.whl"), "wheel")


@pytest.mark.parametrize("what", ["file", "tree"])
def test_what_was_changed_in_the_store_is_refused_each_time(what: str, make_step: StepMaker) -> None:
    first = make_step("build.it", files={"site/a": "aaaa", "site/b": "bbbb"})
    artifact = first.keep(Path("site/b" if what == "file" else "site"), "thing", name="thing")
    kept = make_step.store.path(make_step.store.add_bytes(b"bbbb"))
    kept.chmod(0o644)
    kept.write_text("evil")
    later = make_step("deploy.it")

    for _ in range(2):
        with pytest.raises(StepRefused, match=r"the bytes in the store are not those of"):
            later.fetch(artifact)


@pytest.mark.parametrize(
    "name", ["../../../outside", "/outside", "..", ".", "", "registry/shop:1", "a\0b", ".incoming"]
)
def test_an_artifact_s_name_leads_nowhere_else(name: str, make_step: StepMaker) -> None:
    first = make_step("build.it", files={"a": "x"})
    artifact = first.keep(Path("a"), "file").model_copy(update={"name": name})
    later = make_step("test.it")

    place = later.fetch(artifact)

    assert place.read_text() == "x"
    assert place.resolve().is_relative_to(later._places.inbox.resolve())
    assert place.parent.parent == later._places.inbox


def test_two_artifacts_of_one_name_do_not_meet(make_step: StepMaker) -> None:
    step = make_step(files={"a/x": "1", "b/x": "2"})
    one, other = step.keep(Path("a/x"), "file"), step.keep(Path("b/x"), "file")

    assert (step.fetch(one).read_text(), step.fetch(other).read_text()) == ("1", "2")


def test_a_made_up_manifest_does_not_write_outside(make_step: StepMaker) -> None:
    evil = '{"entries":[{"link":"/tmp","path":"../../../evil"}],"type":"penstock-tree-v1"}'
    step = make_step(files={"a": evil})

    with pytest.raises(StepRefused, match=r"is not a directory that Penstock has kept"):
        step.fetch(step.keep(Path("a"), "file"))


def test_what_was_never_kept_can_t_be_fetched(make_step: StepMaker) -> None:
    with pytest.raises(StepRefused, match=r"can't be read from the store"):
        make_step().fetch(Artifact(name="x", kind="file", digest="sha256:" + "1" * 64))


def test_a_program_of_a_step_is_found_by_its_mark_until_it_ends(make_step: StepMaker) -> None:
    step = make_step()
    mark = str(step.workspace.parent)
    for _ in range(100):  # each is seen somewhere between its fork and its exec
        step.run(["setsid", "-f", "sleep", "600"])

        assert len(until(lambda: processes.marked(mark))) == 1
        process.end_marked(mark)
        assert processes.marked(mark) == []
        assert processes.holders(step.workspace.parent / "log.txt") == []
