"""Plugins that can't be imported, and plugins that do what no plugin should while a step runs."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from tests.broken.place import PLAIN, Place, Said, Warm

IMPORTS: dict[str, tuple[str, str]] = {
    "needs": ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
    "syntax": ("def f(:\n", "SyntaxError: invalid syntax (penstock_syntax.py, line 7)"),
    "nul": ("x\0y", "SyntaxError: source code string cannot contain null bytes"),
    "exits": ("sys.exit(3)", "it ends the process when it is imported (SystemExit)"),
    "interrupts": ("raise KeyboardInterrupt", "it raises KeyboardInterrupt when it is imported"),
    "base": ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
    "lines": ("raise ValueError('one\\ntwo')", "ValueError: one two"),
    "mute": ("class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute", "Mute"),
    "recurses": ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
    "reads": ("open('/no/where')", "FileNotFoundError: [Errno 2] No such file or directory: '/no/where'"),
    "taken": (
        "class S(Settings):\n    timeout: int = 3\n@hookimpl\ndef penstock_test(settings: S, step): ...\n",
        "its settings for penstock_test declare `timeout`, which is a key of the core",
    ),
    "newer": (
        "PENSTOCK_API = 2",
        "it is made for plugin API 2, and this Penstock has 1: pip install --upgrade penstock",
    ),
    "older": (
        "PENSTOCK_API = 0",
        "it is made for plugin API 0, and this Penstock has 1: install a newer version of the plugin",
    ),
    "unmarked": (
        "def penstock_test(step): ...",
        "its penstock_test is not marked with @hookimpl: it would never be called",
    ),
    "misspelt": (
        "@hookimpl\ndef penstock_tset(step): ...",
        'there is no hook penstock_tset. Did you mean "penstock_test"?',
    ),
    "curious": (
        "@hookimpl\ndef penstock_test(stp): ...",
        "its penstock_test asks for `stp`; what it can ask for: settings, step",
    ),
    "untyped": (
        "@hookimpl\ndef penstock_test(settings, step): ...",
        "penstock_test: `settings` must be annotated with a subclass of penstock.Settings",
    ),
}
"""Source, and why it can't be used."""


def unusable(name: str) -> str:
    return f'the plugin "{name}" (of penstock-{name} 1.0) can\'t be used: {IMPORTS[name][1]}'


def end(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    """A project that enables all of them, and uses none."""
    place = Place.make(tmp_path_factory.mktemp("imports"), warm)
    for name, (source, _) in IMPORTS.items():
        place.plugin(name, source)
    place.toml(
        """
        [build.box]
        uses = "plain"

        [deploy.live]
        uses = "plain"
        place = "{here}/live"
        """,
        ("plain", *IMPORTS),
    )
    return place


@pytest.fixture(scope="module")
def warned(broken: Place) -> Said:
    return broken.run("validate")


@pytest.mark.parametrize("name", IMPORTS)
def test_a_plugin_that_can_not_be_imported_is_named_with_the_reason(warned: Said, name: str) -> None:
    place = "penstock.toml:2: [penstock] plugins:"
    rest = "Nothing is deployed until it is repaired, or taken out here"

    assert f"penstock: {place} {end(unusable(name))} {rest}" in warned.err.splitlines()


def test_what_uses_no_broken_plugin_is_right(warned: Said) -> None:
    assert (warned.code, warned.out) == (
        0,
        f"penstock.toml is right: 3 steps, plugins plain, {', '.join(IMPORTS)}\n",
    )
    assert len(warned.err.splitlines()) == len(IMPORTS)


def test_nothing_is_deployed_while_an_enabled_plugin_is_broken(broken: Place) -> None:
    """It may be one that refuses deployments: what can't be asked has not agreed."""
    done = broken.run("run")

    assert done.code == 1
    assert broken.states() == {"source": "passed", "build.box": "passed", "deploy.live": "refused"}
    assert broken.reason("deploy.live") == "; ".join(
        f"the plugin \"{name}\" is enabled and can't be used, so it can't say whether to deploy (every enabled "
        "plugin is asked). See why: penstock plugins list. Repair it or take it out of plugins, then: "
        "penstock run"
        for name in IMPORTS
    )
    assert not (broken.base / "live").exists()


def test_a_step_that_uses_a_broken_plugin_is_refused_before_anything_runs(broken: Place) -> None:
    before, text = broken.runs(), broken.config.read_text()
    broken.config.write_text(text + '\n[test.a]\nuses = "needs"\n')

    done = broken.run("run")

    assert (done.code, done.out) == (2, "")
    assert done.err == f"penstock: penstock.toml:13: [test.a] uses: {unusable('needs')}\n"
    broken.config.write_text(text)
    assert broken.runs() == before


def test_plugins_doctor_and_help_work_with_broken_plugins(broken: Place) -> None:
    listed = {row["name"]: row["broken"] for row in json.loads(broken.run("plugins", "list", "--json").out)}
    assert {name: listed[name] for name in IMPORTS} == {name: why for name, (_, why) in IMPORTS.items()}
    assert broken.run("doctor").code == 1
    assert broken.run("--help").code == 0
    done = broken.run("plugins", "info", "exits")
    assert (done.code, done.out) == (4, f"{unusable('exits')}\n")


def test_going_back_does_not_hang_on_a_plugin_that_broke(place: Place) -> None:
    place.plugin(
        "box",
        PLAIN.replace(
            'write_text("box")',
            'write_text(Path("{base}/box").read_text())'.replace("{base}", str(place.base)),
        ),
    )
    pipeline = '[build.box]\nuses = "box"\n[deploy.live]\nuses = "box"\nplace = "{here}/live"\n'
    for number in "12":
        (place.base / "box").write_text(number)
        place.toml(pipeline, ("box",))
        assert place.run("run").code == 0
    place.plugin("exits", "sys.exit()")
    place.toml(pipeline, ("box", "exits"))

    assert place.run("rollback", "live").code == 0
    [built] = place.step("build.box", "1")["artifacts"]
    assert (place.base / "live").read_text() == built["digest"]


def test_what_a_plugin_prints_and_closes_at_import_is_not_among_results(place: Place) -> None:
    place.plugin("loud", "print('x' * 3)\nsys.stdout.buffer.write(b'\\xff\\n')\nos.write(1, b'low\\n')")
    place.plugin("closes", "os.close(1); os.close(2)")
    place.toml("", ("plain", "loud", "closes"))

    assert place.run("validate").out == "penstock.toml is right: 1 step, plugins plain, loud, closes\n"
    assert json.loads(place.run("plan", "--json").out)["steps"]


def test_ctrl_c_while_plugins_are_imported_is_no_fault_of_theirs(place: Place) -> None:
    place.plugin("slow", "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)")
    place.toml("", ("plain", "slow"))

    done = place.run("run", within=20)

    assert (done.code, done.out, done.err.strip()) == (130, "", "cancelled")
    assert not (place.root / ".penstock").exists()


# --- while a step runs ---

DIED = "the process of the step {} before it had a result"
FAILED = 'the plugin "{}" failed: {}. The whole story: penstock logs 1 test.{}'
TYPE = 'the plugin "{}" returned {} from penstock_test, which must return TestReport'
HOLDS = 'the plugin "{}" returned a TestReport from penstock_test that does not hold what it must: {}'
CASE = "TestCase.model_construct(name='a', outcome={}, seconds={})"
MADE = "return TestReport.model_construct(tool='x', cases=({},))"

RUNS: dict[str, tuple[str, str, str]] = {
    "raises": ("raise ValueError('odd')", "failed", FAILED.format("raises", "ValueError: odd", "raises")),
    "silent": ("raise ValueError", "failed", FAILED.format("silent", "ValueError", "silent")),
    "lines": (
        "raise ValueError('one\\ntwo')",
        "failed",
        FAILED.format("lines", "ValueError: one two", "lines"),
    ),
    "mute": (
        "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
        "failed",
        FAILED.format("mute", "Mute", "mute"),
    ),
    "interrupts": (
        "raise KeyboardInterrupt",
        "failed",
        FAILED.format("interrupts", "KeyboardInterrupt", "interrupts"),
    ),
    "exits": ("sys.exit(0)", "failed", FAILED.format("exits", "it ends the process: sys.exit(0)", "exits")),
    "leaves": ("os._exit(0)", "failed", DIED.format("exited with 0")),
    "leavesbadly": ("os._exit(3)", "failed", DIED.format("exited with 3")),
    "killed": (
        "os.kill(os.getpid(), signal.SIGKILL)",
        "failed",
        DIED.format("was killed by SIGKILL (by somebody, or for want of memory)"),
    ),
    "nothing": ("return None", "failed", TYPE.format("nothing", "NoneType")),
    "truth": ("return True", "failed", TYPE.format("truth", "bool")),
    "table": ("return {'passed': True}", "failed", TYPE.format("table", "dict")),
    "nocase": (
        "return TestReport(tool='x', cases=())",
        "refused",
        "no test was found: a test step without a test does not pass",
    ),
    "outcome": (
        MADE.format(CASE.format("'great'", 0)),
        "failed",
        HOLDS.format("outcome", "cases.0.outcome: input should be 'passed', 'failed' or 'skipped'"),
    ),
    "nan": (
        MADE.format(CASE.format("'passed'", "float('nan')")),
        "failed",
        HOLDS.format("nan", "cases.0.seconds: input should be greater than or equal to 0"),
    ),
    "object": (
        MADE.format("object()"),
        "failed",
        HOLDS.format("object", "cases.0: input should be a valid dictionary or instance of testcase"),
    ),
    "big": (
        "return TestReport(tool='x', cases=(TestCase(name='x', outcome='failed', message='x' * (66 << 20)),))",
        "failed",
        'the plugin "big" returned 66 MiB; results may have 64 MiB. Files belong into the store: step.keep',
    ),
    "nosecret": (
        "step.secret('TOKEN')",
        "failed",
        '[test.nosecret] declares no secret "TOKEN". Add: secrets = { TOKEN = "env:TOKEN" }',
    ),
    "noprogram": (
        "step.run(['nowhere-to-be-found'])",
        "failed",
        "nowhere-to-be-found is not on the PATH, so it can't be run. Install it, or add its directory to PATH",
    ),
    "nofile": ("step.keep(Path('gone'), 'file')", "failed", "gone can't be kept: it is not there"),
    "prints": ("print('x' * (3 << 20)); return PASSED", "passed", ""),
    "bytes": (
        "sys.stdout.buffer.write(b'\\xff\\xfe\\n'); os.write(2, b'\\xff'); return PASSED",
        "passed",
        "",
    ),
    "closes": ("sys.stdout.close(); sys.stderr.close(); os.close(1); return PASSED", "passed", ""),
    "moves": (
        "os.chdir('/'); os.umask(0o777); os.environ.clear(); return PASSED",
        "passed",
        "",
    ),
    "clears": ("import shutil; shutil.rmtree(step.workspace); return PASSED", "passed", ""),
    "forks": ("pid = os.fork()\nif pid == 0: time.sleep(60)\nreturn PASSED", "passed", ""),
    "answerstwice": ("os.fork()\nreturn PASSED", "passed", ""),
    "daemon": ("subprocess.Popen(['sleep', '60'], start_new_session=True); return PASSED", "passed", ""),
    "thread": (
        "import threading; threading.Thread(target=time.sleep, args=(60,)).start(); return PASSED",
        "passed",
        "",
    ),
    "surrogate": ("return TestReport(tool='\\udcff', cases=PASSED.cases)", "passed", ""),
    "sleeps": ("time.sleep(600)", "failed", "it took longer than N s (timeout)"),
    "stays": (
        "while True:\n    try: time.sleep(600)\n    except BaseException: pass",
        "failed",
        "it took longer than N s (timeout)",
    ),
    "deaf": (
        "step.run(['sh', '-c', 'trap \"\" TERM; sleep 600'])",
        "failed",
        "it took longer than N s (timeout)",
    ),
}
"""The body of a test hook, how its step ends, and why."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> tuple[Place, Said]:
    """One run in which each of them has a step."""
    place = Place.make(tmp_path_factory.mktemp("runs"), warm)
    text = ""
    for name, (body, _, _) in RUNS.items():
        place.plugin(name, "@hookimpl\ndef penstock_test(step):\n" + textwrap.indent(body, "    "))
        patience = 'timeout = "0.5s"\n' if name in ("sleeps", "stays", "deaf") else ""
        text += f'[test.{name}]\nuses = "{name}"\n{patience}\n'
    place.toml(text, ("plain", *RUNS))
    return place, place.run("run", within=200)


@pytest.fixture(scope="module")
def steps(ran: tuple[Place, Said]) -> dict[str, tuple[str, str]]:
    place, _ = ran
    return {step["name"]: (step["state"], place.same(step["reason"])) for step in place.json("show")["steps"]}


@pytest.mark.parametrize("name", RUNS)
def test_what_a_plugin_does_is_an_answer(steps: dict[str, tuple[str, str]], name: str) -> None:
    _, state, reason = RUNS[name]

    assert steps[f"test.{name}"] == (state, reason)


def test_a_run_with_faults_of_plugins_says_so_without_a_traceback(ran: tuple[Place, Said]) -> None:
    place, done = ran

    assert done.code == 4
    assert "Failed in N s. Run 1.\n" in done.out
    assert 'File "' not in done.out + done.err  # not even its end
    assert "ValueError: odd" in (place.root / ".penstock" / "runs" / "1" / "test.raises.1.log").read_text()


ADMITS: dict[str, tuple[str, str, str]] = {
    "raises": (
        "raise ValueError('odd')",
        "failed",
        'the plugin "guard" failed in penstock_admit: ValueError: odd',
    ),
    "answers true": (
        "return True",
        "failed",
        'the plugin "guard" returned bool from penstock_admit, which must return Refusal or None',
    ),
    "exits": (
        "sys.exit(0)",
        "failed",
        'the plugin "guard" failed in penstock_admit: SystemExit: 0',
    ),
    "refuses": (
        "return Refusal(rule='friday', reason='no', way_out='Wait.')",
        "refused",
        "no (friday). Wait.",
    ),
}


@pytest.mark.parametrize(("body", "state", "reason"), ADMITS.values(), ids=ADMITS.keys())
def test_a_guard_that_fails_keeps_the_gate_shut(place: Place, body: str, state: str, reason: str) -> None:
    place.plugin("guard", f"@hookimpl\ndef penstock_admit(step):\n    {body}\n")
    place.toml(
        '[build.box]\nuses = "plain"\n[deploy.live]\nuses = "plain"\nplace = "{here}/live"\n',
        ("plain", "guard"),
    )

    assert place.run("run").code == (1 if state == "refused" else 4)
    assert (place.states()["deploy.live"], place.reason("deploy.live")) == (state, reason)
    assert not Path(place.base / "live").exists()


INHOUSE: dict[str, tuple[str, str]] = {
    "interrupts": ("raise KeyboardInterrupt", "line 1: KeyboardInterrupt"),
    "exits": ("import sys\nsys.exit(3)", "line 2: it ends the process when it is imported (SystemExit)"),
    "lines": ("raise ValueError('a\\nb')", "line 1: ValueError: a b"),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute",
        "line 3: Mute",
    ),
    "syntax": ("x = (\n", "line 1: SyntaxError: '(' was never closed"),
}


@pytest.mark.parametrize(("source", "reason"), INHOUSE.values(), ids=INHOUSE.keys())
def test_a_file_of_the_project_that_can_not_be_imported(place: Place, source: str, reason: str) -> None:
    (place.root / "ci").mkdir()
    (place.root / "ci" / "ours.py").write_text(source)
    place.config.write_text('[penstock]\nplugins = ["plain", "./ci/ours.py"]\n')

    done = place.run("validate")

    assert (done.code, done.out) == (0, "penstock.toml is right: 1 step, plugins plain, ours\n")
    assert done.err == (
        f'penstock: penstock.toml:2: [penstock] plugins: the plugin "ours" (of ci/ours.py) can\'t be used: '
        f"{reason}. Nothing is deployed until it is repaired, or taken out here\n"
    )
