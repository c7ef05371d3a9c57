"""What the source hook takes, and what it says about it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from penstock import Revision, StepFailed, Tool
from penstock.artifacts import Store
from penstock_git import Git, penstock_source, penstock_tools
from pydantic import ValidationError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def test_a_commit_is_taken_with_all_that_is_known_of_it(repo, take) -> None:
    taken = take(repo.path)
    assert taken.files == {b"README": (False, b"shop\n"), b"src/app.py": (False, b"print('hello')\n")}
    assert taken.revision == Revision(
        commit=repo.git("rev-parse", "HEAD"),
        ref="main",
        author="Ana Lima <ana@example.com>",
        subject="Begin the shop",
        time=int(repo.git("log", "-1", "--format=%ct")),
    )


def test_the_store_gives_back_what_was_taken_whatever_the_names(repo, take, tmp_path) -> None:
    repo.write(b"caf\xe9.txt")
    repo.write("line\nbreak")
    repo.commit()
    taken = take(repo.path)
    store = Store(tmp_path / "store")
    digest, _ = store.add_tree(taken.step.workspace)
    store.write_tree(digest, tmp_path / "again")
    assert {b"caf\xe9.txt", b"line\nbreak"} < {*os.listdir(os.fsencode(tmp_path / "again"))}


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        pytest.param("v1", "v1", id="lightweight tag"),
        pytest.param("v2", "v2", id="annotated tag"),
        pytest.param("old", "old", id="branch"),
        pytest.param("HEAD~1", "HEAD~1", id="ancestor"),
    ],
)
def test_a_ref_is_taken_whatever_is_checked_out(repo, take, ref, expected) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.git("tag", "v1")
    repo.git("tag", "--annotate", "--message", "two", "v2")
    repo.git("branch", "old")
    repo.write("later")
    repo.commit("Later")
    taken = take(repo.path, ref=ref)
    assert (taken.revision.commit, taken.revision.ref) == (first, expected)
    assert b"later" not in taken.files


def test_a_short_hash_is_taken(repo, take) -> None:
    name = repo.git("rev-parse", "HEAD")
    assert take(repo.path, ref=name[:9]).revision.commit == name


def test_a_detached_head_has_no_ref(repo, take) -> None:
    repo.git("checkout", "--quiet", "--detach")
    assert take(repo.path).revision.ref is None


def test_the_nearest_tag_is_told_with_its_distance(repo, take) -> None:
    repo.git("tag", "release-1.0-rc")
    repo.write("a")
    repo.commit()
    repo.write("b")
    repo.commit()
    revision = take(repo.path).revision
    assert (revision.tag, revision.distance) == ("release-1.0-rc", 2)


def test_a_tag_on_the_commit_has_no_distance(repo, take) -> None:
    repo.git("tag", "v1.0")
    revision = take(repo.path).revision
    assert (revision.tag, revision.distance) == ("v1.0", 0)


def test_only_the_projects_directory_is_taken(repo, take) -> None:
    project = repo.path / "services/shop [a] *"
    repo.write("services/shop [a] */penstock.toml", "one")
    repo.write("services/shop [a] */src/x", "two")
    repo.write("services/shop [a] b/src/x", "other")
    repo.write("services/shop/src/x", "other")
    repo.commit()
    repo.write("outside")
    repo.write("services/shop [a] */new")
    taken = take(project)
    assert taken.files == {b"penstock.toml": (False, b"one"), b"src/x": (False, b"two")}
    assert taken.revision.left_out == ("new",)
    assert take(project, dirty=True).files.keys() == {b"penstock.toml", b"src/x", b"new"}


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b':(top)"quoted"', b"-x", b"\xc3\xa9"], ids=repr)
def test_a_project_in_a_directory_with_an_odd_name_is_taken(new_repo, take, name) -> None:
    repo = new_repo("in " + os.fsdecode(name))
    repo.write(name + b"/" + name + b"/file", "one")
    repo.write("file", "other")
    repo.commit()
    repo.write(name + b"/" + name + b"/new", "two")
    project = repo.path / os.fsdecode(name) / os.fsdecode(name)
    assert take(project).files == {b"file": (False, b"one")}
    assert take(project, dirty=True).files == {b"file": (False, b"one"), b"new": (False, b"two")}


def test_attributes_change_no_byte(repo, take) -> None:
    repo.write("windows.txt", b"a\r\nb\r\n")
    repo.write("unix.txt", b"a\nb\n")
    repo.write("id.txt", b"$Id$\n$Format:%H$\n")
    repo.write("private.txt", b"not exported\n")
    repo.write("wide.txt", "wide\n")
    repo.commit()
    repo.write(
        ".gitattributes",
        "windows.txt -text\nunix.txt text eol=crlf\nid.txt ident export-subst\nprivate.txt export-ignore\n"
        "wide.txt text working-tree-encoding=UTF-16\nREADME filter=shout\n",
    )
    repo.git("config", "filter.shout.smudge", "tr a-z A-Z")
    repo.git("config", "core.autocrlf", "true")
    repo.git("add", ".gitattributes")
    repo.git("commit", "--quiet", "--message", "Attributes")
    files = take(repo.path).files
    assert files[b"windows.txt"] == (False, b"a\r\nb\r\n")
    assert files[b"unix.txt"] == (False, b"a\nb\n")
    assert files[b"id.txt"] == (False, b"$Id$\n$Format:%H$\n")
    assert files[b"private.txt"] == (False, b"not exported\n")
    assert files[b"wide.txt"] == (False, b"wide\n")
    assert files[b"README"] == (False, b"shop\n")


def test_links_stay_links_and_modes_stay(repo, take, tmp_path) -> None:
    repo.write("run.sh", "#!/bin/sh\n", executable=True)
    (repo.path / "inside").symlink_to("src/app.py")
    (repo.path / "outside").symlink_to(tmp_path)
    (repo.path / "nowhere").symlink_to("gone")
    repo.commit()
    files = take(repo.path).files
    assert files[b"run.sh"] == (True, b"#!/bin/sh\n")
    assert files[b"inside"] == b"src/app.py"
    assert files[b"outside"] == os.fsencode(tmp_path)
    assert files[b"nowhere"] == b"gone"


def test_a_tree_that_writes_through_a_link_is_refused(repo, take, tmp_path) -> None:
    blob = repo.git("hash-object", "-w", "--stdin", given=b"evil")
    link = repo.git("hash-object", "-w", "--stdin", given=os.fsencode(tmp_path))
    inner = repo.git("mktree", given=f"100644 blob {blob}\tplanted\n".encode())
    raw = b"120000 a\0" + bytes.fromhex(link) + b"40000 a\0" + bytes.fromhex(inner)
    top = repo.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=raw)
    repo.git("update-ref", "refs/heads/evil", repo.git("commit-tree", top, given=b"evil"))
    with pytest.raises(StepFailed, match='holds "a" twice'):
        take(repo.path, ref="evil")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("name", ["..", ".git", ".GIT"])
def test_a_tree_with_a_name_that_leads_out_is_refused(repo, take, tmp_path, name) -> None:
    blob = repo.git("hash-object", "-w", "--stdin", given=b"evil")
    inner = repo.git("mktree", given=f"100644 blob {blob}\tplanted\n".encode())
    raw = b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner)
    top = repo.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=raw)
    repo.git("update-ref", "refs/heads/evil", repo.git("commit-tree", top, given=b"evil"))
    with pytest.raises(StepFailed, match="reading commit"):
        take(repo.path, ref="evil")
    assert not [*tmp_path.rglob("planted")]


def test_submodules_and_lfs_pointers_are_told(repo, new_repo, take) -> None:
    other = new_repo("other")
    other.write("file")
    other.commit()
    repo.git("submodule", "--quiet", "add", str(other.path), "lib/other")
    repo.write("big.bin", POINTER.format("a" * 64, 123456))
    repo.commit()
    taken = take(repo.path)
    assert b"big.bin" in taken.files
    assert [*(taken.step.workspace / "lib/other").iterdir()] == []
    assert "Submodules are not fetched; their directories are empty:\n  lib/other\n" in taken.log
    assert "these files are pointers, as they are committed:\n  big.bin\n" in taken.log
    assert taken.revision.left_out == ()


def test_a_shallow_clone_is_taken_and_told(repo, take, tmp_path) -> None:
    repo.git("tag", "v1")
    repo.write("more")
    name = repo.commit()
    clone = tmp_path / "clone"
    repo.git("clone", "--quiet", "--depth=1", f"file://{repo.path}", str(clone))
    taken = take(clone)
    assert (taken.revision.commit, taken.revision.tag) == (name, None)
    assert "The clone is shallow, so tags may be missing" in taken.log
    with pytest.raises(StepFailed, match="The clone is shallow and may lack it"):
        take(clone, ref="v1")


def test_a_worktree_is_taken_with_its_own_branch_and_changes(repo, take, tmp_path) -> None:
    other = tmp_path / "other tree"
    repo.git("worktree", "add", "--quiet", "-b", "feature", str(other))
    (other / "new").write_text("new")
    taken = take(other)
    assert (taken.revision.ref, taken.revision.left_out) == ("feature", ("new",))
    assert taken.files.keys() == {b"README", b"src/app.py"}
    assert take(repo.path).revision.left_out == ()


def test_a_clone_that_shares_objects_and_has_packs_is_taken(repo, take, tmp_path) -> None:
    repo.git("gc", "--quiet")
    repo.git("clone", "--quiet", "--shared", str(repo.path), str(tmp_path / "clone"))
    assert take(tmp_path / "clone").files.keys() == {b"README", b"src/app.py"}


def test_objects_that_lie_elsewhere_are_found(repo, take, tmp_path) -> None:
    odd = tmp_path / os.fsdecode(b'odd "\xe9\n:place')
    repo.git("clone", "--quiet", "--shared", str(repo.path), str(odd))
    alternates = odd / ".git/objects/info/alternates"
    alternates.write_text("../../../repo/.git/objects\n")
    assert take(odd).files.keys() == {b"README", b"src/app.py"}


def test_a_sha256_repository_is_taken(new_repo, take) -> None:
    repo = new_repo("sha256", "--object-format=sha256")
    repo.write("file", "one")
    name = repo.commit()
    taken = take(repo.path)
    assert len(name) == 64
    assert (taken.revision.commit, taken.files) == (name, {b"file": (False, b"one")})


def test_a_commit_that_was_replaced_is_taken_as_it_was(repo, take) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.write("README", "replaced\n")
    second = repo.commit("Replaced")
    repo.git("checkout", "--quiet", "--detach", first)
    repo.git("replace", first, second)
    taken = take(repo.path, ref=first)
    assert (taken.revision.subject, taken.files[b"README"]) == ("Begin the shop", (False, b"shop\n"))


def test_a_subject_in_another_encoding_and_with_control_characters_is_readable(repo, take) -> None:
    repo.git(
        "-c",
        "i18n.commitEncoding=ISO-8859-1",
        "commit",
        "--allow-empty",
        "-qF",
        "-",
        given=b"caf\xe9 \x1b[2J",
    )
    assert take(repo.path).revision.subject == "café \\x1b[2J"


def test_a_repository_with_many_uncommitted_files_names_some_and_counts_the_rest(repo, take) -> None:
    for number in range(1234):
        repo.write(f"new/{number:04}")
    left_out = take(repo.path).revision.left_out
    assert (len(left_out), left_out[0], left_out[-1]) == (201, "new/0000", "… and 1,034 more")


@pytest.mark.parametrize(("tags", "expected"), [(0, 4), (1, 5)], ids=["no tag", "a tag"])
def test_few_processes_are_started(repo, take, monkeypatch, tmp_path, tags, expected) -> None:
    for number in range(tags):
        repo.git("tag", f"v{number}")
    for number in range(250):
        repo.write(f"some/{number % 7}/{number}")
    repo.commit()
    started = tmp_path / "started"
    places = [tmp_path / "programs", *os.environ["PATH"].split(os.pathsep)]
    places[0].mkdir()
    for name in ("git", "sh"):
        program = places[0] / name
        program.write_text(f'#!/bin/sh\necho {name} >> "{started}"\nexec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, places)))

    assert len(take(repo.path).files) == 252

    assert started.read_text().split() == ["git"] * expected


def test_a_large_file_is_taken_whole(repo, take) -> None:
    content = bytes(range(256)) * 20_000
    repo.write("large", content)
    repo.commit()
    assert take(repo.path).files[b"large"] == (False, content)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("blob", "can't be written: {name} is missing. Where objects are missing from a partial or damaged"),
        ("tree", "reading commit [0-9a-f]{{12}} failed: {name} is missing"),
    ],
)
def test_an_object_that_is_not_there_is_told(repo, take, kind, expected) -> None:
    name = repo.git("rev-parse", "HEAD:src/app.py" if kind == "blob" else "HEAD:src")
    (repo.path / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(StepFailed, match=expected.format(name=name)):
        take(repo.path)


def test_an_object_that_is_damaged_is_told(repo, take) -> None:
    name = repo.git("rev-parse", "HEAD:src/app.py")
    place = repo.path / ".git/objects" / name[:2] / name[2:]
    place.chmod(0o644)
    place.write_bytes(b"damaged")
    with pytest.raises(StepFailed, match="can't be written: "):
        take(repo.path)


@pytest.mark.parametrize("ref", ["", " ", "a\nb", "a\0b", "\x1b"], ids=repr)
def test_a_ref_that_can_be_none_is_refused(ref) -> None:
    with pytest.raises(ValidationError, match="must name a commit"):
        Git(ref=ref)


def test_the_git_that_is_run_is_named(monkeypatch, tmp_path) -> None:
    (tool,) = penstock_tools(Git())
    assert tool.name == "git"
    assert tool.version[0].isdigit()
    assert Path(tool.path).is_absolute()
    assert len(tool.sha256 or "") == 64
    assert isinstance(tool, Tool)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert penstock_tools(Git()) == []


def test_a_git_that_does_not_work_is_not_named(monkeypatch, tmp_path) -> None:
    broken = tmp_path / "git"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert penstock_tools(Git()) == []


def test_a_commit_that_is_asked_for_is_taken_whatever_is_checked_out(repo, make_step) -> None:
    commit = repo.git("rev-parse", "HEAD")
    repo.git("tag", "v1")
    repo.commit("Later")
    repo.write("README", "changed\n")
    repo.write("new")
    step = make_step("source", revision=Revision(commit=commit, ref="main"))
    step.project.rmdir()
    step.project.symlink_to(repo.path)

    revision = penstock_source(Git(ref="nothing", dirty=True), step)

    assert (revision.commit, revision.ref, revision.tag) == (commit, "main", "v1")
    assert (revision.dirty, revision.left_out) == (False, ())
    assert (step.workspace / "README").read_text() == "shop\n"
    assert not (step.workspace / "new").exists()
