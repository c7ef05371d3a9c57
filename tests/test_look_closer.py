"""`shell`, `get` and `diff`: a closer look at what a run did, and what it left."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.projects import Project

PIPELINE = """\
[penstock]
plugins = ["git", "shell"]

[build.app]
uses = "shell"
run = "mkdir -p site; cp source.txt site/; cp source.txt app.txt; echo twice > app.dat"
artifacts = ["app.txt", "app.dat", "site"]

[test.unit]
uses = "shell"
run = "cp unit.xml report.xml; touch left-behind; grep -q good source.txt"
reports = ["report.xml"]
env = {{ COLOUR = "blue" }}
secrets = {{ TOKEN = "env:UNIT_TOKEN" }}

[scan.words]
uses = "shell"
run = "cp words.sarif out.sarif"
reports = ["out.sarif"]
timeout = "{timeout}"
secrets = {{ OTHER = "env:SCAN_TOKEN" }}
"""
SECRETS = {"UNIT_TOKEN": "unit-token-value", "SCAN_TOKEN": "scan-token-value"}


def junit(**cases: bool) -> str:
    tests = "".join(
        f'<testcase classname="t" name="{name}">{"" if good else "<failure>no</failure>"}</testcase>'
        for name, good in cases.items()
    )
    return f'<testsuite name="s" tests="{len(cases)}">{tests}</testsuite>'


def sarif(*rules: str) -> str:
    results = [{"ruleId": rule, "level": "note", "message": {"text": rule}} for rule in rules]
    tool = {"driver": {"name": "words", "version": "2"}}
    return json.dumps({"version": "2.1.0", "runs": [{"tool": tool, "results": results}]})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Run 1 passed and run 2 failed, of another revision and configuration."""
    place = tmp_path_factory.mktemp("closer")
    made = Project.make(place / "project", place / "data")
    made.env |= SECRETS
    made.commit(
        {
            "penstock.toml": PIPELINE.format(timeout="1m"),
            "source.txt": "good\n",
            "unit.xml": junit(one=True, two=True, three=True),
            "words.sarif": sarif("old"),
        }
    )
    made.passes("run")
    made.commit(
        {
            "penstock.toml": PIPELINE.format(timeout="2m"),
            "source.txt": "bad\n",
            "unit.xml": junit(one=False, two=True, four=True),
            "words.sarif": sarif("new"),
            "more.txt": "more\n",
        }
    )
    assert made.run("run").code == 1
    return made


# --- shell ---


def test_a_command_runs_where_the_step_ran_with_its_files_and_variables(project: Project) -> None:
    done = project.run("shell", "test.unit", "--", "sh", "-c", "pwd; ls -A; env; exit 7")
    assert done.code == 7
    place, *lines = done.out.splitlines()
    files, variables = (
        lines[: lines.index("words.sarif") + 1],
        dict(line.partition("=")[::2] for line in lines if "=" in line),
    )
    assert files == ["more.txt", "penstock.toml", "source.txt", "unit.xml", "words.sarif"]
    assert (variables["PENSTOCK_RUN"], variables["PENSTOCK_STEP"]) == ("2", "test.unit")
    assert variables["COLOUR"] == "blue"
    assert not {"TOKEN", "UNIT_TOKEN", "SCAN_TOKEN", "OTHER"} & variables.keys()
    assert variables["TMPDIR"].startswith(str(Path(place).parent))
    assert not Path(place).parent.exists()
    done = project.run("shell", "--secrets", "1", "test.unit", "--", "sh", "-c", "cat source.txt; env")
    assert done.out.startswith("good\n")
    assert "\nTOKEN=unit-token-value\n" in done.out
    assert "scan-token-value" not in done.out


def test_commands_may_come_from_a_pipe(project: Project) -> None:
    done = subprocess.run(
        [project.penstock, "shell", "last", "build.app"],
        cwd=project.root,
        env=project.env,
        input="cat source.txt; sleep 300 & exit 5",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "bad\n", "")


def test_a_shell_says_where_one_is_and_is_removed_at_the_end(project: Project) -> None:
    leader, follower = pty.openpty()
    shell = subprocess.Popen(
        [project.penstock, "shell", "test.unit"],
        cwd=project.root,
        env={**project.env, "SHELL": "/bin/bash", "TERM": "dumb"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    seen = read_until(leader, "(run 2 test.unit)")
    assert "Where test.unit of run 2 ran (failed)" in seen
    assert "What it left behind is not here" in seen
    assert "secret    TOKEN is not set; --secrets hands it over" in seen
    assert "artifact  app.txt" in seen
    os.write(leader, b"cat source.txt; ls left-behind\n")
    seen = read_until(leader, "No such file")
    assert "bad" in seen
    shell.send_signal(signal.SIGTERM)
    assert shell.wait(timeout=60) == 143
    os.close(leader)
    assert not list((project.root / ".penstock" / "workspaces").glob("shell-*"))


def read_until(terminal: int, wanted: str) -> str:
    seen, deadline = "", time.monotonic() + 60
    while wanted not in seen:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], seen
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "penstock: name a step, such as: penstock shell last test.unit\n"),
        (["9", "test.unit"], 2, "penstock: there is no run 9. The runs: penstock runs\n"),
        (["unit"], 2, 'penstock: run 2 has no step "unit". Did you mean "test.unit"?\n'),
        (
            ["build.app", "--", "no-such-program"],
            127,
            "penstock: no-such-program is not on the PATH of the step\n",
        ),
        (
            ["build.app", "--", "./source.txt"],
            126,
            "penstock: ./source.txt can't be run: Permission denied\n",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_shell_that_can_not_be_opened(
    project: Project, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = project.run_here(capsys, "shell", *arguments)
    assert (done.code, done.out, done.err) == (code, "", message)


# --- get ---


def test_get_writes_what_was_kept_whole_and_over_nothing(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = {a["name"]: a["digest"] for a in project.step("build.app", "1")["artifacts"]}
    project.passes("get", "1", "app.txt", "-o", f"{tmp_path}/new/")
    assert (tmp_path / "new" / "app.txt").read_text() == "good\n"
    target = tmp_path / "app"
    target.write_text("mine")
    done = project.run_here(capsys, "get", "app.txt", "-o", str(target))
    assert (done.code, target.read_text()) == (2, "mine")
    assert done.err == (
        f"penstock: {target} is there already, and is left as it is. "
        "Replace it with --force, or write elsewhere with -o\n"
    )
    project.passes("get", "app.txt", "-o", str(target), "--force")
    assert target.read_text() == "bad\n"
    assert project.passes("get", digest["app.txt"][7:15], "-o", "-").out == "good\n"
    project.passes("get", "1", "site", "-o", str(tmp_path / "site"))
    assert (tmp_path / "site" / "source.txt").read_text() == "good\n"
    done = project.run_here(capsys, "get", "site", "-o", "-")
    assert "is a directory, and can't be written to standard output" in done.err
    report = json.loads(project.passes("get", "1", "test.unit", "-o", "-").out)
    assert [case["name"] for case in report["cases"]] == ["t::one", "t::two", "t::three"]
    # A device is nobody's to replace, and a directory takes no place but a free one.
    (tmp_path / "link").symlink_to(os.devnull)
    for arguments in (("app.txt", "link"), ("site", "app")):
        done = project.run_here(
            capsys, "get", "1", arguments[0], "-o", str(tmp_path / arguments[1]), "--force"
        )
        assert (done.code, done.err) == (
            2,
            f"penstock: {tmp_path / arguments[1]} is there already, and only a file can take the place of a file\n",
        ), arguments
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app", "link", "new", "site"]


def test_get_checks_the_bytes_on_the_way(project: Project, tmp_path: Path) -> None:
    [digest] = [a["digest"] for a in project.step("build.app")["artifacts"] if a["name"] == "app.dat"]
    place = project.stored(digest)
    whole = place.read_bytes()
    place.chmod(0o600)
    place.write_bytes(b"other\n")
    try:
        for output in ("-", str(tmp_path / "x")):
            done = project.run("get", "app.dat", "-o", output)
            assert (done.code, done.out) == (1, "")
            assert "were changed after they were kept" in done.err
        assert not list(tmp_path.iterdir())
    finally:
        place.write_bytes(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a digest, or an artifact of a run. What a run built: penstock show last"),
        (["app.tx"], 'run 2 has no artifact "app.tx". Did you mean "app.txt"?'),
        (["7", "app.txt"], "there is no run 7. The runs: penstock runs"),
        (
            ["1", "app.txt", "more"],
            'name one artifact at a time: "more" is too much. If it is where to write: -o more',
        ),
        (["0" * 64], 'run 2 has no artifact "' + "0" * 64 + '", and no digest in the store begins so'),
        (["sha256:" + "0" * 64], "the store has nothing under sha256:" + "0" * 64),
        (["app.txt", "-o", ""], '-o: "" is no path'),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else "",
)
def test_get_of_what_is_not_there(
    project: Project, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = project.run_here(capsys, "get", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"penstock: {message}")


def test_a_beginning_that_several_digests_have_is_no_name(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    store = project.root / ".penstock" / "artifacts"
    first = next(place.name for place in sorted(store.glob("??")) if len(list(place.iterdir())) > 1)
    done = project.run_here(capsys, "get", f"sha256:{first}")
    assert done.code == 2
    assert f"digests are like sha256:{first}: sha256:{first}" in done.err
    assert done.err.endswith("Give more of it\n")


# --- diff ---


def test_diff_says_what_differs_the_most_telling_first(project: Project) -> None:
    done = project.passes("diff", "1")
    first, *lines = done.out.splitlines()
    assert first.startswith("Run 1 passed in ")
    assert "run 2 failed in " in first
    text = "\n".join(line for line in lines if " s →" not in line and "→ sha" not in line)
    assert text.startswith(
        """\
steps
  passed → failed  test.unit
tests
  now failing  test.unit: t::one
  new  test.unit: t::four
  gone  test.unit: t::three
  3 passed → 2 passed, 1 failed
findings
  new  low new (scan.words)
  gone  low old (scan.words)
revision
"""
    ), done.out
    assert "  changed  source.txt\n" in text
    assert "  added  more.txt\n" in text
    assert "configuration\n  [scan.words] timeout: 60 → 120\nartifacts\n" in text
    assert "  app.txt  " in text
    assert "app.dat" not in text
    document = project.json("diff", "1", "2")
    assert document["tests"]["failing"] == ["test.unit: t::one"]
    assert document["revision"]["files"]["added"] == ["more.txt"]
    assert document["configuration"]["changed"] == {"scan.words": {"timeout": [60.0, 120.0]}}
    back = project.json("diff", "2", "1")
    assert back["tests"]["passing"] == ["test.unit: t::one"]
    assert back["tests"]["counts"] == document["tests"]["counts"][::-1]


def test_diff_of_one_run_and_of_none(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run_here(capsys, "diff", "2", "last").out == "Run 2 is one run: nothing differs.\n"
    done = project.run_here(capsys, "diff", "1", "3")
    assert (done.code, done.out, done.err) == (
        2,
        "",
        "penstock: there is no run 3. The runs: penstock runs\n",
    )


def test_show_takes_a_step_alone(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run_here(capsys, "show", "test.unit").out.startswith("✗ test.unit  1 of 3 failed")
    assert project.json("show", "scan.words")["name"] == "scan.words"
    done = project.run_here(capsys, "show", "1", "test.unit", "more")
    assert (done.code, done.err) == (2, 'penstock: name one run and one step at most: "more" is too much\n')
    done = project.run_here(capsys, "show", "tost.unit")
    assert (done.code, done.err) == (
        2,
        'penstock: run 2 has no step "tost.unit". Did you mean "test.unit"?\n',
    )
