"""`penstock plugins new`: what it writes is complete, and works as it stands, for every phase."""

from __future__ import annotations

import json
import os
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.projects import PENSTOCK, Project

PHASES = ("source", "build", "test", "scan", "sign", "publish", "approve", "deploy", "verify")
WRITTEN = [
    "README.md",
    "pyproject.toml",
    "src/penstock_our_build/__init__.py",
    "src/penstock_our_build/py.typed",
    "tests/conftest.py",
    "tests/test_our_build.py",
]


def run(*command: object, cwd: Path, code: int = 0) -> str:
    words = [str(word) for word in command]
    env = {**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # Where pytest keeps what tests have left, another session of it may clear up at the same moment.
    with tempfile.TemporaryDirectory() as temporary:
        env["PYTEST_DEBUG_TEMPROOT"] = temporary
        done = subprocess.run(
            words, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300
        )
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


# --- installed, in an environment of their own ---


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin for each phase, as it was written."""
    place = tmp_path_factory.mktemp("plugins")
    for phase in PHASES:
        run(PENSTOCK, "plugins", "new", f"our-{phase}", "--phase", phase, cwd=place)
    return place


@pytest.fixture(scope="module")
def python(place: Path) -> Path:
    """The Python of a new environment in which pip has installed all of them.

    It sees this environment's libraries, so that nothing is fetched.
    """
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=place)
    python = place / "venv" / "bin" / "python"
    [library] = (place / "venv").glob("lib/python*/site-packages")
    ours = "".join(f"import site; site.addsitedir({found!r})\n" for found in site.getsitepackages())
    (library / "ours.pth").write_text(ours)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-build-isolation",
        "--no-deps",
    ]
    run(*pip, *(place / f"penstock-our-{phase}" for phase in PHASES), cwd=place)
    (place / "venv" / "bin" / "penstock").write_text(f"#!{python}\nfrom penstock.cli import main\nmain()\n")
    (place / "venv" / "bin" / "penstock").chmod(0o755)
    return python


def test_a_distribution_is_complete(place: Path) -> None:
    root = place / "penstock-our-build"

    written = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    assert [path for path in written if "__pycache__" not in path] == WRITTEN
    for path in WRITTEN:
        text = (root / path).read_text()
        for mark in ("your-plugin", "your_plugin", "THE ", "WHAT IT", "SINCE"):
            assert mark not in text


@pytest.mark.parametrize("phase", PHASES)
def test_it_passes_its_own_tests(place: Path, python: Path, phase: str) -> None:
    said = run(
        python,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        cwd=place / f"penstock-our-{phase}",
    )

    assert " passed" in said


def test_each_is_found_with_its_phase_and_described_settings(
    place: Path, python: Path, tmp_path: Path
) -> None:
    penstock = python.with_name("penstock")
    (tmp_path / "penstock.toml").write_text(f"[penstock]\nplugins = {[f'our-{phase}' for phase in PHASES]}\n")

    rows = {row["name"]: row for row in json.loads(run(penstock, "plugins", "list", "--json", cwd=tmp_path))}

    for phase in PHASES:
        row = rows[f"our-{phase}"]
        assert (row["phases"], row["broken"], row["version"]) == ([phase], None, "0.1.0")
        lines = run(penstock, "plugins", "info", f"our-{phase}", cwd=tmp_path).splitlines()
        assert all(line.strip() for line in lines if line.startswith("      "))


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Has mypy keep what it knows of what all of them import: that takes longer than they do."""
    return ["--cache-dir", str(tmp_path_factory.mktemp("types"))]


@pytest.mark.slow
def test_they_are_typed(place: Path, python: Path, types: list[str]) -> None:
    for phase in PHASES:
        run(python, "-m", "mypy", *types, "src", "tests", cwd=place / f"penstock-our-{phase}")


def test_they_are_clean(place: Path) -> None:
    ruff = PENSTOCK.with_name("ruff")
    run(ruff, "check", ".", cwd=place)
    run(ruff, "format", "--check", ".", cwd=place)


PIPELINE = """\
[penstock]
plugins = [{plugins}]

[source.tree]
uses = "our-source"

[build.archive]
uses = "our-build"
directory = "site"

[test.size]
uses = "our-test"
limit = "10kB"

[scan.words]
uses = "our-scan"
words = ["FIXME"]
paths = ["site/**/*"]

[sign.release]
uses = "our-sign"
key_file = "{place}/key"

[publish.files]
uses = "our-publish"
directory = "{place}/files"

[approve.production]
uses = "our-approve"
directory = "{place}"

[deploy.production]
uses = "our-deploy"
paths = ["{place}/a", "{place}/b"]
rollout = {{ strategy = "rolling" }}

[verify.production]
uses = "our-verify"
port = {port}
"""


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def goes_through(project: Project, place: Path, port: int, plugins: list[str]) -> None:
    """A pipeline of nothing but these plugins, from the source to what runs in production."""
    (place / "key").write_bytes(os.urandom(32))
    listed = ", ".join(json.dumps(plugin) for plugin in plugins)
    project.write(
        {
            "penstock.toml": PIPELINE.format(plugins=listed, place=place, port=port),
            "site/index.html": "<h1>Hello</h1>",
        }
    )
    project.passes("validate")
    assert project.run("run").code == 3
    assert f"waits for {place}/production.json" in project.step("approve.production")["reason"]
    digest = project.digest("file")
    (place / "production.json").write_text(json.dumps({"by": "ana", "why": "good", "artifacts": [digest]}))

    project.passes("resume")

    assert set(project.states().values()) == {"passed"}
    for name in ("a", "b"):
        assert (place / name / "current" / "site.zip").exists()
    assert (place / "files" / digest.removeprefix("sha256:") / "site.zip").exists()
    verified = project.json("verify", digest)
    assert (verified["verdict"], verified["faults"]) == ("passed", [])
    kinds = {entry["predicate_type"].rpartition("/")[0] for entry in verified["evidence"]}
    assert "https://penstock.dev/attestation/approval" in kinds


@pytest.mark.slow
def test_a_pipeline_of_them_goes_through(place: Path, python: Path, tmp_path: Path, listening: int) -> None:
    project = Project.make(tmp_path / "project", tmp_path / "data", penstock=python.with_name("penstock"))

    goes_through(project, tmp_path, listening, [f"our-{phase}" for phase in PHASES])


# --- in-house ---


@pytest.fixture
def in_house(project: Project) -> Project:
    project.write({"penstock.toml": "[penstock]\n"})
    for phase in PHASES:
        project.passes("plugins", "new", f"our-{phase}", "--phase", phase, "--in-house")
    return project


@pytest.mark.slow
def test_a_pipeline_of_files_of_the_project_goes_through(
    in_house: Project, tmp_path: Path, listening: int
) -> None:
    goes_through(in_house, tmp_path, listening, [f"./ci/our-{phase}.py" for phase in PHASES])


@pytest.mark.slow
def test_files_of_the_project_are_tested_typed_and_clean(in_house: Project, types: list[str]) -> None:
    written = sorted(path.name for path in (in_house.root / "ci").iterdir())
    assert written == sorted(name for phase in PHASES for name in (f"our-{phase}.py", f"test_our_{phase}.py"))
    run(sys.executable, "-m", "pytest", "-q", "-W", "error", "ci", cwd=in_house.root)
    files = sorted(in_house.root.glob("ci/*.py"))
    run(sys.executable, "-m", "mypy", "--strict", *types, *files, cwd=in_house.root)
    ruff = PENSTOCK.with_name("ruff")
    run(ruff, "check", ".", cwd=in_house.root)
    run(ruff, "format", "--check", ".", cwd=in_house.root)


def test_its_test_is_skipped_where_there_is_no_penstock(in_house: Project) -> None:
    hidden = "import sys\nsys.modules['penstock'] = None\n"
    in_house.write({"conftest.py": hidden})

    command = [sys.executable, "-m", "pytest", "-q", "-rs", "ci/test_our_test.py"]
    done = subprocess.run(command, cwd=in_house.root, capture_output=True, text=True, check=False)

    assert "1 skipped" in done.stdout
    assert "it is tested where Penstock is" in done.stdout


# --- what is said, and what is refused ---


def test_it_says_what_to_do_next(project: Project) -> None:
    said = project.passes("plugins", "new", "size", "--phase", "test").out

    assert said == (
        "Wrote penstock-size: pyproject.toml, README.md, src/penstock_size/__init__.py, "
        "src/penstock_size/py.typed, tests/conftest.py, tests/test_size.py.\n"
        'Try it:  pip install -e "./penstock-size[test]" && pytest penstock-size\n'
        'Use it in penstock.toml: add "size" to plugins, and a section such as\n\n'
        '[test.size]\nuses = "size"\nlimit = "10MB"\n'
    )


def test_it_says_what_to_do_next_with_a_file(project: Project) -> None:
    said = project.passes("plugins", "new", "size", "--phase", "test", "--in-house").out

    assert said.startswith(
        "Wrote ci/size.py, ci/test_size.py.\nTry it:  pytest ci\nUse it in penstock.toml: add "
    )
    assert '"./ci/size.py"' in said


def test_a_file_goes_to_the_root_of_the_project(project: Project) -> None:
    project.write({"penstock.toml": "[penstock]\n", "src/deep/x.txt": ""})

    project.passes("-C", "src/deep", "plugins", "new", "size", "--phase", "test", "--in-house")

    assert (project.root / "ci" / "size.py").exists()


NAMES = {
    "capitals": (
        "My_Plugin",
        'no name for a plugin: it is made of at most 40 small letters, digits and single dashes, and begins with a letter. Such as "my-plugin".',
    ),
    "a digit first": ("3d", "no name for a plugin"),
    "nothing": ("", "no name for a plugin"),
    "a path": ("../x", "no name for a plugin"),
    "a space": ("a b", "no name for a plugin"),
    "dashes": (
        "a--b",
        'no name for a plugin: it is made of at most 40 small letters, digits and single dashes, and begins with a letter. Such as "a-b".',
    ),
    "no ASCII": ("größe", "no name for a plugin"),
    "a newline": ("size\n", "no name for a plugin"),
    "long": ("a" * 41, "no name for a plugin"),
    "a phase": (
        "deploy",
        '"deploy" is a word of Penstock itself. Name the plugin after what it uses or does',
    ),
    "the core": ("penstock", '"penstock" is a word of Penstock itself.'),
    "installed": ("git", 'there is a plugin "git" already: penstock-git 0.1.0, which is installed'),
    "enabled": ("ours", 'there is a plugin "ours" already: ./ci/ours.py, which this project enables'),
}


@pytest.mark.parametrize(("name", "message"), NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("more", [(), ("--in-house",)], ids=["distribution", "in house"])
def test_a_name_that_can_not_be_is_refused(
    project: Project, name: str, message: str, more: tuple[str, ...]
) -> None:
    project.write({"penstock.toml": '[penstock]\nplugins = ["./ci/ours.py"]\n'})

    done = project.run("plugins", "new", "--phase", "test", *more, "--", name)

    assert done.code == 2
    assert message in done.err
    assert sorted(path.name for path in project.root.iterdir()) == [".git", "penstock.toml"]


def test_a_phase_that_there_is_not(project: Project) -> None:
    done = project.run("plugins", "new", "size", "--phase", "tests")

    assert done.code == 2
    assert "'tests' is not one of 'source', 'build', 'test'" in done.err


@pytest.mark.parametrize("made", ["penstock-size", "penstock-size/README.md"])
def test_what_is_there_is_left_as_it_is(project: Project, made: str) -> None:
    (project.root / "penstock-size").mkdir()
    project.write({"penstock-size/README.md": "mine"} if made.endswith(".md") else {})

    done = project.run("plugins", "new", "size", "--phase", "test")

    assert done.code == 2
    assert done.err == f"penstock: {project.root}/penstock-size is there already; it is left as it is\n"


@pytest.mark.parametrize("there", ["ci/size.py", "ci/test_size.py"])
def test_a_file_that_is_there_is_left_as_it_is(project: Project, there: str) -> None:
    project.write({there: "mine"})

    done = project.run("plugins", "new", "size", "--phase", "test", "--in-house")

    assert done.code == 2
    assert done.err == f"penstock: {project.root}/{there} is there already; it is left as it is\n"
    assert [path.name for path in (project.root / "ci").iterdir()] == [Path(there).name]


@pytest.mark.parametrize("more", [(), ("--in-house",)], ids=["distribution", "in house"])
def test_where_it_can_not_write_it_leaves_nothing(project: Project, more: tuple[str, ...]) -> None:
    (project.root / "ci").write_text("no directory")
    arguments: list[Any] = ["plugins", "new", "size", "--phase", "test", *more]
    if not more:
        arguments = ["-C", "/proc", *arguments]

    done = project.run(*arguments)

    assert done.code == 4
    assert done.err.endswith(". Nothing was\n")
    assert sorted(path.name for path in project.root.iterdir()) == [".git", "ci"]
