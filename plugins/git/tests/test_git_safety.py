"""Nothing is written to the user's repository, nothing that it names is started, nothing leads git astray."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from penstock import StepFailed

HOOKS = ["post-index-change", "post-checkout", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman"]


def state(root: Path) -> dict[str, object]:
    """Every file under a directory, with its bytes, times and mode."""
    found: dict[str, object] = {}
    for path in [root, *root.rglob("*")]:
        info = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (info.st_mtime_ns, info.st_mode, info.st_ino, content)
    return found


@pytest.mark.parametrize("dirty", [False, True])
def test_the_users_repository_is_not_written_to(repo, take, dirty) -> None:
    repo.git("tag", "v1")
    repo.write("README", "changed\n")
    repo.write("new")
    os.utime(repo.path / "src/app.py", (1, 1))  # git status would refresh its index
    before = state(repo.path)
    take(repo.path, dirty=dirty)
    assert state(repo.path) == before


def test_a_repository_that_can_not_be_written_to_is_taken(repo, take) -> None:
    for path in [*repo.path.rglob("*"), repo.path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(take(repo.path).files) == 2
    finally:
        for path in [repo.path, *repo.path.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("scope", ["--local", "--global"])
def test_no_program_that_a_repository_names_is_started(repo, take, tmp_path, scope) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{tmp_path}/started'\ncat\n")
    trap.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for place in (hooks, repo.path / ".git/hooks"):
        place.mkdir(exist_ok=True)
        for hook in HOOKS:
            shutil.copy(trap, place / hook)
    repo.write(".gitattributes", "README filter=a=b.c diff=trap\nsrc/* filter=trap\n")
    repo.commit()
    program = str(trap)
    for key in [
        "core.fsmonitor", "diff.external", "diff.trap.textconv", "diff.trap.command", "core.pager",
        "pager.status", "filter.trap.clean", "filter.trap.smudge", "filter.trap.process",
        "filter.a=b.c.clean", "filter.a=b.c.smudge", "gpg.program", "core.sshCommand", "core.askPass",
        "core.editor", "core.alternateRefsCommand", "credential.helper", "alias.status",
    ]:  # fmt: skip
        repo.git("config", scope, key, program)
    repo.git("config", scope, "core.hooksPath", str(hooks))
    repo.git("config", scope, "filter.trap.required", "true")
    repo.git("config", scope, "log.showSignature", "true")
    repo.write("README", "changed\n")
    repo.write("src/app.py", "print('HELLO')\n")
    (tmp_path / "started").unlink(missing_ok=True)
    taken = take(repo.path, dirty=True)
    assert taken.files[b"README"] == (False, b"changed\n")
    assert not (tmp_path / "started").exists()


def test_a_partial_clone_fetches_nothing(repo, take, tmp_path) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    repo.git("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repo.path}", str(clone))
    with pytest.raises(StepFailed, match=r"can't be written: .*check the commit out with git first"):
        take(clone)
    assert "\n?" in type(repo)(clone).git("rev-list", "--objects", "--missing=print", "HEAD")


@pytest.mark.parametrize(
    "remote",
    [
        {"url": "ssh://example.com/shop"},
        {"url": "{repo}", "uploadpack": "{trap}"},
        {"url": "ext::{trap} %S"},
        {"url": "trap::anything"},
        {"url": "anything", "vcs": "trap"},
    ],
    ids=["ssh", "uploadpack", "ext", "helper", "vcs"],
)
def test_a_partial_clone_starts_nothing_to_fetch_with(repo, take, tmp_path, monkeypatch, remote) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    trap = programs / "git-remote-trap"
    trap.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\nexit 1\n")
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{programs}")
    repo.git("config", "uploadpack.allowFilter", "true")
    path = tmp_path / "clone"
    repo.git("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repo.path}", str(path))
    clone = type(repo)(path)
    for key, value in remote.items():
        clone.git("config", f"remote.origin.{key}", value.format(repo=repo.path, trap=trap))
    for key in ("core.sshCommand", "core.gitProxy", "credential.helper", "core.alternateRefsCommand"):
        clone.git("config", key, str(trap))
    clone.git("config", "protocol.allow", "always")

    with pytest.raises(StepFailed, match=r"can't be written: "):
        take(path)

    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("how", ["environment", "section"])
@pytest.mark.parametrize(
    "variable",
    [
        "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
        "GIT_NAMESPACE", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_PREFIX", "GIT_REPLACE_REF_BASE",
    ],
)  # fmt: skip
def test_the_environment_does_not_lead_git_astray(repo, new_repo, take, monkeypatch, variable, how) -> None:
    other = new_repo("other")
    other.write("wrong")
    other.commit("Wrong")
    expected = take(repo.path).revision
    value = str(other.path / ".git")
    if how == "environment":
        monkeypatch.setenv(variable, value)
        taken = take(repo.path)
    else:
        taken = take(repo.path, env={variable: value})
    monkeypatch.undo()
    assert (taken.revision, len(taken.files)) == (expected, 2)


def test_settings_in_the_environment_stay(repo, take, monkeypatch) -> None:
    # Containers trust a repository in this way; filters are switched off by more of the same.
    repo.git("config", "filter.a.clean", "false")
    repo.write(".gitattributes", "* filter=a\n")
    repo.write("mine.tmp")
    ignore = repo.path.parent / "ignore"
    ignore.write_text("*.tmp\n")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(ignore))
    assert take(repo.path).revision.left_out == (".gitattributes",)


def message(take, project: Path, **settings: object) -> str:
    with pytest.raises(StepFailed) as raised:
        take(project, **settings)
    return str(raised.value)


def test_no_repository_is_told(take, tmp_path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert message(take, project) == (
        f"{project} is in no git repository, and the source is what is committed. Make one: "
        "git init && git add --all && git commit"
    )


def test_no_commit_is_told(new_repo, take) -> None:
    repo = new_repo("empty")
    repo.write("file")
    assert message(take, repo.path) == (
        "the repository has no commit yet (branch main), and a run is about one. Make it: "
        "git add --all && git commit"
    )
    assert "no commit yet" in message(take, repo.path, dirty=True)


def test_an_unknown_ref_is_told_with_one_that_is_near(repo, take) -> None:
    repo.git("branch", "release/1.0")
    assert message(take, repo.path, ref="relaese/1.0") == (
        'ref: "relaese/1.0" names no commit in this repository. Did you mean "release/1.0"?'
    )
    assert message(take, repo.path, ref="--help") == 'ref: "--help" names no commit in this repository.'
    assert message(take, repo.path, ref="HEAD:README") == (
        'ref: "HEAD:README" names no commit in this repository.'
    )


def test_a_tree_without_files_is_refused(repo, new_repo, take) -> None:
    repo.write("new/app.py")
    assert re.fullmatch(
        r'the directory "new/" of commit [0-9a-f]{7} holds no file, so there is nothing to build or test\. '
        r"Commit the project's files \(git add --all && git commit\), or take them as they are with --dirty",
        message(take, repo.path / "new"),
    )
    bare = new_repo("bare bones")
    bare.commit()
    assert re.match("commit [0-9a-f]{7} holds no file", message(take, bare.path))


def test_a_project_that_git_ignores_is_refused(repo, take) -> None:
    repo.write("build/app.py")
    repo.write(".gitignore", "build\n")
    repo.commit()
    assert re.fullmatch(
        r'the directory "build/" of commit [0-9a-f]{7} holds no file, the working tree adds none that git '
        r"does not ignore\. To see which it ignores: git status --ignored",
        message(take, repo.path / "build", dirty=True),
    )


def test_a_tree_of_submodules_alone_is_refused(repo, new_repo, take) -> None:
    holder = new_repo("holder")
    holder.git("submodule", "--quiet", "add", str(repo.path), "part")
    holder.git("rm", "--quiet", "--cached", ".gitmodules")
    holder.git("commit", "--quiet", "--message", "One submodule")
    assert "holds no file" in message(take, holder.path)


def test_a_missing_git_is_told(repo, take, monkeypatch, tmp_path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to(shutil.which("sh"))
    monkeypatch.setenv("PATH", str(programs))
    assert message(take, repo.path).startswith("git is not on the PATH, or can't be run. Install it")


def test_a_repository_of_somebody_else_is_refused_with_what_to_do(repo, take, monkeypatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a repository to somebody else")
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in [repo.path, repo.path / ".git"]:
        os.chown(path, 12345, 12345)
    assert message(take, repo.path) == (
        f"the repository of {repo.path} belongs to another user, so git does not read it: its settings could "
        f"run programs as you. If you trust it: git config --global --add safe.directory {repo.path}"
    )
    repo.git("config", "--global", "--add", "safe.directory", str(repo.path))
    assert len(take(repo.path).files) == 2


def test_a_bare_repository_is_refused(repo, take, tmp_path) -> None:
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(tmp_path / "bare.git"))
    assert "has no working files" in message(take, tmp_path / "bare.git")


def test_a_working_tree_elsewhere_is_refused(repo, take, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    repo.git("config", "core.worktree", str(elsewhere))
    assert re.search("has no working files|core.worktree names", message(take, repo.path))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("config", "can't be read: bad config line 1"),
        ("HEAD", "is in no git repository"),
        ("index", "looking for files that are not committed failed: git status ended with 128: "),
        ("objects", "is not in the repository, which is damaged. To see what is missing: git fsck"),
    ],
)
def test_a_damaged_repository_is_refused(repo, take, damage, expected) -> None:
    path = repo.path / ".git" / damage
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir()
    else:
        path.write_bytes(b"\0damaged\n")
    assert expected in message(take, repo.path)
