from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock_git import penstock_propose

Git = Callable[..., None]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ana")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ana@example.com")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    def run(*arguments: str) -> None:
        subprocess.run(["git", "-c", "protocol.file.allow=always", *arguments], cwd=tmp_path, check=True)

    return run


def propose(root: Path) -> Any:
    return penstock_propose(root=root, add=None)


def repository(git: Git, root: Path, files: int = 2) -> Path:
    git("init", "-q", str(root))
    for number in range(files):
        (root / f"{number}.txt").write_text(f"{number}\n")
        git("-C", str(root), "add", "--all")
        git("-C", str(root), "commit", "-q", "-m", "A change")
    return root


def test_committed_files_are_counted_and_ours_are_not_missed(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "a")
    (root / "penstock.toml").write_text("")
    (root / ".penstock").mkdir()
    (root / ".penstock" / "journal.db").write_text("")
    found = propose(root)
    assert found.saw == "2 files committed, which a run takes; --dirty takes the rest too"
    assert (found.unsure, found.first, found.sections) == ((), (), {})


def test_a_directory_of_a_repository_counts_its_own_files(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "a")
    (root / "sub").mkdir()
    found = propose(root / "sub")
    assert found.saw == "nothing is committed yet, and a run takes what is committed"
    assert found.first == ("git add --all", 'git commit -m "Begin"')
    (root / "sub" / "new.txt").write_text("")
    git("-C", str(root), "add", "--all")
    git("-C", str(root), "commit", "-q", "-m", "A file")
    assert propose(root / "sub").saw.startswith("1 file committed")


def test_a_shallow_clone_lacks_tags(git: Git, tmp_path: Path) -> None:
    repository(git, tmp_path / "a")
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}/a", str(tmp_path / "b"))
    [remark] = propose(tmp_path / "b").unsure
    assert remark.endswith("git fetch --unshallow --tags")


def test_no_repository_is_begun_first(git: Git, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert propose(tmp_path / "a").first == ("git init", "git add --all", 'git commit -m "Begin"')


def test_a_bare_repository_has_no_files(git: Git, tmp_path: Path) -> None:
    git("init", "-q", "--bare", str(tmp_path / "a"))
    assert propose(tmp_path / "a").saw == "the inside of a repository, without working files"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_of_another_user_is_not_read(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "a")
    os.chown(root, 12345, 12345)
    [remark] = propose(root).unsure
    assert "belongs to another user" in remark
    assert f"git config --global --add safe.directory {root}" in remark


def test_without_git_it_is_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert propose(tmp_path).saw == "git itself is missing"


def test_variables_that_are_meant_for_another_repository_do_not_count(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = repository(git, tmp_path / "a", 1), repository(git, tmp_path / "b", 3)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert propose(root).saw.startswith("1 file committed")
