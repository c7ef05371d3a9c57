"""Repositories that are not there, empty, shallow, damaged, or hold odd names; and what a snapshot lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.broken.place import Place, Said

HEAD = '[penstock]\nplugins = ["git", "shell"]\n\n[test.a]\nuses = "shell"\nrun = "ls"\n'


@pytest.fixture
def place(place: Place) -> Place:
    """A project whose source is what is committed."""
    place.config.write_text(HEAD)
    return place


def refused(place: Place, cwd: Path | None = None) -> str:
    """Why the source could not be had, from the one line that says so."""
    done = place.run("run", cwd=cwd)
    assert (done.code, done.err) == (1, "")
    [line] = [line for line in done.out.splitlines() if line.startswith("✗")]
    assert "– test.a" in done.out
    return line.split(maxsplit=2)[2]


def ref(place: Place, name: str) -> None:
    place.config.write_text(f'{HEAD}\n[source.x]\nuses = "git"\nref = "{name}"\n')


def test_no_repository(place: Place) -> None:
    assert refused(place) == (
        "/project is in no git repository, and the source is what is committed. Make one: "
        "git init && git add --all && git commit"
    )


def test_a_repository_without_a_commit(place: Place) -> None:
    place.git("init", "-q", "-b", "main")

    assert refused(place) == (
        "the repository has no commit yet (branch main), and a run is about one. Make it: "
        "git add --all && git commit"
    )


def test_a_link_to_a_repository_that_is_gone(place: Place) -> None:
    (place.root / ".git").write_text("gitdir: /nowhere\n")

    assert refused(place).startswith("/project is in no git repository, and the source is what is committed.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mian", 'ref: "mian" names no commit in this repository. Did you mean "main"?'),
        ("xyzzy", 'ref: "xyzzy" names no commit in this repository.'),
        ("HEAD~5", 'ref: "HEAD~5" names no commit in this repository.'),
        ("--upload-pack=x", 'ref: "--upload-pack=x" names no commit in this repository.'),
    ],
)
def test_a_ref_that_names_nothing(place: Place, name: str, message: str) -> None:
    place.commit()
    ref(place, name)

    assert refused(place) == message


def test_a_shallow_clone_may_lack_what_is_asked_for(place: Place) -> None:
    place.commit()
    place.commit()
    clone = place.base / "clone"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{place.root}", clone], env=place.env, check=True
    )
    (clone / "penstock.toml").write_text(f'{HEAD}[source.x]\nuses = "git"\nref = "v1"\n')

    assert refused(place, clone) == (
        'ref: "v1" names no commit in this repository. The clone is shallow and may lack it: '
        "git fetch --unshallow --tags"
    )


def test_a_damaged_repository(place: Place) -> None:
    place.commit()
    for path in (place.root / ".git" / "objects").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(b"x")

    assert refused(place).startswith("reading the commit failed: git cat-file ended with 128: ")


def test_a_commit_without_a_file(place: Place) -> None:
    place.git("init", "-q", "-b", "main")
    place.git("commit", "-q", "--allow-empty", "-m", "nothing")

    assert "holds no file, so there is nothing to build or test." in refused(place)


def test_inside_a_git_directory(place: Place) -> None:
    place.commit()
    shutil.copy(place.config, place.root / ".git")

    assert refused(place, place.root / ".git") == (
        "/project/.git lies inside a git directory or a bare repository, which has no working files. Run "
        "Penstock in a clone: git clone"
    )


@pytest.fixture
def submodule(place: Place) -> Said:
    """A run of a project with submodules that nobody fetched."""
    other = place.base / "other"
    other.mkdir()
    script = "git init -q -b main && touch f && git add -A && git commit -qm s"
    subprocess.run(script, shell=True, cwd=other, env=place.env, check=True)
    place.commit()
    for number in range(5):
        place.git(
            "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), f"sub{number}"
        )
    place.git("commit", "-qm", "Submodules")
    return place.run("run")


def test_submodules_that_are_empty_are_said_to_whoever_watches(submodule: Said) -> None:
    assert (submodule.code, submodule.err) == (0, "")
    lines = [line.strip() for line in submodule.out.splitlines()]
    assert lines[1:5] == [
        *(f"! not fetched, empty: submodule sub{number}" for number in range(3)),
        "and 2 more",
    ]


def test_names_that_are_not_text_and_links_that_lead_away(place: Place) -> None:
    (place.root / "a\nb").write_text("x")
    Path(os.fsdecode(os.fsencode(place.root) + b"/caf\xe9")).write_text("x")
    (place.root / "away").symlink_to("/etc/passwd")
    (place.root / "round").symlink_to("round")
    for name in ("README", "readme"):
        (place.root / name).write_text(name)
    (place.root / "binary").write_bytes(os.urandom(3 << 20))
    place.git("init", "-q", "-b", "main")
    place.git("add", "penstock.toml")
    place.git("commit", "-q", "-m", "One file")

    before = place.run("run")
    place.commit()
    after = place.run("run")

    assert (before.code, after.code) == (0, 0)
    assert "NOT in this run: 7 uncommitted files\n" in before.out
    left_out = place.json("show", "1")["revision"]["left_out"]
    assert left_out == ["README", "a\\nb", "away", "binary", "caf\\xe9", "readme", "round"]
    assert "NOT in this run" not in after.out
    log = place.run("logs", "last", "test.a").out
    assert "caf\ufffd" in log or "caf\\xe9" in log or "caf?" in log
