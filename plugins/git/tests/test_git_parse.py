"""What git prints, read without git."""

from __future__ import annotations

import os

import pytest
from penstock.errors import PluginError
from penstock_git import named, parse
from penstock_git.parse import Commit, Entry, Pointer
from penstock_git.program import brief, variables, where, without_filters

RAW = (
    b"tree 1\nauthor Ana <ana@example.com> 1700000000 +0100\ncommitter Bo <bo@example.com> 1700000099 -0300\n"
    b"gpgsig -----BEGIN\n author Eve <eve@example.com> 1 +0000\n -----END\n\n\nSubject\nmore\n"
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(RAW, Commit("c", "Ana <ana@example.com>", 1700000099, "Subject"), id="signed"),
        pytest.param(b"", Commit("c", None, None, None), id="empty"),
        pytest.param(b"author Ana\ncommitter x> y\n\n", Commit("c", None, None, None), id="damaged"),
        pytest.param(b"encoding latin-1\n\ncaf\xe9", Commit("c", None, None, "café"), id="encoding"),
        pytest.param(b"encoding nonsense\n\ncaf\xe9", Commit("c", None, None, "caf\\xe9"), id="no encoding"),
        pytest.param(b"encoding base64\n\ncafe", Commit("c", None, None, "cafe"), id="no text encoding"),
    ],
)
def test_a_commit(raw, expected) -> None:
    assert parse.commit("c", raw) == expected


def test_commits_and_what_is_none() -> None:
    output = b"aa commit 9\n\n\nline\nx\n\nfoo bar missing\ncc blob 3\na\nb\nab ambiguous\n"
    assert parse.commits(output, 4) == [Commit("aa", None, None, "line"), None, None, None]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"v1.2-0-gabc\n", ("v1.2", 0)),
        (b"v1-2-g3-14-gabc\n", ("v1-2-g3", 14)),
        (b"caf\xe9-1-gabc\n", ("caf\\xe9", 1)),
        (b"", (None, 0)),
        (b"abc", (None, 0)),
        (b"-1-gabc", (None, 0)),
    ],
    ids=repr,
)
def test_a_description(output, expected) -> None:
    assert parse.describe(output) == expected


@pytest.mark.parametrize("digest", [20, 32])
def test_a_tree(digest) -> None:
    one, two = bytes(range(digest)), b"\n" * digest
    raw = b"100755 a\tb\nc\0" + one + b"40000 lib\0" + two + b"0160000 \xe9\0" + one

    assert parse.tree(raw, b"p/", digest) == [
        Entry(0o100755, b"p/a\tb\nc", one.hex()),
        Entry(0o040000, b"p/lib", two.hex()),
        Entry(0o160000, b"p/\xe9", one.hex()),
    ]
    assert parse.tree(b"", b"", digest) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"100644 a",
        b"100644 a\0" + b"x" * 19,
        b"100644 \0" + b"x" * 20,
        b"100644 a/b\0" + b"x" * 20,
        b"rwxr-xr-x a\0" + b"x" * 20,
        b"-100644 a\0" + b"x" * 20,
        b"777777777777777777777 a\0" + b"x" * 20,
    ],
    ids=repr,
)
def test_what_is_no_tree_is_refused(raw) -> None:
    with pytest.raises(ValueError, match=r"no tree|not found"):
        parse.tree(raw, b"", 20)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in (b".", b"..", b".git", b".GiT", b"git~1", b"GIT~1", b".git. .", b".git ")),
        *((name, True) for name in (b".git::$INDEX_ALLOCATION", b".git\\x", ".g\u200cit".encode())),
        *(
            (name, False)
            for name in (b"...", b".gitignore", b"git", b"git~2", b".git-blame", b"a.git", b".gi")
        ),
    ],
    ids=repr,
)
def test_a_name_that_leads_out(name, expected) -> None:
    assert parse.leads_out(name) is expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], None),
        ([b"a", b"b/c", b"b/d", b"bc"], None),
        ([b"a", b"a"], b"a"),
        ([b"a", b"a/b/c"], b"a"),
        ([b"x", b"a/b", b"a/b/c"], b"a/b"),
    ],
    ids=repr,
)
def test_a_path_that_is_there_twice_is_found(paths, expected) -> None:
    assert parse.twice([Entry(0o100644, path) for path in paths]) == expected


def test_changes_are_relative_and_told_once() -> None:
    output = b" M p/b\0D  p/a -> c\0?? p/a -> c\0?? p/nested/\0"
    assert parse.changed(output, b"p/") == [b"a -> c", b"b", b"nested/"]


@pytest.mark.parametrize("output", [b"garbage\0", b"?? elsewhere\0"], ids=repr)
def test_output_that_git_never_prints_is_refused(output) -> None:
    with pytest.raises(PluginError, match="git status printed"):
        parse.changed(output, b"p/")
    with pytest.raises(PluginError, match="git cat-file printed"):
        parse.commits(b"aa commit x\n", 1)


def test_filters() -> None:
    output = b"filter.lfs.clean\0filter.lfs.required\0filter.a=b.c.smudge\0filter.x\0"
    assert parse.filters(output) == ["a=b.c", "lfs"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{a}\nsize 12\n", Pointer("a" * 64, 12)),
        (
            "version https://git-lfs.github.com/spec/v1\next-0-x sha256:1\noid sha256:{a}\nsize 0\n",
            Pointer("a" * 64, 0),
        ),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{a}\nsize 12\nmore\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", None),
        ("# version https://git-lfs.github.com/spec/v1\n", None),
    ],
    ids=["pointer", "with extension", "more", "short", "prose"],
)
def test_an_lfs_pointer(content, expected) -> None:
    assert parse.lfs_pointer(content.format(a="a" * 64).encode()) == expected


def test_filters_are_switched_off_after_what_the_environment_holds() -> None:
    env = without_filters(["lfs"], "2")
    assert env["GIT_CONFIG_COUNT"] == "6"
    assert (env["GIT_CONFIG_KEY_2"], env["GIT_CONFIG_VALUE_2"]) == ("filter.lfs.clean", "")
    assert (env["GIT_CONFIG_KEY_5"], env["GIT_CONFIG_VALUE_5"]) == ("filter.lfs.required", "false")
    assert without_filters([], "2") == {}


def test_variables_that_are_meant_for_another_git_are_dropped_and_no_others(monkeypatch) -> None:
    for name in ("GIT_DIR", "GIT_TRACE", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0"):
        monkeypatch.setenv(name, "inherited")
    section = {"GIT_INDEX_FILE": "a section's", "GIT_SEQUENCE_EDITOR": "a section's"}

    found = variables({**os.environ, **section}, {"GIT_NO_REPLACE_OBJECTS": "1"})

    assert {name for name in found if name.startswith("GIT_")} == {
        *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_NO_REPLACE_OBJECTS", "GIT_SEQUENCE_EDITOR"),
    } | {name for name in os.environ if name.startswith("GIT_CONFIG_")}
    assert found["PATH"] == os.environ["PATH"]


def test_git_is_looked_for_in_no_relative_place(tmp_path, monkeypatch) -> None:
    trap = tmp_path / "here" / "git"
    trap.parent.mkdir()
    trap.write_text("#!/bin/sh\n")
    trap.chmod(0o755)
    monkeypatch.chdir(tmp_path)

    assert where("here:.:") is None
    assert where(f"here:{trap.parent}") == str(trap)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"## main", "main"),
        (b"## feature/x...origin/feature/x [gone]", "feature/x"),
        (b"## HEAD (no branch)", None),
        (b" M README", None),
        (b"", None),
    ],
    ids=repr,
)
def test_the_branch(head, expected) -> None:
    assert parse.branch(head + b"\0?? new\0") == expected


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ("hint: x\nfatal: bad \x1b[0m object\n", "bad \\x1b[0m object"),
        ("odd\n", "odd"),
        ("", "it says nothing"),
    ],
    ids=repr,
)
def test_a_complaint_in_brief(complaint, expected) -> None:
    assert brief(complaint) == expected


def test_many_names_are_cut_short() -> None:
    assert named([b"a"] * 200) == ["a"] * 200
    assert named([b"a"] * 1201)[-1] == "… and 1,001 more"
