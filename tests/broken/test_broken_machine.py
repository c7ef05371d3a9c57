"""A machine that is full, read-only, or lacks what every program takes for granted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.broken.place import PENSTOCK, Place, Said
from tests.projects import namespace

PIPELINE = """
[build.box]
uses = "plain"

[deploy.live]
uses = "plain"
place = "{here}/live"
"""
JOURNAL = "penstock: the journal /project/.penstock/journal.db"
AGAIN = "A run that was cut off goes on with: penstock resume"
GIT = '[penstock]\nplugins = ["git", "shell"]\n\n[test.a]\nuses = "shell"\nrun = "ls"\n'
PASSED = "✓ source  snapshot of {0}\n✓ test.a  ls\n\nPassed in N s. Run {1}.\n"


def with_mount(place: Place, mount: str, *words: str) -> Said:
    """Run a command after a mount that nobody else sees."""
    script = f'mount {mount} || exit 99; exec "$@"'
    return place.run(argv=[*namespace(), "sh", "-c", script, "sh", str(PENSTOCK), *words])


def small(place: Place, size: str) -> str:
    """A `.penstock` of so many bytes."""
    (place.root / ".penstock").mkdir(exist_ok=True)
    return f"-t tmpfs -o size={size} none {place.root}/.penstock"


def read_only(place: Place) -> str:
    return f"--bind {place.root} {place.root} && mount -o remount,ro,bind {place.root}"


# --- the disk ---


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ("4k", f"{JOURNAL} can't be opened: the disk is full. Make room. {AGAIN}\n"),
        ("16k", f"{JOURNAL} can't be opened: the disk is full, or fails. Make room, or mend it. {AGAIN}\n"),
        ("60k", f"{JOURNAL} can't be opened: the disk is full, or fails. Make room, or mend it. {AGAIN}\n"),
        (
            "600k",
            "penstock: build.box: the disk is full. The whole story: penstock logs 1 build.box. Make room. "
            "Then: penstock resume 1\n",
        ),
    ],
)
def test_a_full_disk_is_named_by_whatever_meets_it_first(place: Place, size: str, why: str) -> None:
    place.plugin("fat", FAT)
    place.toml(PIPELINE.replace("plain", "fat", 1), ("plain", "fat"))

    done = with_mount(place, small(place, size), "run")

    assert (done.code, done.err) == (4, why)
    assert not (place.base / "live").exists()


FAT = """
@hookimpl
def penstock_build(step):
    (step.workspace / "fat").write_bytes(os.urandom(6 << 20))
    return [step.keep(step.workspace / "fat", "file")]
"""


def test_a_store_that_is_full_stops_the_run_where_it_is(place: Place) -> None:
    place.plugin("fat", FAT)
    place.toml(PIPELINE.replace("plain", "fat", 1), ("plain", "fat"))

    done = with_mount(place, small(place, "8m"), "run")

    assert (done.code, done.err) == (
        4,
        "penstock: build.box: the artifact store /project/.penstock/artifacts can't be written: "
        "No space left on device. Make room. Then: penstock resume 1\n",
    )
    assert "build.box" not in done.out


def test_a_run_goes_on_once_there_is_room(place: Place) -> None:
    place.plugin("fat", FAT)
    place.toml(PIPELINE.replace("plain", "fat", 1), ("plain", "fat"))
    script = (
        f'mount {small(place, "600k")} || exit 99; "{PENSTOCK}" run 2>/dev/null >&2; '
        f'mount -o remount,size=60m {place.root}/.penstock; exec "{PENSTOCK}" resume'
    )

    done = place.run(argv=[*namespace(), "sh", "-c", script])

    assert (done.code, done.err) == (0, "")
    assert "✓ deploy.live" in done.out
    assert "Passed in N s. Run 1." in done.out


def test_a_file_that_may_not_grow(place: Place) -> None:
    place.toml(PIPELINE)

    done = place.run(argv=["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", str(PENSTOCK), "run"])

    assert (done.code, done.out) == (4, "")
    assert (
        done.err == f"{JOURNAL} can't be opened: the disk is full, or fails. Make room, or mend it. {AGAIN}\n"
    )


def test_a_project_that_is_read_only_and_never_ran(place: Place) -> None:
    place.toml(PIPELINE)

    for command in ("run", "show"):
        done = with_mount(place, read_only(place), command)
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            "penstock: /project/.penstock can't be made: Read-only file system. Penstock keeps its journal there\n"
        )
    assert with_mount(place, read_only(place), "validate").code == 0
    assert [path.name for path in place.root.iterdir()] == ["penstock.toml"]


def test_a_project_that_is_read_only_can_still_be_looked_at(place: Place) -> None:
    place.toml(PIPELINE)
    assert place.run("run").code == 0

    shown, ran, status = (with_mount(place, read_only(place), word) for word in ("show", "run", "status"))

    assert (shown.code, shown.err) == (0, "")
    assert (ran.code, ran.out) == (4, "")
    assert (
        ran.err == f"{JOURNAL} can't be written: it, or its disk, is read-only. Make it writable. {AGAIN}\n"
    )
    assert status.code == 1
    assert "the step can't begin: Read-only file system: /project/.penstock/" in status.out
    assert place.runs() == 1


def test_too_few_open_files(place: Place) -> None:
    place.toml(PIPELINE)

    done = place.run(argv=["sh", "-c", 'ulimit -n 12; exec "$@"', "sh", str(PENSTOCK), "run"])

    assert done.code == 4
    assert done.err == "penstock: Too many open files. Allow more: ulimit -n\n"


# --- the environment ---


@pytest.fixture
def committed(place: Place) -> Place:
    place.config.write_text(GIT)
    place.commit()
    return place


def passed(place: Place, run: int) -> str:
    return PASSED.format(place.git("rev-parse", "HEAD")[:7], run)


@pytest.mark.parametrize(
    "env",
    [
        {"HOME": None, "XDG_DATA_HOME": None},
        {"HOME": "/nonexistent", "XDG_DATA_HOME": None},
        {"HOME": "/proc", "XDG_DATA_HOME": None},
        {"PATH": None},
        {"TMPDIR": "/nonexistent"},
        {"LANG": "xx_YY.nothing", "LC_ALL": "xx_YY.nothing"},
        {"TZ": "Nowhere/Nothing", "COLUMNS": "x", "TERM": "nothing"},
    ],
    ids=lambda env: " ".join(f"{name}={value}" for name, value in env.items()),
)
def test_an_environment_that_lacks_something_is_enough(committed: Place, env: dict[str, str | None]) -> None:
    start = committed.fresh if "LANG" in env else committed.run

    done = start("run", env=env)

    assert (done.code, done.out, done.err) == (0, passed(committed, 1), "")


def test_signing_without_a_home_says_where_the_key_would_be(place: Place) -> None:
    place.toml('[build.box]\nuses = "plain"\n[sign.release]\nuses = "sigstore"\n', ("plain", "sigstore"))

    done = place.run("run", env={"HOME": "/proc/nonexistent", "XDG_DATA_HOME": None})

    assert done.code in (1, 4)
    assert place.states()["sign.release"] == "failed"
    assert "/proc/nonexistent" in place.reason("sign.release")


@pytest.mark.parametrize("tools", [(), ("sh",)], ids=["nothing", "no git"])
def test_a_path_without(committed: Place, tools: tuple[str, ...]) -> None:
    message = (
        "git is not on the PATH, or can't be run. Install it (https://git-scm.com/downloads), or add its "
        "directory to PATH"
    )
    place = committed.base / "bin"
    place.mkdir()
    for tool in tools:
        (place / tool).symlink_to(f"/bin/{tool}")

    for path in (str(place), *([] if tools else [""])):
        done = committed.run("run", env={"PATH": path})
        assert (done.code, done.err) == (1, "")
        assert f"✗ source  {message}\n" in done.out


def test_an_empty_path_does_not_lead_into_the_workspace(place: Place) -> None:
    """An empty entry of PATH is the current directory: what is committed there must not be run as a tool."""
    place.plugin(
        "tool",
        """
        @hookimpl
        def penstock_test(step):
            (step.workspace / "tool").write_text("#!/bin/sh\\nexit 0")
            (step.workspace / "tool").chmod(0o755)
            step.run(["tool"], cwd=step.workspace)
            return PASSED
        """,
    )
    place.toml('[test.a]\nuses = "tool"\n', ("plain", "tool"))

    for path in ("", ":/nowhere", "/nowhere::"):
        assert place.run("run", env={"PATH": path}).code == 1
        assert place.reason("test.a").startswith("tool is not on the PATH")


def test_no_trivy(place: Place) -> None:
    place.toml('[scan.all]\nuses = "trivy"\npath = "{here}/gone/trivy"\n', ("plain", "trivy"))

    assert place.run("run").code == 1
    assert place.reason("scan.all") == (
        "nothing was scanned: /gone/trivy is not a program. Correct `path`, or leave it out"
    )


def test_a_terminal_without_unicode_can_tell_passed_from_failed(place: Place) -> None:
    place.toml('[test.bad]\nuses = "shell"\nrun = "false"\n[test.good]\nuses = "plain"\n', ("plain", "shell"))
    env = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = place.fresh("run", env=env)

    assert "\n+ test.good" in done.out
    assert "\nx test.bad" in done.out
    assert "?" not in done.out


# --- the streams ---


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(committed: Place, closed: str) -> None:
    script = f'exec "$@" {closed}'

    done = committed.run(argv=["sh", "-c", script, "sh", str(PENSTOCK), "run"])

    assert (done.code, done.err) == (0, "")
    assert done.out == ("" if " >&-" in f" {closed}" else passed(committed, 1))
    assert committed.json("show")["state"] == "passed"


def test_an_output_that_is_full_does_not_stop_a_run(committed: Place) -> None:
    done = committed.run(argv=["sh", "-c", 'exec "$@" >/dev/full', "sh", str(PENSTOCK), "run"])

    assert done.code == 0
    assert committed.json("show")["state"] == "passed"


@pytest.mark.parametrize("command", ["show", "plan --json", "validate"])
def test_an_output_that_is_full_is_an_error_for_who_only_looks(committed: Place, command: str) -> None:
    committed.run("run")

    done = committed.run(argv=["sh", "-c", f'exec "$@" {command} >/dev/full', "sh", str(PENSTOCK)])

    assert (done.code, done.err) == (
        4,
        "penstock: standard output can't be written: No space left on device\n",
    )


def test_no_environment_at_all(committed: Place) -> None:
    done = committed.run(argv=["env", "-i", str(PENSTOCK), "run"])

    assert (done.code, done.out, done.err) == (0, passed(committed, 1), "")


def test_a_relative_path_is_fine(committed: Place) -> None:
    here = Path(os.path.relpath(PENSTOCK, committed.root))

    assert committed.run(argv=["sh", "-c", f'exec "{here}" validate']).code == 0
