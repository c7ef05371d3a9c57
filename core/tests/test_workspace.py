from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.artifacts import Store
from penstock.errors import PluginError, StepRefused
from penstock.workspace import Workspace

FILES = {
    "README": b"read me\n",
    "src/a.py": b"a = 1\n",
    "src/b.py": b"b = 2\n",
    "src/deep/er/c.py": b"c = 3\n",
    "run.sh": b"#!/bin/sh\n",
}
_fresh = itertools.count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspaces")


def snapshot(store: Store, place: Path, files: dict[str, bytes] = FILES) -> str:
    root = place / f"source-{next(_fresh)}"
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if "run.sh" in files:
        (root / "run.sh").chmod(0o755)
    (root / "empty").mkdir(parents=True)
    (root / "link").symlink_to("src/a.py")
    (root / "dangling").symlink_to("nowhere")
    (root / "away").symlink_to("/etc")
    return store.add_tree(root)[0]


def seen(root: Path) -> dict[str, Any]:
    """All that a directory holds, by an account that does not use the code under test."""
    found: dict[str, Any] = {".": oct(root.lstat().st_mode)}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            content: Any = os.readlink(path)
        else:
            content = path.read_bytes() if stat.S_ISREG(info.st_mode) else None
        mode = None if stat.S_ISLNK(info.st_mode) else oct(info.st_mode)
        found[str(path.relative_to(root))] = (mode, content)
    return found


@pytest.fixture
def workspace(tmp_path: Path, store: Store) -> Workspace:
    return Workspace(tmp_path / "workspace", store)


@pytest.fixture
def prepared(workspace: Workspace, store: Store, tmp_path: Path) -> str:
    digest = snapshot(store, tmp_path)
    workspace.prepare(digest)
    return digest


def inodes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_ino for path in root.rglob("*") if path.is_file()}


# --- what steps do to their checkout ---


def same_size_and_time(path: Path, _: Path) -> None:
    info = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def append(path: Path, _: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def delete(path: Path, _: Path) -> None:
    path.unlink()


def write_anew(path: Path, _: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[::-1])


def make_executable(path: Path, _: Path) -> None:
    path.chmod(0o777)


def replace_by_directory(path: Path, _: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)
    (path / "inside" / "file").touch()


def replace_by_link(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "precious")


def replace_by_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_hard_link(path: Path, outside: Path) -> None:
    twin = outside / f"twin-{next(_fresh)}"
    twin.write_bytes(path.read_bytes())
    path.unlink()
    os.link(twin, path)


def link_from_outside(path: Path, outside: Path) -> None:
    os.link(path, outside / f"twin-{next(_fresh)}")


def move(path: Path, _: Path) -> None:
    path.rename(path.with_name("moved"))


def swap(path: Path, _: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def leave_things_beside(path: Path, _: Path) -> None:
    beside = path.parent / "build" / "deeper"
    beside.mkdir(parents=True)
    (beside / "out.o").touch()
    (path.parent / "nothing in it").mkdir()
    os.mkfifo(path.parent / "pipe")


def replace_parent_by_link(path: Path, outside: Path) -> None:
    parent = path.parent
    if parent.name == "files":
        return
    shutil.rmtree(parent)
    parent.symlink_to(outside)


def close_the_parent(path: Path, _: Path) -> None:
    path.parent.chmod(0)


def open_the_parent(path: Path, _: Path) -> None:
    path.parent.chmod(0o2777)


def set_back_the_clock(path: Path, _: Path) -> None:
    append(path, _)
    os.utime(path, (1, 1))


CHANGES: list[Callable[[Path, Path], None]] = [
    same_size_and_time,
    append,
    delete,
    write_anew,
    make_executable,
    replace_by_directory,
    replace_by_link,
    replace_by_pipe,
    replace_by_hard_link,
    link_from_outside,
    move,
    swap,
    leave_things_beside,
    replace_parent_by_link,
    close_the_parent,
    open_the_parent,
    set_back_the_clock,
]


def outside_of(place: Path) -> Path:
    outside = place / f"outside-{next(_fresh)}"
    outside.mkdir()
    (outside / "precious").write_text("not the step's")
    return outside


@pytest.mark.parametrize("name", ["README", "src/deep/er/c.py"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_a_step_changed_is_put_back(
    change: Callable[[Path, Path], None], name: str, workspace: Workspace, prepared: str, tmp_path: Path
) -> None:
    before, outside = seen(workspace.files), outside_of(tmp_path)
    change(workspace.files / name, outside)

    workspace.prepare(prepared)

    assert seen(workspace.files) == before
    assert (outside / "precious").read_text() == "not the step's"


@given(
    steps=st.lists(
        st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(sorted(FILES))), max_size=5), max_size=3
    )
)
@settings(deadline=None, max_examples=15)
def test_every_step_finds_exactly_the_snapshot(
    steps: list[list[tuple[Callable[[Path, Path], None], str]]], place: Path
) -> None:
    here = place / str(next(_fresh))
    here.mkdir()
    store = Store(here / "store")
    workspace, outside = Workspace(here / "workspace", store), outside_of(here)
    digest = snapshot(store, here)
    workspace.prepare(digest)
    before = seen(workspace.files)
    for changes in steps:
        for change, name in changes:
            path = workspace.files / name
            with contextlib.suppress(OSError):  # an earlier change has taken it away
                if stat.S_ISREG(path.lstat().st_mode) and not path.parent.is_symlink():
                    change(path, outside)
        workspace.prepare(digest)

        assert seen(workspace.files) == before
    assert (outside / "precious").read_text() == "not the step's"


def test_only_what_was_changed_is_written(workspace: Workspace, prepared: str) -> None:
    before = inodes(workspace.files)
    append(workspace.files / "src/a.py", workspace.root)
    leave_things_beside(workspace.files / "README", workspace.root)

    workspace.prepare(prepared)

    after = inodes(workspace.files)
    assert {name for name in before if before[name] != after[name]} <= {"src/a.py", "link"}
    assert after["README"] == before["README"]


def test_nothing_is_written_where_nothing_was_changed(workspace: Workspace, prepared: str) -> None:
    note = workspace.root / "note.json"
    before, noted = inodes(workspace.files), note.stat().st_ino

    workspace.prepare(prepared)

    assert (inodes(workspace.files), note.stat().st_ino) == (before, noted)


def test_another_snapshot_leaves_nothing_of_the_first(
    workspace: Workspace, prepared: str, store: Store
) -> None:
    other = snapshot(store, workspace.root.parent, {"README": b"other\n", "new/file": b""})

    workspace.prepare(other)

    assert (workspace.files / "README").read_bytes() == b"other\n"
    assert not (workspace.files / "src").exists()
    workspace.prepare(prepared)
    assert (workspace.files / "src/a.py").read_bytes() == b"a = 1\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        '{"snapshot": "%s"}',
        '{"snapshot": "%s", "files": []}',
        '{"snapshot": "%s", "files": {"README": 5}}',
        '{"snapshot": "%s", "files": {"README": []}}',
        '{"snapshot": "%s", "files": {"": ["x"], "src": [null]}}',
        '{"snapshot": "%s", "files": {"never there": [33188]}}',
        b"\xff\xfe",
    ],
    ids=repr,
)
def test_a_damaged_note_is_not_trusted(note: str | bytes, workspace: Workspace, prepared: str) -> None:
    before = seen(workspace.files)
    append(workspace.files / "README", workspace.root)
    raw = note if isinstance(note, bytes) else (note.replace("%s", prepared)).encode()
    (workspace.root / "note.json").write_bytes(raw)

    workspace.prepare(prepared)

    assert seen(workspace.files) == before


def test_a_checkout_that_was_replaced_by_a_link_takes_nothing_with_it(
    workspace: Workspace, prepared: str, tmp_path: Path
) -> None:
    before = seen(workspace.files)
    outside = outside_of(tmp_path)
    workspace.files.rename(tmp_path / "elsewhere")
    workspace.files.symlink_to(outside)

    workspace.prepare(prepared)

    assert seen(workspace.files) == before
    assert not workspace.files.is_symlink()
    assert (outside / "precious").exists()


@pytest.mark.parametrize("how", ["gone", "file", "empty"])
def test_a_checkout_that_is_gone_is_made_anew(how: str, workspace: Workspace, prepared: str) -> None:
    before = seen(workspace.files)
    shutil.rmtree(workspace.files)
    if how == "file":
        workspace.files.touch()
    if how == "empty":
        workspace.files.mkdir()

    workspace.prepare(prepared)

    assert seen(workspace.files) == before


def test_directories_that_are_too_deep_are_removed(workspace: Workspace, prepared: str) -> None:
    before = seen(workspace.files)
    here = os.open(workspace.files, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    workspace.prepare(prepared)

    assert seen(workspace.files) == before


def test_a_kill_between_two_files_is_mended_by_the_next_step(workspace: Workspace, prepared: str) -> None:
    before = seen(workspace.files)
    for name in ("README", "src/a.py", "src/b.py"):
        append(workspace.files / name, workspace.root)

    def cut_off(entry: dict[str, str | int], root: Path) -> None:
        if entry["path"] == "src/a.py":
            (root / "src/a.py").write_bytes(b"ha")  # half of it
            raise KeyboardInterrupt
        Store.write_entry(workspace._store, entry, root)

    workspace._store.write_entry = cut_off  # type: ignore[method-assign]  # as a kill would
    with pytest.raises(KeyboardInterrupt):
        workspace.prepare(prepared)
    del workspace._store.write_entry

    workspace.prepare(prepared)

    assert seen(workspace.files) == before


def test_a_first_checkout_that_was_cut_off_is_not_taken_for_whole(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    digest = snapshot(store, tmp_path)
    workspace.files.mkdir(parents=True)
    (workspace.files / "README").write_bytes(b"rea")

    workspace.prepare(digest)

    assert (workspace.files / "README").read_bytes() == b"read me\n"
    assert json.loads((workspace.root / "note.json").read_text())["snapshot"] == digest


def test_bytes_that_were_changed_in_the_store_are_refused(
    workspace: Workspace, prepared: str, store: Store
) -> None:
    [entry] = [entry for entry in store.tree(prepared) if entry["path"] == "README"]
    kept = store.path(str(entry["sha256"]))
    kept.chmod(0o644)
    kept.write_bytes(b"poison!\n")
    delete(workspace.files / "README", workspace.root)

    for _ in range(2):
        with pytest.raises(StepRefused, match=r"are not those of"):
            workspace.prepare(prepared)
    assert not (workspace.files / "README").exists()


def test_what_a_step_had_for_itself_is_gone_after_it(
    workspace: Workspace, prepared: str, tmp_path: Path
) -> None:
    outside = outside_of(tmp_path)
    (workspace.tmp / "secret").write_text("x")
    workspace.inbox.symlink_to(outside)

    workspace.tidy()

    assert not workspace.tmp.exists()
    assert not workspace.inbox.is_symlink()
    assert (outside / "precious").exists()
    workspace.prepare(prepared)
    assert os.listdir(workspace.tmp) == []


def test_what_a_step_with_secrets_wrote_is_gone_after_it(workspace: Workspace, prepared: str) -> None:
    files = workspace.prepare(prepared)
    whole = seen(files)
    (files / "README").write_text("the secret")
    (files / "new" / "deep").mkdir(parents=True)
    (files / "new" / "deep" / "file").write_text("the secret")

    workspace.tidy(wholly=True)

    left = [path for path in workspace.root.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert left == []
    assert seen(workspace.prepare(prepared)) == whole
    (workspace.empty() / "token").write_text("the secret")
    workspace.tidy(wholly=True)
    assert list(workspace.files.iterdir()) == []


def test_a_source_step_begins_with_nothing(workspace: Workspace, prepared: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        before = Path.cwd()
        os.chdir(workspace.files)
        left.bind("socket")
        os.chdir(before)
        workspace.empty()

    assert os.listdir(workspace.files) == []
    workspace.prepare(prepared)
    assert (workspace.files / "README").exists()


# --- what a source step has written ---


def write_source(workspace: Workspace) -> Path:
    root = workspace.empty()
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        (root / name).chmod(0o755 if name == "run.sh" else 0o644)
    (root / "empty").mkdir()
    (root / "link").symlink_to("src/a.py")
    return root


def test_what_a_source_step_has_written_is_the_first_checkout(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    files = write_source(workspace)
    written = inodes(files)

    digest = workspace.keep()
    workspace.tidy()
    workspace.prepare(digest)

    assert inodes(files) == written
    assert seen(files) == seen(Workspace(tmp_path / "fresh", store).prepare(digest))
    assert (
        inodes(Workspace(workspace.root, store).prepare(digest)) == written
    )  # another worker may go on with it


@pytest.mark.parametrize("name", ["README", "src/deep/er/c.py"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_differs_from_a_checkout_is_not_taken_for_one(
    when: str,
    change: Callable[[Path, Path], None],
    name: str,
    workspace: Workspace,
    store: Store,
    tmp_path: Path,
) -> None:
    files = write_source(workspace)
    outside = outside_of(tmp_path)
    if when == "before":
        change(files / name, outside)
        if change is close_the_parent:
            (files / name).parent.chmod(0o700)  # or there is no snapshot at all
    digest = workspace.keep()
    if when == "after":
        workspace.prepare(digest)
        change(files / name, outside)

    workspace.prepare(digest)

    assert seen(files) == seen(Workspace(tmp_path / "fresh", store).prepare(digest))
    assert all(path.lstat().st_nlink == 1 for path in files.rglob("*") if not path.is_dir())
    assert (outside / "precious").read_text() == "not the step's"


def test_a_step_begins_at_another_time_than_its_files_have(workspace: Workspace) -> None:
    write_source(workspace)
    digest = workspace.keep()
    for _ in range(20):
        workspace.prepare(digest)
        same_size_and_time(workspace.files / "README", workspace.root)
        workspace.prepare(digest)
        assert (workspace.files / "README").read_bytes() == FILES["README"]
        shutil.rmtree(workspace.files / "src")


def test_a_workspace_that_can_t_be_made_says_where(tmp_path: Path, store: Store) -> None:
    digest = snapshot(store, tmp_path)
    (tmp_path / "file").touch()

    with pytest.raises(PluginError, match=r"the workspace .*/file/0 can't be made: Not a directory"):
        Workspace(tmp_path / "file" / "0", store).prepare(digest)
