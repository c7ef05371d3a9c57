"""Plugins that are files of the project: what may be one, and that the hashed bytes are what runs."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock import gates, inhouse
from penstock.errors import PluginError
from penstock.plugins import Installed, Plugins

from core.tests.lab import Lab

SIZE = '''\
"""A test step: no artifact is larger than it may be.

And a second paragraph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import Settings, TestCase, TestReport, hookimpl
from pydantic import Field

if TYPE_CHECKING:
    from penstock import Step

PENSTOCK_API = 1


class Limits(Settings):
    """How large is too large."""

    most: int = Field(default=100, description="The largest that passes.")
    others: Inner | None = None


class Inner(Settings):
    """Named before it is there: resolved when the model is used."""

    depth: int = 1


@hookimpl
def penstock_test(settings: Limits, step: Step) -> TestReport:
    """One case."""
    print("measured by", __name__)
    return TestReport(tool="size", cases=(TestCase(name="one", outcome="passed"),))
'''

EVERYTHING = '''\
"""Every phase that the pipeline of these tests has, and every hook that all plugins are asked."""

import json
from pathlib import Path

import click
from penstock import (
    Artifact, Check, Event, Health, Refusal, Release, Revision, Settings, Step, StepFailed, Target, TargetState,
    TestCase, TestReport, Tool, Verification, hookimpl,
)
from pydantic import SecretStr

WORD = "first"


class Nothing(Settings):
    pass


class Place(Settings):
    path: str = "place"


class Directory(Target):
    path: str

    def observe(self, step: Step) -> TargetState:
        file = Path(self.path)
        return TargetState(release=file.read_text() if file.exists() else None)

    def apply(self, release: Release, step: Step) -> None:
        Path(self.path).write_text(release.digest)

    def probe(self, step: Step) -> Health:
        return Health(status="healthy")

    def restore(self, state: TargetState, step: Step) -> None:
        Path(self.path).unlink()


@hookimpl
def penstock_source(settings: Nothing, step: Step) -> Revision:
    (step.workspace / "it.txt").write_text("it")
    return Revision()


@hookimpl
def penstock_build(settings: Nothing, step: Step) -> list[Artifact]:
    return [step.keep(Path("it.txt"), "file")]


@hookimpl
def penstock_test(settings: Nothing, step: Step) -> TestReport:
    outcome = "passed" if step.secret("WORD") == "from the vault of ours" else "failed"
    return TestReport(tool=WORD, cases=(TestCase(name=WORD, outcome=outcome),))


@hookimpl
def penstock_targets(settings: Place, step: Step) -> list[Target]:
    return [Directory(id="here", path=str(step.project / settings.path))]


@hookimpl
def penstock_verify(settings: Nothing, step: Step) -> Verification:
    return Verification(checks=(Check(name="it is there", passed=True),))


@hookimpl
def penstock_admit(step: Step) -> Refusal | None:
    if (step.project / "frozen").exists():
        return Refusal(rule="freeze", reason="nothing is deployed today")
    return None


@hookimpl
def penstock_secret(reference: str) -> SecretStr | None:
    return SecretStr("from the vault of ours") if reference == "ours:word" else None


@hookimpl
def penstock_event(event: Event) -> None:
    with (Path(__file__).parent / "seen.txt").open("a") as file:
        file.write(f"{event.type}\\n")


@hookimpl
def penstock_tools() -> list[Tool]:
    return [Tool(name="hammer", version="1", path="/usr/bin/hammer")]


@click.command()
def greet() -> None:
    """Say something."""
    click.echo(f"{WORD}: hello from {Path(__file__).name}")


@hookimpl
def penstock_commands() -> list[click.Command]:
    return [greet]
'''

PIPELINE = """
[build.it]
uses = "ours"

[test.it]
uses = "ours"
secrets = { WORD = "ours:word" }

[approve.live]

[deploy.live]
uses = "ours"

[verify.live]
uses = "ours"
"""


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project's directory; the modules that are made of its files are forgotten afterwards."""
    (tmp_path / "shop" / "ci").mkdir(parents=True)
    before = set(sys.modules)
    yield tmp_path / "shop"
    for name in set(sys.modules) - before:
        if name.startswith("penstock_inhouse_"):
            del sys.modules[name]


def load(root: Path, source: str | bytes, available: dict[str, Installed] | None = None) -> Plugins:
    data = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
    (root / "ci" / "ours.py").write_bytes(data)
    return Plugins.load(["./ci/ours.py"], available or {}, root=root)


# --- what may be one ---


def test_a_file_is_a_plugin_by_the_name_of_its_stem(root: Path) -> None:
    loaded = load(root, SIZE)

    assert not loaded.broken
    assert loaded.phases("ours") == ("test",)
    assert loaded.versions == {"ours": sha256(SIZE)}
    assert loaded.files["ours"].model_dump() == {
        "name": "ours",
        "path": "ci/ours.py",
        "digest": sha256(SIZE),
    }
    model: Any = loaded.settings_model("ours", "penstock_test")
    assert model.model_validate({"others": {"depth": 2}}).others.depth == 2
    assert loaded.modules["ours"].__doc__.startswith("A test step")  # type: ignore[union-attr]


@pytest.mark.parametrize("entry", ["./ci/ours.py", "ci/ours.py", "ci/./ours.py", "ci//ours.py"])
def test_however_it_is_written_it_is_the_same_file(root: Path, entry: str) -> None:
    loaded = load(root, SIZE)

    again = Plugins.load([entry, "./ci/ours.py"], {}, root=root)

    assert not again.broken
    assert again.files == loaded.files


NO_PLUGIN = {
    "absolute": ("/etc/ours.py", '"/etc/ours.py" leads out of the project. An in-house plugin is a file of'),
    "above": ("../ours.py", '"../ours.py" leads out of the project.'),
    "above, later": ("ci/../../ours.py", '"ci/../../ours.py" leads out of the project.'),
    "above and back": ("ci/../ci/ours.py", '"ci/../ci/ours.py" leads out of the project.'),
    "no Python": ("./ci/ours.sh", '"./ci/ours.sh" is no Python file. An in-house plugin is a file such as'),
    "only an ending": ("./ci/.py", '"./ci/.py" is no Python file.'),
    "not there": ("./ci/our.py", 'ci/our.py is not there. Did you mean "./ci/ours.py"?'),
    "not there, nothing near": ("./ci/payload.py", "ci/payload.py is not there"),
    "no such directory": ("./cli/ours.py", "cli/ours.py is not there"),
    "below a file": ("./ci/ours.py/x.py", "ci/ours.py/x.py is not there"),
    "directory": ("./ci/directory.py", "ci/directory.py is no file. An in-house plugin is one Python file"),
    "pipe": ("./ci/pipe.py", "ci/pipe.py is no file."),
    "link out": ("./ci/out.py", "ci/out.py is a link that leads out of the project."),
    "below a link out": ("./up/ours.py", "up/ours.py is a link that leads out of the project."),
    "link nowhere": ("./ci/nowhere.py", "ci/nowhere.py is not there"),
    "link to itself": ("./ci/loop.py", "ci/loop.py can't be read: "),
    "a NUL": (
        "./ci/a\0b.py",
        '"./ci/a\0b.py" would be the plugin "a\0b", and that is no name for one: it is',
    ),
    "a space": ("./ci/our own.py", '"./ci/our own.py" would be the plugin "our own", and that is no name'),
    "dunder": ("./ci/__init__.py", '"./ci/__init__.py" would be the plugin "__init__", and that is no name'),
    "the core's own": (
        "./ci/penstock.py",
        '"./ci/penstock.py" would be the plugin "penstock", and that is no',
    ),
    "far too long": ("./ci/" + "a" * 300 + ".py", '"./ci/aaa'),
    "a directory far too long": ("./" + "a" * 300 + "/ours.py", f"{'a' * 300}/ours.py can't be read: "),
}


@pytest.mark.parametrize(("entry", "message"), NO_PLUGIN.values(), ids=NO_PLUGIN.keys())
def test_what_can_be_no_plugin_is_refused_before_it_is_read(root: Path, entry: str, message: str) -> None:
    (root / "ci" / "ours.py").write_text(SIZE)
    (root / "ci" / "directory.py").mkdir()
    os.mkfifo(root / "ci" / "pipe.py")
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "ours.py").write_text(SIZE)
    (root / "ci" / "out.py").symlink_to(root.parent / "elsewhere" / "ours.py")
    (root / "up").symlink_to(root.parent / "elsewhere")
    (root / "ci" / "nowhere.py").symlink_to(root / "ci" / "nothing.py")
    (root / "ci" / "loop.py").symlink_to(root / "ci" / "loop.py")

    loaded = Plugins.load([entry], {}, root=root)

    [broken] = loaded.broken.values()
    assert broken.reason.startswith(message)
    assert broken.absent
    assert not loaded.modules


def test_a_link_within_the_project_is_followed(root: Path) -> None:
    (root / "real.py").write_text(SIZE)
    (root / "ci" / "ours.py").symlink_to(root / "real.py")

    assert list(Plugins.load(["./ci/ours.py"], {}, root=root).modules) == ["ours"]


def test_two_files_of_one_name_are_refused(root: Path) -> None:
    (root / "tools").mkdir()
    (root / "tools" / "ours.py").write_text(SIZE)
    (root / "ci" / "ours.py").write_text(SIZE)

    loaded = Plugins.load(["./ci/ours.py", "./tools/ours.py"], {}, root=root)

    assert loaded.broken["./tools/ours.py"].reason == (
        'tools/ours.py would be the plugin "ours", and so is the file ci/ours.py. Rename the file: its stem '
        "is the plugin's name"
    )


def test_the_name_of_an_installed_plugin_is_refused_enabled_or_not(root: Path) -> None:
    (root / "ci" / "ours.py").write_text(SIZE)
    available = {"ours": Installed("ours", "penstock-ours", "1.2", None)}  # type: ignore[arg-type]  # not loaded

    loaded = Plugins.load(["./ci/ours.py"], available, root=root)

    assert loaded.broken["./ci/ours.py"].reason == (
        'ci/ours.py would be the plugin "ours", and so is the installed penstock-ours 1.2. Rename the file: '
        "its stem is the plugin's name"
    )


BROKEN = {
    "syntax": ("a = 1\nb = (\n", "line 2: SyntaxError: '(' was never closed"),
    "indentation": ("if True:\npass\n", "line 2: IndentationError: expected an indented block"),
    "tabs": ("if True:\n\tpass\n        pass\n", "line 3: TabError: inconsistent use of tabs and spaces"),
    "not UTF-8": (b"a = 1\nb = '\xe9'\n", "line 2: the file is not UTF-8 (byte 0xe9). Save it as UTF-8"),
    "another encoding that is declared": (
        b"# coding: latin-1\nb = '\xe9'\n",
        "line 2: the file is not UTF-8 (byte 0xe9). Save it as UTF-8",
    ),
    "a NUL": (b"a = 1\0\n", "SyntaxError: source code string cannot contain null bytes"),
    "raises": ("a = 1\n\nb = unknown\n", "line 3: NameError: name 'unknown' is not defined"),
    "raises further in": (
        "def f():\n    return 1 / 0\n\nf()\n",
        "line 2: ZeroDivisionError: division by zero",
    ),
    "ends the process": (
        "\nraise SystemExit(3)\n",
        "line 2: it ends the process when it is imported (SystemExit)",
    ),
    "raises what nobody catches": (
        "class Odd(BaseException): ...\nraise Odd('at all')\n",
        "line 2: Odd: at all",
    ),
    "imports what is not installed": (
        "import no_such_module_at_all\n",
        "line 1: ModuleNotFoundError: No module named 'no_such_module_at_all'",
    ),
    "imports its neighbour": (
        "from helpers import x\n",
        "line 1: ModuleNotFoundError: No module named 'helpers'. An in-house plugin is one file and imports "
        "none that lies beside it: move what it needs into it, or make a distribution of it: penstock "
        "plugins new ours",
    ),
    "imports relatively": (
        "from . import helpers\n",
        "line 1: ImportError: attempted relative import with no known parent package",
    ),
    "another API": (
        "PENSTOCK_API = 99\n",
        "it is made for plugin API 99, and this Penstock has 1: pip install",
    ),
    "forgets the marker": (
        "def penstock_admit(step): ...\n",
        "its penstock_admit is not marked with @hookimpl: it would never be called",
    ),
    "takes a key of the core": (
        SIZE.replace("most: int", "timeout: int"),
        "its settings for penstock_test declare `timeout`, which is a key of the core",
    ),
    "a hook that there is not": (
        SIZE.replace("def penstock_test", "def penstock_tset"),
        'there is no hook penstock_tset. Did you mean "penstock_test"?',
    ),
    "settings without a model": (
        SIZE.replace("settings: Limits", "settings: int"),
        "penstock_test: `settings` must be annotated with a subclass of penstock.Settings",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_with_the_line(root: Path, source: str | bytes, reason: str) -> None:
    (root / "ci" / "helpers.py").write_text("x = 1\n")

    loaded = load(root, source)

    broken = loaded.broken["ours"]
    assert broken.reason.startswith(reason)
    assert str(broken).startswith('the plugin "ours" (of ci/ours.py) can\'t be used: ')
    assert not broken.absent
    assert not loaded.modules
    assert not loaded.versions


def test_a_byte_order_mark_is_no_fault(root: Path) -> None:
    assert not load(root, b"\xef\xbb\xbf" + SIZE.encode()).broken


# --- the very bytes ---


def test_what_is_shown_of_it_is_what_was_read_and_not_what_the_file_says_now(root: Path) -> None:
    loaded = load(
        root, "from penstock import hookimpl\n\n@hookimpl\ndef penstock_admit(step):\n    1 / 0  # first\n"
    )
    (root / "ci" / "ours.py").write_text("# second\n" * 9)

    with pytest.raises(ZeroDivisionError) as caught:
        loaded.ask_all("penstock_admit", step=None, evidence=())

    assert "1 / 0  # first" in "".join(traceback.format_exception(caught.value))
    assert "# first" in inspect.getsource(loaded.modules["ours"])
    assert "# first" in inspect.getsource(loaded.modules["ours"].penstock_admit)


def test_the_hash_is_of_what_is_executed_however_often_the_file_changes(root: Path) -> None:
    (root / "ci" / "ours.py").write_text("NUMBER = 1\n")
    read = inhouse.read(root, "./ci/ours.py")
    (root / "ci" / "ours.py").write_text("NUMBER = 2\n")

    loaded = Plugins.load([read], {}, root=root)

    assert loaded.modules["ours"].NUMBER == 1
    assert loaded.versions == {"ours": sha256("NUMBER = 1\n")}


def test_nothing_is_written_beside_it(root: Path) -> None:
    load(root, SIZE)

    assert [path.name for path in root.rglob("*")] == ["ci", "ours.py"]


def test_a_file_that_is_gone_while_it_is_looked_for(root: Path) -> None:
    with pytest.raises(PluginError, match=r"^ci/ours\.py is not there$"):
        inhouse.read(root, "ci/ours.py")


# --- in a project ---


@pytest.fixture
def ours(lab: Lab) -> Lab:
    """A project whose one plugin is a file that does everything."""
    (lab.root / "ci").mkdir()
    (lab.root / "ci" / "ours.py").write_text(EVERYTHING)
    lab.toml(PIPELINE, ("./ci/ours.py",))
    return lab


def change(lab: Lab, old: str = '"first"', new: str = '"second"') -> str:
    path = lab.root / "ci" / "ours.py"
    text = path.read_text().replace(old, new)
    path.write_text(text)
    return text


def parsed(lab: Lab, *arguments: str) -> Any:
    """The document that a command prints; what it says besides goes elsewhere."""
    code = "from penstock.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=lab.root, capture_output=True, text=True, check=False, timeout=60)
    return json.loads(done.stdout)


def test_every_hook_of_a_file_is_used(ours: Lab) -> None:
    code, said = ours.run("run", "--approve", "live")

    assert code == 0, said
    assert set(ours.states().values()) == {"passed"}
    assert (ours.root / "place").read_text().startswith("sha256:")
    assert "run.finished" in (ours.root / "ci" / "seen.txt").read_text()
    assert ours.run("greet") == (0, "first: hello from ours.py\n")
    assert not list(ours.root.rglob("__pycache__"))


def test_a_refusal_of_a_file_stops_the_deployment(ours: Lab) -> None:
    (ours.root / "frozen").touch()

    assert ours.run("run", "--approve", "live")[0] == 1

    assert ours.reason("deploy.live") == "nothing is deployed today (freeze)."


def test_the_digest_is_part_of_the_plan_and_of_the_provenance(ours: Lab) -> None:
    plan = parsed(ours, "plan", "--json")
    assert plan["plugins"] == {"ours": sha256(EVERYTHING)}
    assert plan["files"] == [{"name": "ours", "path": "ci/ours.py", "digest": sha256(EVERYTHING)}]
    assert ours.run("run", "--only", "build.it")[0] == 0
    [finished] = [e for e in ours.events() if e.type == "step.finished" and e.step == "build.it"]
    statement = json.loads(finished.data["statements"][finished.data["evidence"][0]["statement"]])
    builder = statement["predicate"]["runDetails"]["builder"]
    assert builder["version"]["ours"] == sha256(EVERYTHING)
    assert builder["builderDependencies"][0] == {
        "name": "plugin ours",
        "digest": {"sha256": sha256(EVERYTHING).removeprefix("sha256:")},
        "annotations": {"path": "ci/ours.py"},
    }

    change(ours)

    assert parsed(ours, "plan", "--json")["digest"] != plan["digest"]


def test_a_run_goes_on_with_the_same_file(ours: Lab) -> None:
    assert ours.run("run")[0] == 3

    code, said = ours.run("approve", "live")

    assert code == 0, said
    assert (ours.root / "place").exists()


@pytest.mark.parametrize("command", [("resume",), ("approve", "live")], ids=" ".join)
def test_a_run_does_not_go_on_with_another_file(ours: Lab, command: tuple[str, ...]) -> None:
    assert ours.run("run")[0] == 3
    marker = "(Path(__file__).parent / 'executed').touch()"
    text = change(ours, "import click\n", f"import click\n{marker}\n")

    code, said = ours.run(*command)

    was, now = (f"{sha256(t)[7:11]}…{sha256(t)[-4:]}" for t in (EVERYTHING, text))
    assert (code, said) == (
        2,
        f"penstock: ci/ours.py has changed since run 1 began: it was {was}, and is {now}. Put it back as it "
        "was, or start anew: penstock run\n",
    )
    assert not (ours.root / "ci" / "executed").exists()
    assert not [event for event in ours.events() if event.type == "approval.given"]
    (ours.root / "ci" / "ours.py").write_text(EVERYTHING)
    assert ours.run("approve", "live")[0] == 0


def test_a_run_does_not_go_on_without_its_file(ours: Lab) -> None:
    assert ours.run("run")[0] == 3
    (ours.root / "ci" / "ours.py").unlink()

    assert ours.run("resume") == (
        2,
        "penstock: run 1 began with a plugin that is not here now: ci/ours.py is not there\n",
    )


def test_a_file_that_changes_while_it_runs_changes_nothing(ours: Lab) -> None:
    text = EVERYTHING.replace(
        "    outcome =", "    Path(__file__).write_text('raise SystemExit(7)')\n    outcome ="
    )
    (ours.root / "ci" / "ours.py").write_text(text)

    code, said = ours.run("run", "--approve", "live")

    assert code == 0, said
    assert ours.states()["verify.live"] == "passed"


def test_another_file_is_another_plan_and_needs_another_approval(ours: Lab) -> None:
    assert ours.run("run")[0] == 3
    change(ours)
    assert ours.run("run")[0] == 3
    first, second = (ours.events(number)[0].data["plan"] for number in (1, 2))
    assert first != second


def test_the_commands_that_look_around_know_it(ours: Lab) -> None:
    row = next(row for row in parsed(ours, "plugins", "list", "--json") if row["name"] == "ours")
    assert row == {
        "name": "ours",
        "version": sha256(EVERYTHING),
        "distribution": None,
        "path": "ci/ours.py",
        "enabled": True,
        "phases": ["source", "build", "test", "deploy", "verify"],
        "commands": ["greet"],
        "broken": None,
    }
    short = f"{sha256(EVERYTHING)[7:11]}…{sha256(EVERYTHING)[-4:]}"
    assert (
        f"ours         {short}  enabled  (source, build, test, deploy, verify)  adds penstock greet  ci/ours.py\n"
        in ours.run("plugins", "list")[1]
    )
    for name in ("ours", "./ci/ours.py", "ci/ours.py"):
        assert ours.run("plugins", "info", name)[1].startswith(
            f"ours {short}, in ci/ours.py\nEvery phase that the pipeline of these tests has, and every hook"
        )
    deploys = parsed(ours, "schema")["properties"]["deploy"]["additionalProperties"]["oneOf"]
    assert [choice["properties"]["path"]["default"] for choice in deploys] == ["place"]
    assert ours.run("validate")[1] == "penstock.toml is right: 6 steps, plugins ours\n"
    assert f"ci/ours.py is the plugin ours: {sha256(EVERYTHING)}\n" in ours.run("doctor")[1]


def test_settings_of_a_file_are_checked_with_the_line(ours: Lab) -> None:
    ours.toml(
        PIPELINE.replace('[deploy.live]\nuses = "ours"', '[deploy.live]\nuses = "ours"\npaht = "x"'),
        ("./ci/ours.py",),
    )

    assert ours.run("validate") == (
        2,
        'penstock: penstock.toml:15: [deploy.live] paht: there is no such key. Did you mean "path"? '
        "The keys are path, and those of every section\n",
    )


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_a_file_that_is_not_there_is_a_fault_of_the_configuration(lab: Lab, command: str) -> None:
    lab.toml("", ("./ci/ours.py",))

    code, said = lab.run(command)

    assert code == 2
    assert said.startswith("penstock: penstock.toml:2: [penstock] plugins: ci/ours.py is not there\n")


def test_what_only_looks_around_works_with_a_file_that_is_not_there(lab: Lab) -> None:
    lab.toml("", ("./ci/ours.py",))

    rows = parsed(lab, "plugins", "list", "--json")

    assert [(r["enabled"], r["broken"]) for r in rows if r["name"] == "ours"] == [
        (True, "ci/ours.py is not there")
    ]
    assert lab.run("plugins", "info", "ours")[0] == 4
    assert "properties" in parsed(lab, "schema")
    assert lab.run("--help")[0] == 0


def test_a_broken_file_hurts_the_steps_that_use_it_alone(lab: Lab) -> None:
    (lab.root / "ours.py").write_text(SIZE)
    (lab.root / "bad.py").write_text("import json\nx = (")
    (lab.root / "all.py").write_text(EVERYTHING)
    lab.toml('[build.it]\nuses = "all"\n[test.size]\nuses = "ours"\n', ("./all.py", "./ours.py", "./bad.py"))
    assert lab.run("run")[0] == 0
    assert lab.log("test.size") == "measured by penstock_inhouse_ours\n"

    lab.toml('[build.it]\nuses = "all"\n[test.size]\nuses = "bad"\n', ("./all.py", "./ours.py", "./bad.py"))

    assert lab.run("run") == (
        2,
        'penstock: penstock.toml:6: [test.size] uses: the plugin "bad" (of bad.py) can\'t be used: line 2: '
        "SyntaxError: '(' was never closed\n",
    )


def test_nothing_is_deployed_while_a_plugin_that_might_refuse_it_is_broken(ours: Lab) -> None:
    (ours.root / "freeze.py").write_text("x = (")
    ours.toml(PIPELINE, ("./ci/ours.py", "./freeze.py"))
    told = (
        'penstock: penstock.toml:2: [penstock] plugins: the plugin "freeze" (of freeze.py) can\'t be used: line 1: '
        "SyntaxError: '(' was never closed. Nothing is deployed until it is repaired, or taken out here\n"
    )
    assert ours.run("validate") == (0, told + "penstock.toml is right: 6 steps, plugins ours, freeze\n")
    code, said = ours.run("run")
    assert code == 3  # all but the deployment is done
    assert told in said

    assert ours.run("approve", "live")[0] == 1

    assert ours.reason("deploy.live") == (
        "the plugin \"freeze\" is enabled and can't be used, so it can't say whether to deploy (every enabled "
        "plugin is asked). See why: penstock plugins list. Repair it or take it out of plugins, then: penstock run"
    )
    assert not (ours.root / "place").exists()


# --- the word of a plugin ---

APPROVES = """

import json
from penstock import Approval, Pending

@hookimpl
def penstock_approve(settings: Nothing, step: Step) -> Approval | Pending:
    word = step.project / "word"
    if not word.exists():
        return Pending(reason="nobody has said anything")
    given = json.loads(word.read_text())
    return Approval(by="ana", environment=given.get("environment", step.environment), plan=given.get("plan", step.plan),
                    artifacts=given.get("artifacts", [a.digest for a in step.artifacts]), given=1, expires=given.get("expires", 1e10))
"""


@pytest.fixture
def asking(ours: Lab) -> Lab:
    """The same, with an approval that a plugin gets from elsewhere."""
    (ours.root / "ci" / "ours.py").write_text(EVERYTHING + APPROVES)
    ours.toml(PIPELINE.replace("[approve.live]", '[approve.live]\nuses = "ours"'), ("./ci/ours.py",))
    return ours


def test_a_deployment_goes_ahead_on_the_word_of_a_plugin(asking: Lab) -> None:
    assert asking.run("run")[0] == 3
    assert not (asking.root / "place").exists()
    (asking.root / "word").write_text("{}")

    code, said = asking.run("resume")

    assert code == 0, said
    assert (asking.root / "place").exists()
    [given] = [event.data for event in asking.events() if event.type == "approval.given"]
    assert (given["approval"]["by"], given["approval"]["proved"]) == ("ana", False)
    assert [entry["predicate_type"] for entry in given["evidence"]] == [gates.APPROVAL]


OTHERS = {
    "environment": ({"environment": "elsewhere"}, "the approval is for elsewhere, not for live"),
    "plan": ({"plan": "sha256:" + "0" * 64}, "the approval is for another plan"),
    "artifacts": ({"artifacts": []}, "the approval is for nothing, and what would be deployed is"),
    "time": ({"expires": 2}, "the approval has expired"),
}


@pytest.mark.parametrize(("given", "reason"), OTHERS.values(), ids=OTHERS.keys())
def test_the_word_of_a_plugin_for_something_else_is_not_taken(
    asking: Lab, given: object, reason: str
) -> None:
    (asking.root / "word").write_text(json.dumps(given))

    assert asking.run("run")[0] == 1

    assert asking.reason("approve.live").startswith(reason)
    assert not (asking.root / "place").exists()
