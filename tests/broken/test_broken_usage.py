"""Mistakes on the command line, and places where there is no project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broken.place import PENSTOCK, Place, Warm

PIPELINE = """
[build.box]
uses = "plain"

[test.look]
uses = "plain"

[approve.live]

[deploy.live]
uses = "plain"
place = "{here}/live"
"""
NONE = "penstock: there is no penstock.toml in /project or above. Make one: penstock init\n"
STEPS = "The steps are source, build.box, test.look, approve.live, deploy.live"
DIGEST = "sha256:26f8567f2569182294c3fa5b9f9cb2270b554eef628b4c149cf82a42888ff4ae"
ZEROS = "0" * 64


def words(case: str) -> list[str]:
    return case.split(" ") if case else []


BEFORE: dict[str, str] = {
    "rum": 'penstock: there is no command "rum". Did you mean "run"? See: penstock --help',
    "xyzzy": 'penstock: there is no command "xyzzy". See: penstock --help',
    "--nope": 'penstock: there is no option "--nope". See: penstock --help',
    "run --ony x": 'penstock run: there is no option "--ony". Did you mean "--only"? See: penstock run --help',
    "run --xyzzy": 'penstock run: there is no option "--xyzzy". See: penstock run --help',
    "run extra": "penstock run: got unexpected extra argument (extra). See: penstock run --help",
    "rollback": "penstock rollback: missing argument 'ENVIRONMENT'. See: penstock rollback --help",
    "verify": "penstock verify: missing argument 'DIGEST|FILE'. See: penstock verify --help",
    "runs --limit -5": "penstock runs: invalid value for '--limit': -5 is not in the range x>=1. "
    "See: penstock runs --help",
    "plugins lst": "penstock plugins: no such command 'lst'. Did you mean 'list'? See: penstock plugins --help",
    "run --only buld.box": 'penstock: --only: there is no step "buld.box". Did you mean "build.box"?',
    "run --only box": 'penstock: --only: there is no step "box". Did you mean "build.box"?',
    "run --only xyzzy": f'penstock: --only: there is no step "xyzzy". {STEPS}',
    "run --to lve": 'penstock: --to: there is no environment "lve". Did you mean "live"?',
    "run --to moon": 'penstock: --to: there is no environment "moon". The environments are live',
    "run --approve moon": 'penstock: --approve: there is no environment "moon". The environments are live',
    "run --dirty": 'penstock: --dirty: the plugin "plain" takes committed files only',
    "show": "penstock: there is no run yet. Start one: penstock run",
    "show 7": "penstock: there is no run 7. The runs: penstock runs",
    "show seven": "penstock: there is no run yet. Start one: penstock run",
    "rerun": "penstock: there is no run yet. Start one: penstock run",
    "shell build.box": "penstock: there is no run yet. Start one: penstock run",
    "get box.txt": "penstock: there is no run yet. Start one: penstock run",
    "diff 1 2": "penstock: there is no run 1. The runs: penstock runs",
    "show seven build.box": 'penstock: "seven" is no run. A run is a number, or "last". The runs: penstock runs',
    "show 0": "penstock: there is no run 0. The runs: penstock runs",
    f"show {'9' * 30}": f'penstock: "{"9" * 30}" is no run. A run is a number, or "last". The runs: penstock runs',
    "logs": "penstock: there is no run yet. Start one: penstock run",
    "resume": "penstock: there is no run yet. Start one: penstock run",
    "cancel": "penstock: there is no run yet. Start one: penstock run",
    "approve": "penstock: no run waits for an approval. The runs: penstock runs",
    "reject": "penstock: no run waits for an approval. The runs: penstock runs",
    "rollback live": "penstock: nothing was ever deployed to live from here",
    "rollback moon": 'penstock: there is no environment "moon". The environments are live',
    "status moon": 'penstock: there is no environment "moon". The environments are live',
    "verify abc": 'penstock: "abc" is no digest: at least eight of its hexadecimal digits are needed',
    "verify xyzzyxyzzy": 'penstock: "xyzzyxyzzy" is no digest: at least eight of its hexadecimal digits are needed',
    f"verify {'x' * 300}": f'penstock: "{"x" * 300}" is no digest: at least eight of its hexadecimal digits are '
    "needed",
    f"verify {ZEROS}": f"penstock: no run here has built {ZEROS}. What a run built: penstock show last",
    "plugins info plian": 'penstock: the plugin "plian" is not installed. Did you mean "plain"? '
    "Otherwise: pip install penstock-plian",
    "plugins info xyzzy": 'penstock: the plugin "xyzzy" is not installed. Try: pip install penstock-xyzzy',
    "plugins info /etc/ours.py": 'penstock: "/etc/ours.py" leads out of the project. An in-house plugin is a '
    'file of the project, named from its root, such as "./ci/ours.py"',
    "plugins info ./ours.py": "penstock: ours.py is not there",
    "-C nowhere validate": 'penstock: -C: can\'t work in "nowhere": No such file or directory. '
    "See: penstock --help",
    "-C penstock.toml validate": 'penstock: -C: can\'t work in "penstock.toml": Not a directory. '
    "See: penstock --help",
    "-C  validate": 'penstock: -C: can\'t work in "": No such file or directory. See: penstock --help',
    "-C a\0b validate": 'penstock: -C: can\'t work in "a\\x00b": it holds a NUL character. See: penstock --help',
    "runs \u202ea\n\x1b[2Jb\udcff": "penstock runs: got unexpected extra argument (\\u202ea\\x0ab\\udcff). "
    "See: penstock runs --help",
}
"""What is said before anything ran."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    """A project that never ran."""
    place = Place.make(tmp_path_factory.mktemp("fresh"), warm)
    place.toml(PIPELINE)
    return place


@pytest.mark.parametrize(("case", "message"), BEFORE.items(), ids=BEFORE.keys())
def test_a_mistake_before_anything_ran_is_one_line(fresh: Place, case: str, message: str) -> None:
    done = fresh.run(*words(case))

    assert (done.code, done.out, done.err) == (2, "", f"{message}\n")
    assert fresh.runs() == 0


def test_no_command_shows_the_help(fresh: Place) -> None:
    done = fresh.run()
    assert done.code == 2
    assert "Every day:" in done.out + done.err


WAITING: dict[str, tuple[int, str]] = {
    "approve 2": (2, "penstock: there is no run 2. The runs: penstock runs"),
    "approve moon": (
        2,
        "penstock: run 1 (waiting) does not wait for an approval for moon. It waits for live",
    ),
    "approve 1 1": (
        2,
        "penstock: name one run and one environment at most, such as: penstock approve 12 production",
    ),
    f"approve --digest sha256:{ZEROS}": (
        1,
        f"penstock: approve.live waits with {DIGEST}, not with sha256:{ZEROS}. Nothing was approved",
    ),
    "approve --digest xyzzy": (
        1,
        f"penstock: approve.live waits with {DIGEST}, not with xyzzy. Nothing was approved",
    ),
    "logs 1 xyzzy": (2, f'penstock: run 1 has no step "xyzzy". {STEPS}'),
    "logs 1 test.lok": (2, 'penstock: run 1 has no step "test.lok". Did you mean "test.look"?'),
    "logs last deploy.live": (0, "deploy.live is pending in run 1, and has printed nothing"),
    "show 1 look": (2, 'penstock: run 1 has no step "look". Did you mean "test.look"?'),
    "verify 26f8": (2, 'penstock: "26f8" is no digest: at least eight of its hexadecimal digits are needed'),
}
"""While a run waits for approval."""


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    place = Place.make(tmp_path_factory.mktemp("waiting"), warm)
    place.toml(PIPELINE)
    assert place.run("run").code == 3
    return place


@pytest.mark.parametrize(
    ("case", "code", "message"), [(case, *said) for case, said in WAITING.items()], ids=WAITING
)
def test_a_mistake_while_a_run_waits_changes_nothing(
    waiting: Place, case: str, code: int, message: str
) -> None:
    done = waiting.run(*words(case))

    assert (done.code, done.out, done.err) == (code, "", f"{message}\n")
    assert waiting.json("show")["state"] == "waiting"


OVER: dict[str, tuple[int, str]] = {
    "approve": (2, "penstock: no run waits for an approval. The runs: penstock runs"),
    "approve 1": (2, "penstock: run 1 (passed) does not wait for an approval. The runs: penstock runs"),
    "approve 1 live": (
        2,
        "penstock: run 1 (passed) does not wait for an approval for live. The runs: penstock runs",
    ),
    "reject 1": (2, "penstock: run 1 (passed) does not wait for an approval. The runs: penstock runs"),
    "cancel": (2, "penstock: run 1 is over: passed"),
    "resume": (0, "Run 1 is over: passed. Another: penstock run"),
    "rollback live": (2, "penstock: live has no good release before 26f8…f4ae"),
}


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    place = Place.make(tmp_path_factory.mktemp("over"), warm)
    place.toml(PIPELINE)
    assert place.run("run").code == 3
    assert place.run("approve").code == 0
    return place


@pytest.mark.parametrize(
    ("case", "code", "message"), [(case, *said) for case, said in OVER.items()], ids=OVER
)
def test_what_is_over_stays_as_it_is(over: Place, case: str, code: int, message: str) -> None:
    done = over.run(*words(case))

    assert (done.code, done.out, done.err) == (code, "", f"{message}\n")
    assert over.runs() == 1


def test_resume_of_a_run_that_failed_says_so_with_its_exit_code(place: Place) -> None:
    place.plugin("fails", "@hookimpl\ndef penstock_test(step): raise StepFailed('no')")
    place.toml('[test.a]\nuses = "fails"\n', ("plain", "fails"))
    assert place.run("run").code == 1
    done = place.run("resume")
    assert (done.code, done.out, done.err) == (1, "", "Run 1 is over: failed. Another: penstock run\n")


# --- where there is no project, or no place ---


def test_without_a_project_every_command_says_how_to_begin(place: Place) -> None:
    for command in (
        "run",
        "plan",
        "validate",
        "status",
        "runs",
        "show",
        "logs",
        "resume",
        "approve",
        "cancel",
    ):
        done = place.run(command)
        assert (done.code, done.out, done.err) == (2, "", NONE), command
    assert list(place.root.iterdir()) == []


def test_from_a_subdirectory_the_project_above_is_meant(place: Place) -> None:
    place.toml("")
    below = place.root / "a" / "b"
    below.mkdir(parents=True)

    assert place.run("run", cwd=below).code == 0
    assert list(below.iterdir()) == []
    assert place.runs() == 1


@pytest.mark.parametrize("command", ["validate", "run", "doctor", "plugins list"])
def test_in_a_directory_that_was_deleted(place: Place, command: str) -> None:
    gone = place.base / "gone"
    gone.mkdir()
    script = f'rmdir "{gone}"; exec "$@"'

    done = place.run(argv=["sh", "-c", script, "sh", str(PENSTOCK), *command.split()], cwd=gone)

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "penstock: the current directory is not there any more. Go to one that is, or name one with -C DIR. "
        "See: penstock --help\n"
    )


# --- what stands in the configuration's place ---


def directory(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("gone.toml")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def fifo(path: Path) -> None:
    import os

    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 << 20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (directory, "is a directory. The configuration is a text file of that name"),
        (dangling, "is a symbolic link to gone.toml, which is not there"),
        (loop, "can't be read: Too many levels of symbolic links"),
        (fifo, "is neither a file nor a link to one. The configuration is a text file of that name"),
        (huge, "has 40 MiB, which no configuration has. Is it the right file?"),
    ],
)
def test_what_is_no_file_in_its_place(place: Place, make: object, message: str) -> None:
    make(place.config)  # type: ignore[operator]  # one of those above

    for command in ("validate", "run"):
        done = place.run(command, within=20)
        assert (done.code, done.out, done.err) == (2, "", f"penstock: /project/penstock.toml {message}\n")
    assert [path.name for path in place.root.iterdir()] == ["penstock.toml"]


def test_two_configurations_side_by_side(place: Place) -> None:
    place.toml("")
    (place.root / "pyproject.toml").write_text('[tool.penstock]\nplugins = ["plain"]\n')

    done = place.run("run")

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "penstock: penstock.toml and [tool.penstock] in pyproject.toml stand side by side, and a project has one "
        "of them. Move all into one, and remove the other\n"
    )
    assert not (place.root / ".penstock").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[tool.penstock]\nplugins = ["plain"\n', "pyproject.toml:2: not valid TOML: unclosed array"),
        (
            "[tool.penstock]\nplugins = 3\n",
            "pyproject.toml:2: [tool.penstock] plugins: must be a list, and not 3",
        ),
        (
            '[tool.penstock]\nplugins = ["plain"]\n[tool.penstock.test.a]\nuses = "plian"\n',
            'pyproject.toml:4: [tool.penstock.test.a] uses: the plugin "plian" is not enabled. '
            'Did you mean "plain"?',
        ),
        (
            '[tool.penstock]\nplugins = ["plain"]\n[tool.penstock.test.a]\nuses = "plain"\nneeds = ["b"]\n',
            'pyproject.toml:5: [tool.penstock.test.a] needs: there is no step "b". '
            "The steps are source, test.a",
        ),
    ],
    ids=["no TOML", "key", "section", "plan"],
)
def test_a_fault_in_pyproject_names_that_file(place: Place, text: str, message: str) -> None:
    (place.root / "pyproject.toml").write_text(text)

    done = place.run("validate")

    assert (done.code, done.out, done.err) == (2, "", f"penstock: {message}\n")
