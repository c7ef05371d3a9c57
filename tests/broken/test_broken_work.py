"""Reports, artifacts and secrets that are not there, or not what they should be: each a step of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.broken.place import Place, Said, Warm

DTD = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><testsuite name="&b;"/>'
BAD_XML = "is not well-formed XML"

REPORTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "r is empty"),
    "blank": (b" \n", "r is empty"),
    "cut": (b'<testsuite><testcase name="a"/>', f"r {BAD_XML}: no element found: line 1, column 31"),
    "entities": (DTD, "r holds a DTD or entities, which JUnit XML has no use for"),
    "root": (b"<html/>", "r is not JUnit XML: its root element is <html>"),
    "text": (b"hello", "r is neither JUnit XML nor SARIF"),
    "nul": (b"\0\0\0", "r is neither JUnit XML nor SARIF"),
    "latin": (
        b'<testsuite><testcase name="\xe9"/></testsuite>',
        f"r {BAD_XML}: not well-formed (invalid token): line 1, column 27",
    ),
    "cutjson": (b'{"runs": [', "r is not JSON: Expecting value: line 1 column 11 (char 10)"),
    "json": (b'{"a": 1}', "r is JSON, but not SARIF: it has no runs"),
    "list": (b"[]", "r is neither JUnit XML nor SARIF"),
    "oldsarif": (b'{"version": "1.0.0", "runs": []}', "r is SARIF 1.0.0; only 2.1.0 is read"),
}
STEPS: dict[str, tuple[str, str, str]] = {
    # section, state, reason
    "test.nocases": (
        'uses = "shell"\nrun = "echo \'<testsuites/>\' > r"\nreports = ["r"]\n',
        "refused",
        "no test was found: a test step without a test does not pass",
    ),
    "test.noreport": (
        'uses = "shell"\nrun = "true"\nreports = ["reports/*.xml"]\n',
        "failed",
        'reports: nothing matches "reports/*.xml" after the command. The command `true` ended with status 0',
    ),
    "test.old": (
        'uses = "shell"\nrun = "true"\nreports = ["source.txt"]\n',
        "failed",
        "reports: source.txt was there before the command ran, and it wrote nothing new: old results are not "
        "taken. The command `true` ended with status 0",
    ),
    "test.linked": (
        'uses = "shell"\nrun = "ln -s /etc/passwd r"\nreports = ["r"]\n',
        "failed",
        "reports: r is a symbolic link. Write the report itself there. "
        "The command `ln -s /etc/passwd r` ended with status 0",
    ),
    "test.pipe": (
        'uses = "shell"\nrun = "mkfifo r"\nreports = ["r"]\n',
        "failed",
        "reports: r is not a regular file. The command `mkfifo r` ended with status 0",
    ),
    "test.fails": ('uses = "shell"\nrun = "exit 3"\n', "failed", "`exit 3` ended with status 3"),
    "test.lies": (
        """uses = "shell"\nrun = '''echo '<testsuite><testcase name="a"/></testsuite>' > r; exit 3'''\nreports = ["r"]\n""",
        "failed",
        "1 of 2 failed",
    ),
    "test.noprogram": (
        'uses = "shell"\nrun = "nowhere-to-be-found"\n',
        "failed",
        "`nowhere-to-be-found` ended with status 127 (a program in it was not found)",
    ),
    "test.noargv": (
        'uses = "shell"\nrun = ["nowhere-to-be-found"]\n',
        "failed",
        "nowhere-to-be-found is not on the PATH, so it can't be run. Install it, or add its directory to PATH",
    ),
    "test.nocwd": (
        'uses = "shell"\nrun = "true"\ncwd = "gone"\n',
        "failed",
        'cwd: "gone" is no directory of the workspace. Is it committed?',
    ),
    "test.killed": ('uses = "shell"\nrun = "kill -9 $$"\n', "failed", "`kill -9 $$` was ended by SIGKILL"),
    "scan.nothing": (
        'uses = "shell"\nrun = "true"\nreports = ["r"]\n',
        "failed",
        'reports: nothing matches "r" after the command. The command `true` ended with status 0',
    ),
    "scan.xml": (
        'uses = "shell"\nrun = "echo \'<testsuites/>\' > r"\nreports = ["r"]\n',
        "failed",
        "reports: r is XML, and a scan reads SARIF 2.1.0. The command `echo '<testsuites/>' > r` ended with status 0",
    ),
    "build.none": (
        'uses = "shell"\nrun = "true"\nartifacts = ["dist/*"]\n',
        "failed",
        'artifacts: nothing matches "dist/*" in the workspace after the step',
    ),
    "build.links": (
        'uses = "shell"\nrun = "mkdir dist; ln -s /etc/passwd dist/a"\nartifacts = ["dist/*"]\n',
        "failed",
        'artifacts: nothing but symbolic links matches "dist/*" in the workspace after the step',
    ),
    "build.outside": (
        'uses = "shell"\nrun = "ln -s /etc dist"\nartifacts = ["dist/passwd"]\n',
        "failed",
        'artifacts: "dist/passwd" leads out of the workspace, through a symbolic link',
    ),
    "build.pipe": (
        'uses = "shell"\nrun = "mkfifo a"\nartifacts = ["a"]\n',
        "failed",
        "a can't be kept: it is neither a file nor a directory",
    ),
    "build.nothing": (
        'uses = "shell"\nrun = "true"\n',
        "failed",
        'it built nothing: say with `artifacts = ["dist/*"]` which files it leaves',
    ),
}
SECRETS: dict[str, tuple[str, str]] = {
    "unset": (
        "env:NOT_THERE",
        'the secret "env:NOT_THERE" is not there: the variable NOT_THERE is not set. Set it, and: penstock run',
    ),
    "empty": ("env:EMPTY", 'the secret "env:EMPTY" is empty. Set it to another'),
    "short": (
        "env:SHORT",
        'the secret "env:SHORT" is shorter than 4 bytes, and could not be kept out of logs. Set it to another',
    ),
    "gone": ("file:{here}/gone", 'the secret "file:/gone" can\'t be read: No such file or directory'),
    "directory": ("file:{here}/tmp", 'the secret "file:/tmp" can\'t be read: Is a directory'),
    "dangling": ("file:{here}/link", 'the secret "file:/link" can\'t be read: No such file or directory'),
    "latin": ("file:{here}/latin", 'the secret "file:/latin" is no UTF-8 text. Keep it in base64, say'),
    "endless": ("file:/dev/zero", 'the secret "file:/dev/zero" is larger than 1 MiB: is it the right file?'),
    "nobody": (
        "file:~nobodyhere/x",
        'the secret "file:~nobodyhere/x" can\'t be read: Could not determine home directory.',
    ),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> tuple[Place, Said]:
    """One run with a step for each."""
    place = Place.make(tmp_path_factory.mktemp("work"), warm)
    (place.base / "latin").write_bytes(b"\xe9\xe9\xe9\xe9")
    (place.base / "link").symlink_to("nowhere")
    text = ""
    for name, (body, _) in REPORTS.items():
        (place.base / name).write_bytes(body) if not (place.base / name).exists() else None
        (place.base / f"{name}.report").write_bytes(body)
        run = f"cat {place.base}/{name}.report > r"
        text += f'[test.{name}]\nuses = "shell"\nrun = {json.dumps(run)}\nreports = ["r"]\n'
    for name, (section, _, _) in STEPS.items():
        text += f"[{name}]\n{section}"
    for name, (reference, _) in SECRETS.items():
        text += f'[test.secret-{name}]\nuses = "plain"\nsecrets = {{ TOKEN = "{reference}" }}\n'
    place.plugin("tells", "@hookimpl\ndef penstock_test(step): step.run(['echo', step.secret('TOKEN')])")
    text += '[test.tells]\nuses = "tells"\nsecrets = { TOKEN = "env:GOOD" }\n'
    # One that waits for all builds would not start: here each is to be tried.
    text = text.replace("\nuses = ", "\nneeds = []\nuses = ")
    place.toml(text, ("plain", "shell", "tells"))
    return place, place.run("run", env={"EMPTY": "", "SHORT": "abc", "GOOD": "hunter2hunter2"}, within=200)


@pytest.fixture(scope="module")
def steps(ran: tuple[Place, Said]) -> dict[str, tuple[str, str]]:
    place, _ = ran
    return {step["name"]: (step["state"], place.same(step["reason"])) for step in place.json("show")["steps"]}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_that_can_not_be_read(steps: dict[str, tuple[str, str]], name: str) -> None:
    command = f"The command `cat /{name}.report > r` ended with status 0"
    state, reason = steps[f"test.{name}"]

    assert state == "failed"
    said, _, rest = reason.partition(". The command `")
    assert said == f"reports: {REPORTS[name][1]}"
    assert rest.endswith("` ended with status 0"), command


@pytest.mark.parametrize("name", STEPS)
def test_work_that_comes_to_nothing(steps: dict[str, tuple[str, str]], name: str) -> None:
    _, state, reason = STEPS[name]

    assert steps[name] == (state, reason)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_can_not_be_had(steps: dict[str, tuple[str, str]], name: str) -> None:
    assert steps[f"test.secret-{name}"] == ("failed", SECRETS[name][1])


def test_a_secret_on_the_command_line(ran: tuple[Place, Said], steps: dict[str, tuple[str, str]]) -> None:
    place, done = ran

    assert steps["test.tells"] == (
        "failed",
        "test.tells: a secret stands on the command line of echo, where every user of the machine can read it. "
        "Hand it over in the environment",
    )
    assert "hunter2" not in done.out + done.err
    for path in (place.root / ".penstock").rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_each_failed_step_is_told_once_with_the_end_of_what_it_printed(place: Place) -> None:
    place.toml('[test.a]\nuses = "shell"\nrun = "echo one; echo two >&2; exit 3"\n', ("plain", "shell"))

    done = place.run("run")

    assert (done.code, done.err) == (1, "")
    assert done.out == (
        "✓ source  snapshot of c0ffee0\n"
        "✗ test.a  `echo one; echo two >&2; exit 3` ended with status 3\n"
        "    one\n"
        "    two\n"
        "\n"
        "Failed in N s. Run 1.\n"
        "  penstock logs last test.a      whole output\n"
        "  penstock shell last test.a     a shell where it failed\n"
    )


def test_a_step_that_needs_what_failed_is_not_started(place: Place) -> None:
    place.toml(
        '[build.a]\nuses = "shell"\nrun = "false"\nartifacts = ["x"]\n[test.b]\nuses = "shell"\nrun = "true"\n',
        ("plain", "shell"),
    )

    assert place.run("run").code == 1
    assert place.states() == {"source": "passed", "build.a": "failed", "test.b": "skipped"}
    assert not Path(place.root / "x").exists()
