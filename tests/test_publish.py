"""Built, signed and published through the command line, and installed from a real index."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from tests.package_index import Answer, Request, build_sdist, build_wheel, proxy, pypiserver
from tests.projects import Project

SECTION = """
[publish.index]
uses = "twine"
repository = "{url}"
wait = "60s"
"""
PYTHON = """\
[penstock]
plugins = ["git", "python", "sigstore", "twine"]

[build.wheel]
uses = "python"

[sign.release]
uses = "sigstore"
"""
READY_MADE = """\
[penstock]
plugins = ["git", "shell", "sigstore", "twine"]

[build.files]
uses = "shell"
run = "ls files"
artifacts = ["files/*"]

[sign.release]
uses = "sigstore"
"""
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "penstock-toy"
version = "2.3.1"
requires-python = ">=3.11"
"""
FILES = ["penstock_toy-2.3.1-py3-none-any.whl", "penstock_toy-2.3.1.tar.gz"]


def digests(directory: Path) -> dict[str, str]:
    return {
        path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(directory.iterdir())
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(directory: Path) -> Iterator[str]:
    with pypiserver(directory, disable_fallback=True) as url:
        yield url


@pytest.mark.real
def test_what_was_built_is_published_and_is_what_pip_installs(
    project: Project, index: str, directory: Path, tmp_path: Path
) -> None:
    project.write({"penstock.toml": PYTHON + SECTION.format(url=index)})
    project.commit({"pyproject.toml": PYPROJECT, "src/penstock_toy/__init__.py": "answer = 42\n"})

    done = project.passes("run")

    assert "✓ publish.index  2 published" in done.out
    built = {entry["name"]: entry["digest"] for entry in project.step("build.wheel")["artifacts"]}
    assert sorted(built) == FILES
    assert digests(directory) == built
    step = project.step("publish.index")
    assert {each["artifact"]: each["location"] for each in step["publications"]} == {
        digest: f"{index}packages/{name}#{digest.replace(':', '=')}" for name, digest in built.items()
    }
    assert step["evidence"] == [
        "https://penstock.dev/attestation/publication/v0.1",
        "https://in-toto.io/attestation/release/v0.1",
    ]
    for place in (each["location"] for each in step["publications"]):
        assert place in project.passes("show").out

    # What is on record is signed, and says where the wheel is.
    proved = project.passes("verify", built[FILES[0]]).out
    assert f"✓ published   publish.index: {index}packages/{FILES[0]}" in proved
    assert "✓ release     publish.index: pkg:pypi/penstock-toy@2.3.1?repository_url=" in proved
    assert "All signatures verify" in proved

    # pip takes the digest-pinned location as it stands, and gets these bytes.
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
    where = ["--index-url", f"{index}simple/", "--no-deps", "-q"]
    subprocess.run([*pip, "download", *where, "-d", tmp_path / "got", "penstock-toy"], check=True)
    assert digests(tmp_path / "got") == {FILES[0]: built[FILES[0]]}
    [pinned] = [each["location"] for each in step["publications"] if each["artifact"] == built[FILES[0]]]
    subprocess.run([*pip, "install", *where, "--target", tmp_path / "site", pinned], check=True)
    assert (tmp_path / "site" / "penstock_toy" / "__init__.py").read_text() == "answer = 42\n"

    # The same revision again gives the same bytes, which are there already.
    assert "✓ publish.index  2 there already, same bytes" in project.passes("run").out

    # Another revision of the same version is refused before anything is uploaded.
    project.commit({"src/penstock_toy/__init__.py": "answer = 43\n"})
    done = project.run("run")
    assert done.code == 1
    assert "is on " in done.said
    assert "with other bytes: " in done.said
    assert "give the release a new version. Nothing was uploaded" in done.said
    assert project.states()["publish.index"] == "refused"
    assert digests(directory) == built


@pytest.fixture
def ready_made(project: Project) -> Project:
    """A project whose files are there already: what is under test is how they are published."""
    files = project.root / "files"
    files.mkdir()
    build_wheel(files, "a = 1\n")
    build_sdist(files, "a = 1\n")
    project.commit()
    return project


def test_killed_between_two_files_the_rest_is_published(
    ready_made: Project, index: str, directory: Path
) -> None:
    second, over = Event(), Event()

    def hold_the_second(request: Request, pass_on: Callable[[], Answer]) -> Answer:
        if not request.uploads or len(watch.uploads) != 2:
            return pass_on()
        second.set()
        over.wait(timeout=300)  # nobody waits for this answer any more
        return Answer(503, {}, b"")

    with proxy(index, hold_the_second) as watch:
        ready_made.write({"penstock.toml": READY_MADE + SECTION.format(url=watch.url)})
        child = ready_made.start("run")
        assert second.wait(timeout=120)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert len(digests(directory)) == 1
        try:
            done = ready_made.passes("resume")
        finally:
            over.set()
    assert "✓ publish.index  1 published, 1 there already, same bytes" in done.out
    [first, *others] = watch.uploads
    assert first not in others
    kept = {entry["name"]: entry["digest"] for entry in ready_made.step("build.files")["artifacts"]}
    assert digests(directory) == kept


def test_a_token_reaches_the_index_and_nothing_else(ready_made: Project, directory: Path) -> None:
    users = {"__token__": "pypi-AgEIcHlwaS5vcmc"}
    section = SECTION + 'password = "INDEX_TOKEN"\nsecrets = {{ INDEX_TOKEN = "env:INDEX_TOKEN" }}\n'
    with pypiserver(
        directory, disable_fallback=True, users=users, authenticate=["update", "download"]
    ) as index:
        ready_made.write({"penstock.toml": READY_MADE + section.format(url=index)})
        done = ready_made.run("run")
        assert done.code == 1
        assert "the variable INDEX_TOKEN is not set" in done.said
        done = ready_made.run("run", env={"INDEX_TOKEN": "pypi-wrong-wrong"})
        assert done.code == 1
        assert "HTTPError: 403 Forbidden" in done.said
        assert "wrong-wrong" not in done.said
        ready_made.passes("run", env={"INDEX_TOKEN": users["__token__"]})
    token = users["__token__"].encode()
    for path in (ready_made.root / ".penstock").rglob("*"):
        assert not path.is_file() or token not in path.read_bytes(), path


def test_init_adds_a_section_to_fill_in(ready_made: Project) -> None:
    ready_made.write({"penstock.toml": READY_MADE.replace(', "twine"', "")})
    ready_made.passes("init", "--add", "publish.testpypi")
    written = tomllib.loads((ready_made.root / "penstock.toml").read_text())
    assert "twine" in written["penstock"]["plugins"]
    assert written["publish"]["testpypi"] == {
        "uses": "twine",
        "repository": "testpypi",
        "password": "INDEX_TOKEN",
        "secrets": {"INDEX_TOKEN": "env:INDEX_TOKEN"},
    }
    assert json.loads(ready_made.passes("plan", "--json").out)
