from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from penstock.cli import _COMMANDS, cli
from penstock.cli.complete import USAGE, Usage, completions
from penstock.cli.completion import completion
from penstock.home import Home
from penstock.journal import Journal, New

PROJECT = """\
[penstock]
plugins = ["git", "shell"]
[build.wheel]
uses = "python"
[test.unit]
uses = "pytest"
[test.e2e]
uses = "pytest"
environment = "staging"
[deploy.staging]
uses = "local"
[approve.production]
[deploy.live]
uses = "local"
environment = "production"
"""
DIGESTS = ["sha256:" + letter * 64 for letter in "abc"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project with three runs: one passed, one waits, one was cut off."""
    (tmp_path / "penstock.toml").write_text(PROJECT)
    home = Home.of(tmp_path)
    journal = Journal(home.journal)
    plan = home.store.add_bytes(
        b'{"steps": [{"name": "source", "uses": null}, {"name": "scan.old", "uses": "trivy"}]}'
    )
    for digest, end in zip(DIGESTS, ("run.finished", "run.waiting", None), strict=True):
        run, _ = journal.begin([New("run.started", None, {"plan": plan}, 1.0)])
        artifact = {"name": "app.whl", "kind": "wheel", "digest": digest}
        events = [New("step.finished", "build.wheel", {"state": "passed", "artifacts": [artifact]}, 2.0)]
        if end:
            events.append(New(end, None, {"state": "passed"}, 3.0))
        journal.append(run, events)
    return tmp_path


def offered(place: Path, line: str, shell: str = "bash") -> list[str]:
    """What is offered at the end of a line, as its shell gets it."""
    words = line.split(" ")
    env = {
        **os.environ,
        "COMP_WORDS": "\n".join(words) if shell == "bash" else line,
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
        "_PENSTOCK_COMPLETE": f"{shell}_complete",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from penstock.cli import main; main()"],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


STEPS = [
    "source",
    "build.wheel",
    "test.unit",
    "test.e2e",
    "approve.production",
    "deploy.staging",
    "deploy.live",
]
OFFERED = {
    "penstock r": ["run", "rollback", "resume", "rerun", "reject", "report", "runs"],
    "penstock run --only ": STEPS,
    "penstock run --only test": ["test.unit", "test.e2e"],
    "penstock run --only test.unit --only test.e": ["test.e2e"],
    "penstock run --to ": ["staging", "production"],
    "penstock run --to = pro": ["production"],
    "penstock run --approve pr": ["production"],
    "penstock run --d": ["--dirty"],
    "penstock run ": [],
    "penstock show ": ["last", "3", "2", "1", *STEPS],
    "penstock rerun 1 --from sc": ["scan.old"],
    "penstock diff 2 ": ["last", "3", "1"],
    "penstock shell last s": ["source", "scan.old"],
    "penstock get 2 ": ["app.whl"],
    "penstock get a": ["app.whl", "a" * 64],
    "penstock show last ": ["source", "scan.old"],
    "penstock logs 1 sc": ["scan.old"],
    "penstock logs ": ["last", "3", "2", "1", *STEPS, "staging", "production"],
    "penstock logs -f last s": ["source", "scan.old"],
    "penstock approve ": ["2", "staging", "production"],
    "penstock approve 2 ": ["staging", "production"],
    "penstock reject --why nothing 2 p": ["production"],
    "penstock resume ": ["last", "3", "2"],
    "penstock rollback ": ["staging", "production"],
    "penstock status st": ["staging"],
    "penstock verify b": ["b" * 64],
    "penstock approve --digest c": ["c" * 64],
    "penstock plugins ": ["list", "info", "new"],
    "penstock plugins info gi": ["git"],
    "penstock completion ": ["bash", "zsh", "fish"],
    "penstock nothing ": [],
    "penstock validate ": [],
}


@pytest.mark.parametrize(("line", "values"), OFFERED.items(), ids=OFFERED)
def test_what_may_follow_is_offered(
    place: Path, line: str, values: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    *words, incomplete = line.split(" ")[1:]

    found = completions(_COMMANDS, words, incomplete) or []

    assert [item.value for item in found if item.type == "plain"] == values


def test_each_shell_gets_it_as_its_script_reads_it(place: Path) -> None:
    assert offered(place, "penstock run --to st") == ["plain,staging"]
    assert offered(place, "penstock run --to st", "fish") == ["plain,staging"]
    assert offered(place, "penstock resume ", "zsh") == [
        *("plain", "last", "running"),
        *("plain", "3", "running"),
        *("plain", "2", "waiting"),
    ]
    assert offered(place, "penstock verify sha256:b", "zsh")[:3] == [
        "plain",
        "sha256\\:" + "b" * 64,
        "app.whl",
    ]
    assert offered(place, "penstock -C sub", "bash") == ["dir,sub"]


def test_another_directory_is_looked_at(place: Path) -> None:
    elsewhere = place.parent

    assert offered(elsewhere, f"penstock -C {place.name} run --to st") == ["plain,staging"]


BROKEN = {
    "no project": lambda place: (place / "penstock.toml").unlink(),
    "not TOML": lambda place: (place / "penstock.toml").write_text("[penstock"),
    "no tables": lambda place: (place / "penstock.toml").write_text("deploy = 3\ntest = [1]\n"),
    "no journal": lambda place: (place / ".penstock" / "journal.db").unlink(),
    "another journal": lambda place: (place / ".penstock" / "journal.db").write_bytes(b"x" * 5000),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_what_can_not_be_read_is_passed_over_in_silence(
    place: Path, damage: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (place / ".penstock").glob("journal.db-*"):
        path.unlink(missing_ok=True)  # whoever closed the journal last removes them
    damage(place)
    monkeypatch.chdir(place)

    for words in (["run", "--to"], ["show"], ["show", "last"], ["verify"], ["approve"]):
        found = completions(_COMMANDS, words, "") or []
        assert [item.value for item in found if item.type == "plain"] in (
            [],
            ["staging", "production"],
            ["last", "3", "2", "1"],
            STEPS,
            ["last", "3", "2", "1", *STEPS],
            ["source", "scan.old"],
            [digest[7:] for digest in reversed(DIGESTS)],
            ["2", "staging", "production"],
            ["2"],
        )
    assert offered(place, "penstock run --only ") in ([], [f"plain,{name}" for name in STEPS])


def test_a_tab_imports_neither_pydantic_nor_any_plugin(place: Path) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('\\n'.join(sys.modules)))\n"
        "from penstock.cli import main\nmain()"
    )
    for line in ("penstock ", "penstock run --only ", "penstock verify ", "penstock plugins info "):
        words = line.split(" ")
        env = {
            **{name: value for name, value in os.environ.items() if "COVERAGE" not in name},
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
            "_PENSTOCK_COMPLETE": "bash_complete",
        }
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True, check=True
        )
        loaded = {name.split(".")[0] for name in done.stdout.split()}
        assert not loaded & {"pydantic", "pluggy", "cryptography", "asyncio"}, line
        assert not {name for name in loaded if name.startswith("penstock_")}, line


# --- the table is what the commands take ---


def commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in _COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {inner}": each for inner, each in below.items()} or {name: command}
    return found


def taken(command: click.Command) -> str:
    """What a command takes, as the table says it."""
    arguments = ["ARGUMENT"] * sum(isinstance(entry, click.Argument) for entry in command.params)
    options = [entry for entry in command.params if isinstance(entry, click.Option)]
    return " ".join(
        (*arguments, *(name + ("" if option.is_flag else "=") for option in options for name in option.opts))
    )


AS_WORDS = ("logs", "show", "shell", "get", "approve", "reject")


def test_the_table_says_what_the_commands_take() -> None:
    said = {}
    for name, text in USAGE.items():
        usage = Usage.read(text)
        # What is written as words with a meaning each is one argument for click.
        count = min(1, len(usage.arguments)) if name in AS_WORDS else len(usage.arguments)
        options = (option + ("=" if value else "") for option, value in usage.options.items())
        said[name] = " ".join((*["ARGUMENT"] * count, *options))

    assert said == {name: taken(command) for name, command in commands().items()}


# --- a shell ---


def in_bash(place: Path, script: str) -> list[str]:
    """What bash prints, with completion set up as `penstock completion bash` says."""
    done = subprocess.run(
        ["bash", "--norc", "-c", 'eval "$(penstock completion bash)"\n' + script],
        cwd=place,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes(place: Path) -> None:
    script = (
        "COMP_WORDS=(penstock run --only test.); COMP_CWORD=3; _penstock_completion penstock\n"
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p penstock'
    )

    assert in_bash(place, script) == [
        "test.unit",
        "test.e2e",
        "complete -o nosort -F _penstock_completion penstock",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_says_where_it_belongs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    completion.main([shell], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()

    assert lines[-1].startswith("# ")
    assert any("penstock completion" in line for line in lines if line.startswith("# "))
    assert shell != "zsh" or lines[0] == "#compdef penstock"


def test_a_shell_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/tcsh")
    with pytest.raises(Exception, match='no completion for "tcsh": penstock completion bash, zsh or fish'):
        completion.main([], standalone_mode=False)
