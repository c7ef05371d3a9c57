"""What is not committed: named, or taken where that is asked for."""

from __future__ import annotations

import hashlib
import os
import shutil

import pytest
from penstock import StepFailed

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def change(repo) -> None:
    """One file changed, one staged, one new, one ignored and one deleted."""
    repo.write("README", "changed\n")
    repo.write("staged", "staged\n")
    repo.git("add", "staged")
    repo.write("new dir/new", "new\n")
    repo.write(".gitignore", "*.log\n")
    repo.write("debug.log", "ignored\n")
    (repo.path / "src/app.py").unlink()


def test_what_is_not_committed_is_left_out_and_named(repo, take) -> None:
    change(repo)
    taken = take(repo.path)
    assert taken.files == {b"README": (False, b"shop\n"), b"src/app.py": (False, b"print('hello')\n")}
    assert taken.revision.dirty is False
    assert taken.revision.left_out == (".gitignore", "README", "new dir/new", "src/app.py", "staged")
    assert "Not committed, left out:\n  .gitignore\n  README\n" in taken.log


def test_what_is_not_committed_is_taken_where_asked(repo, take) -> None:
    change(repo)
    taken = take(repo.path, dirty=True)
    assert taken.files == {
        b".gitignore": (False, b"*.log\n"),
        b"README": (False, b"changed\n"),
        b"new dir/new": (False, b"new\n"),
        b"staged": (False, b"staged\n"),
    }
    assert not (taken.step.workspace / "src").exists()
    assert (taken.revision.dirty, taken.revision.left_out) == (True, ())
    assert "Not committed, taken:\n  .gitignore\n  README\n" in taken.log


def test_a_clean_working_tree_is_not_dirty(repo, take) -> None:
    assert take(repo.path, dirty=True).revision == take(repo.path).revision


def test_penstock_toml_is_never_left_out(repo, take) -> None:
    repo.write("penstock.toml", "new\n")
    taken = take(repo.path)
    assert (taken.revision.left_out, taken.revision.dirty) == ((), False)
    assert b"penstock.toml" not in taken.files
    repo.commit()
    repo.write("penstock.toml", "changed\n")
    repo.write("deep/penstock.toml", "another project's\n")
    assert take(repo.path).revision.left_out == ("deep/penstock.toml",)
    assert take(repo.path).files[b"penstock.toml"] == (False, b"new\n")


def test_penstock_toml_alone_makes_a_snapshot_dirty(repo, take) -> None:
    repo.write("penstock.toml", "new\n")
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, taken.files[b"penstock.toml"]) == (True, (False, b"new\n"))


def test_the_journal_is_never_taken(repo, take) -> None:
    repo.write(".penstock/journal.db", "runs")
    assert take(repo.path).revision.left_out == ()
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, b".penstock/journal.db" in taken.files) == (False, False)


def touch(repo) -> None:
    os.utime(repo.path / "README", (1, 1))


def stage_and_put_back(repo) -> None:
    repo.write("README", "changed\n")
    repo.git("add", "README")
    repo.write("README", "shop\n")


def untrack(repo) -> None:
    repo.git("rm", "--quiet", "--cached", "README")


def stage_and_remove(repo) -> None:
    repo.write("new")
    repo.git("add", "new")
    (repo.path / "new").unlink()


def make_empty_directory(repo) -> None:
    (repo.path / "empty").mkdir()


def make_pipe(repo) -> None:
    os.mkfifo(repo.path / "pipe")


@pytest.mark.parametrize(
    "act", [touch, stage_and_put_back, untrack, stage_and_remove, make_empty_directory, make_pipe]
)
def test_what_makes_no_difference_is_not_dirty(repo, take, act) -> None:
    act(repo)
    assert take(repo.path).revision.left_out == ()
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, len(taken.files)) == (False, 2)


def test_the_executable_bit_makes_a_difference(repo, take) -> None:
    (repo.path / "README").chmod(0o755)
    assert take(repo.path).revision.left_out == ("README",)
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, taken.files[b"README"]) == (True, (True, b"shop\n"))


def test_line_ends_that_git_converts_make_no_difference(repo, take) -> None:
    repo.write(".gitattributes", "* text=auto\n")
    repo.commit()
    repo.git("config", "core.autocrlf", "true")
    (repo.path / "README").unlink()
    repo.git("checkout", "--", "README")
    assert (repo.path / "README").read_bytes() == b"shop\r\n"
    os.utime(repo.path / "README", (1, 1))
    assert take(repo.path).revision.left_out == ()
    assert take(repo.path, dirty=True).files[b"README"] == (False, b"shop\n")


def test_odd_names_are_taken_and_shown_readably(repo, take) -> None:
    for name in (b"caf\xe9", b"two\nlines", b"\xc3\xa9", b'"quoted"', b"\x1b[2J", b" lead", b"a -> b"):
        repo.write(name, name)
    assert set(take(repo.path).revision.left_out) == {
        "caf\\xe9", "two\\nlines", "é", '"quoted"', "\\x1b[2J", " lead", "a -> b",
    }  # fmt: skip
    taken = take(repo.path, dirty=True)
    assert taken.files[b"caf\xe9"] == (False, b"caf\xe9")
    assert taken.revision.model_validate_json(taken.revision.model_dump_json()) == taken.revision


def test_a_directory_that_became_a_link_is_not_followed(repo, take, tmp_path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "app.py").write_text("precious\n")
    shutil.rmtree(repo.path / "src")
    (repo.path / "src").symlink_to(victim)
    assert take(repo.path).revision.left_out == ("src", "src/app.py")
    taken = take(repo.path, dirty=True)
    assert taken.files == {b"README": (False, b"shop\n"), b"src": os.fsencode(victim)}
    assert (victim / "app.py").read_text() == "precious\n"


def test_a_link_that_became_a_directory_is_not_written_through(repo, take, tmp_path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (repo.path / "link").symlink_to(victim)
    repo.commit()
    (repo.path / "link").unlink()
    repo.write("link/deep/file", "mine\n")
    taken = take(repo.path, dirty=True)
    assert taken.files[b"link/deep/file"] == (False, b"mine\n")
    assert [*victim.iterdir()] == []


def test_a_file_and_a_directory_change_places(repo, take) -> None:
    shutil.rmtree(repo.path / "src")
    repo.write("src", "a file now\n")
    (repo.path / "README").unlink()
    repo.write("README/part", "a directory now\n")
    assert take(repo.path, dirty=True).files == {
        b"README/part": (False, b"a directory now\n"),
        b"src": (False, b"a file now\n"),
    }


def test_a_file_that_became_a_pipe_is_refused(repo, take) -> None:
    (repo.path / "README").unlink()
    os.mkfifo(repo.path / "README")
    assert take(repo.path).revision.left_out == ("README",)
    with pytest.raises(StepFailed, match="README is neither a file nor a link"):
        take(repo.path, dirty=True)


def test_a_repository_within_is_left_out_even_so(repo, new_repo, take) -> None:
    nested = new_repo("repo/nested")
    nested.write("file")
    nested.commit()
    assert take(repo.path).revision.left_out == ("nested/",)
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, taken.revision.left_out, len(taken.files)) == (False, ("nested/",), 2)


def test_changes_in_a_submodule_are_not_looked_at(repo, new_repo, take) -> None:
    other = new_repo("other")
    other.write("file")
    other.commit()
    repo.git("submodule", "--quiet", "add", str(other.path), "lib")
    repo.commit()
    repo.write("lib/file", "changed\n")
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, taken.revision.left_out) == (False, ())
    assert b"lib/file" not in taken.files


def test_what_an_lfs_pointer_stands_for_makes_no_difference(repo, take) -> None:
    content = b"large\n" * 1000
    pointer = POINTER.format(hashlib.sha256(content).hexdigest(), len(content))
    repo.write("big.bin", pointer)
    repo.write(".gitattributes", "*.bin filter=lfs -text\n")
    repo.commit()
    repo.git("config", "filter.lfs.clean", "false")
    repo.git("config", "filter.lfs.required", "true")
    repo.write("big.bin", content)
    assert take(repo.path).revision.left_out == ()
    taken = take(repo.path, dirty=True)
    assert (taken.revision.dirty, taken.files[b"big.bin"]) == (False, (False, pointer.encode()))
    repo.write("big.bin", content.upper())
    assert take(repo.path).revision.left_out == ("big.bin",)
    assert take(repo.path, dirty=True).files[b"big.bin"] == (False, content.upper())


def test_dirty_goes_with_what_is_checked_out_only(repo, take) -> None:
    repo.git("tag", "v1")
    assert take(repo.path, dirty=True, ref="v1").revision.ref == "v1"
    repo.write("later")
    repo.commit()
    with pytest.raises(StepFailed) as raised:
        take(repo.path, dirty=True, ref="v1")
    assert str(raised.value) == (
        'files that are not committed belong to what is checked out, not to ref "v1". Leave out `ref` or '
        "--dirty, or check it out: git checkout v1"
    )


def test_a_project_of_which_nothing_is_committed_can_be_taken_as_it_is(repo, take) -> None:
    repo.write("new/app.py", "x\n")
    taken = take(repo.path / "new", dirty=True)
    assert (taken.files, taken.revision.dirty) == ({b"app.py": (False, b"x\n")}, True)


def test_a_file_that_can_not_be_read_is_refused(repo, take) -> None:
    path = repo.write("secret")
    repo.commit()
    repo.write("secret", "changed")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads all
        return
    with pytest.raises(StepFailed, match="secret can't be taken from the working tree: Permission denied"):
        take(repo.path, dirty=True)
