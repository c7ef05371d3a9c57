from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from penstock import Revision, Step
from penstock.testing import StepMaker, make_step
from penstock_git import Git, penstock_source

__all__ = ["files_of", "make_step", "new_repo", "own_home", "repo", "take"]


@dataclass(frozen=True)
class Repo:
    """A real repository."""

    path: Path

    def git(self, *arguments: str, given: bytes | None = None) -> str:
        ended = subprocess.run(
            ["git", "-C", self.path, *arguments], input=given, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr.decode(errors="replace")
        return ended.stdout.decode(errors="surrogateescape").rstrip("\n")

    def write(self, name: str | bytes, content: bytes | str = b"x\n", *, executable: bool = False) -> Path:
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if executable else 0o644)
        return path

    def commit(self, subject: str = "Work") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class Taken:
    """What the source step of one run gave."""

    revision: Revision
    step: Step
    log: str

    @property
    def files(self) -> dict[bytes, object]:
        return tree(self.step.workspace)


def tree(root: Path) -> dict[bytes, object]:
    """Every file and link under a directory: executable and bytes, or where it points. No `.git`."""
    found: dict[bytes, object] = {}
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        name = os.fsencode(relative)
        if ".git" in relative.parts:
            continue
        if path.is_symlink():
            found[name] = os.fsencode(path.readlink())
        elif path.is_file():
            found[name] = (bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


@pytest.fixture
def files_of() -> Callable[[Path], dict[bytes, object]]:
    """`tree`, for tests, which can't import it."""
    return tree


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home with git's settings; no test sees the real ones."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ana Lima\n\temail = ana@example.com\n"
        '[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


@pytest.fixture
def new_repo(tmp_path: Path) -> Callable[..., Repo]:
    def make(name: str, *options: str) -> Repo:
        path = tmp_path / name
        path.mkdir(parents=True)
        made = Repo(path)
        made.git("init", "--quiet", *options)
        return made

    return make


@pytest.fixture
def repo(new_repo: Callable[..., Repo]) -> Repo:
    """A repository with one commit of two files."""
    made = new_repo("repo")
    made.write("src/app.py", "print('hello')\n")
    made.write("README", "shop\n")
    made.commit("Begin the shop")
    return made


@pytest.fixture
def take(make_step: StepMaker) -> Callable[..., Taken]:
    """Runs the source hook on a project's directory, as a worker does."""

    def run(project: Path, *, env: dict[str, str] | None = None, **settings: object) -> Taken:
        step = make_step("source", env=env)
        # A step from the kit has an empty project of its own.
        step.project.rmdir()
        step.project.symlink_to(project)
        revision = penstock_source(Git.model_validate(settings), step)
        return Taken(revision, step, make_step.log_of(step))

    return run
