from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from penstock import ConfigError, Revision, StepFailed
from penstock_git import Git, penstock_changes, penstock_find_revision, penstock_read_file
from penstock_git.news import pattern
from pydantic import ValidationError

from .conftest import Repo

MATCHES = {
    "main": (["main"], ["mainx", "x/main", "Main"]),
    "release/*": (["release/1", "release/1.2-rc"], ["release/1/2", "release", "xrelease/1"]),
    "release/**": (["release/1", "release/1/2"], ["release"]),
    "v?.x": (["v1.x"], ["v10.x", "v1yx", "v/.x"]),
    "fix+(a)": (["fix+(a)"], ["fixx(a)"]),
}


@pytest.mark.parametrize("text", MATCHES)
def test_a_pattern_means_whole_names(text: str) -> None:
    yes, no = MATCHES[text]
    assert [name for name in (*yes, *no) if pattern(text).fullmatch(name)] == yes


@pytest.mark.parametrize("text", ["", " ", "a b", "-x", "a..b", "a~1", "a:b", "/a", "a/", "a\nb", "a\x00b"])
def test_what_no_branch_can_be_called_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a branch"):
        pattern(text)


def new(
    repo: Repo, *branches: str, since: dict[str, str] | None = None, **settings: str
) -> list[tuple[str, str]]:
    found = penstock_changes(Git.model_validate(settings), repo.path, branches, since or {})
    return [(str(each.ref), str(each.commit)) for each in found]


def test_of_a_branch_that_was_not_seen_its_head_is_new(repo: Repo) -> None:
    repo.commit("Two")
    head = repo.commit("Three")
    repo.git("branch", "other")

    [found] = penstock_changes(Git(), repo.path, ["ma*"], {})

    assert (found.ref, found.commit, found.subject) == ("main", head, "Three")
    assert found.author == "Ana Lima <ana@example.com>"


def test_what_follows_the_commit_seen_last_is_new_oldest_first(repo: Repo) -> None:
    first = repo.git("rev-parse", "HEAD")
    second, third = repo.commit("Two"), repo.commit("Three")

    assert new(repo, "main", since={"main": first}) == [("main", second), ("main", third)]
    assert new(repo, "main", since={"main": third}) == []


def test_of_a_merge_only_what_the_branch_itself_went_through_is_new(repo: Repo) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "-q", "-b", "topic")
    repo.commit("On the side")
    repo.git("checkout", "-q", "main")
    second = repo.commit("Two")
    repo.git("merge", "-q", "--no-ff", "-m", "Merge", "topic")

    assert new(repo, "main", since={"main": first}) == [
        ("main", second),
        ("main", repo.git("rev-parse", "HEAD")),
    ]


@pytest.mark.parametrize("kind", ["set back", "rewritten", "unknown"])
def test_of_a_branch_that_was_moved_elsewhere_the_head_is_new(repo: Repo, kind: str) -> None:
    first = repo.git("rev-parse", "HEAD")
    seen = repo.commit("Two")
    repo.git("reset", "-q", "--hard", first)
    head = repo.commit("Another two") if kind == "rewritten" else first
    since = "f" * 40 if kind == "unknown" else seen

    assert new(repo, "main", since={"main": since}) == [("main", head)]


def test_a_remote_is_asked_and_fetched_from_into_refs_of_their_own(
    repo: Repo, new_repo: Callable[..., Repo]
) -> None:
    desk = new_repo("desk")
    desk.git("remote", "add", "origin", str(repo.path))
    first = repo.git("rev-parse", "HEAD")
    assert new(desk, "main", remote="origin") == [("main", first)]
    repo.git("branch", "other")
    second = repo.commit("Two")

    assert new(desk, "*", since={"main": first, "other": first}, remote="origin") == [("main", second)]
    assert new(desk, "*", since={"main": second, "other": first}, remote="origin") == []
    assert desk.git("for-each-ref", "--format=%(refname)").splitlines() == ["refs/penstock/origin/main"]
    assert penstock_read_file(Git(), desk.path, Revision(commit=second), "README") == b"shop\n"


def test_a_remote_that_is_not_there_is_tried_again_and_one_that_is_none_is_not(
    repo: Repo, tmp_path: Path
) -> None:
    repo.git("remote", "add", "origin", str(tmp_path / "nowhere"))
    with pytest.raises(StepFailed, match=r'^the remote "origin" can.t be asked: '):
        new(repo, "main", remote="origin")
    with pytest.raises(ConfigError) as caught:
        new(repo, "main", remote="upstream")
    assert str(caught.value) == (
        'the source\'s remote "upstream" is none of this repository. The remotes are origin'
    )


@pytest.mark.parametrize("remote", ["-x", "", "https://example.com/x.git", "a b", "--upload-pack=touch"])
def test_a_remote_is_a_name(remote: str) -> None:
    with pytest.raises(ValidationError, match='must be the name of a remote, such as "origin"'):
        Git.model_validate({"remote": remote})


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is in no git repository"):
        new(Repo(tmp_path), "main")


# --- what a name means, and what a file held ---


def test_a_name_is_found_with_the_branch_or_tag_that_it_is(repo: Repo) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "v1", "-m", "One")
    second = repo.commit("Two")
    found = {
        name: penstock_find_revision(Git(), repo.path, name)
        for name in ("HEAD", "main", "v1", first[:9], "HEAD~1")
    }

    assert {name: (each.commit, each.ref) for name, each in found.items()} == {
        "HEAD": (second, "main"),
        "main": (second, "main"),
        "v1": (first, "v1"),
        first[:9]: (first, None),
        "HEAD~1": (first, None),
    }


@pytest.mark.parametrize("name", ["", "-x", "--all", "a\nb", "nothing", "HEAD^{tree}", "HEAD:README"])
def test_a_name_that_means_no_commit(repo: Repo, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^--rev: "):
        penstock_find_revision(Git(), repo.path, name)


def test_a_file_is_read_as_it_was_committed_in_the_project_s_directory(repo: Repo) -> None:
    repo.write("shop/what", b"one\r\n\x00")
    repo.path.joinpath("shop/link").symlink_to("what")
    repo.path.joinpath("shop/out").symlink_to("../../../etc/passwd")
    repo.path.joinpath("shop/up").symlink_to("../README")
    commit = Revision(commit=repo.commit())
    repo.write("shop/what", "another")

    def read(path: str) -> bytes | None:
        return penstock_read_file(Git(), repo.path / "shop", commit, path)

    assert read("what") == read("link") == b"one\r\n\x00"
    assert read("up") == b"shop\n"
    assert [read(path) for path in ("out", "nothing", "what/x", "a\nb", "")] == [None] * 5
