"""For any files at all: what git would check out, and what stands in the working tree."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from penstock_git import parse

_ODD = [
    b"\n",
    b"\t",
    b'"',
    b"\\",
    b"\xe9",
    b"\xff",
    "é".encode(),
    "日".encode(),
    b" ",
    b"*",
    b"[",
    b":",
    b"-",
    b"a",
    b"A",
    b".",
]
NAME = (
    st.lists(st.sampled_from(_ODD) | st.integers(33, 255).map(lambda n: bytes([n])), min_size=1, max_size=6)
    .map(b"".join)
    .filter(
        lambda name: b"/" not in name and name.strip(b".") and not name.lower().startswith((b".git", b"git~"))
    )
)
PATH = st.lists(NAME | st.sampled_from([b"a", b"b"]), min_size=1, max_size=3).map(b"/".join)
CONTENT = st.binary(max_size=300) | st.sampled_from([b"a\r\nb\n", b"$Id$\n", b"", b"\0" * 70000])
FILE = st.tuples(st.booleans(), CONTENT) | st.sampled_from(
    [b"elsewhere", b"/etc/passwd", b"../..", b"gone\xe9"]
)
FILES = st.dictionaries(PATH, FILE, min_size=1, max_size=8)
# What stands where files stood: another file, a link, or nothing.
EDITS = st.dictionaries(PATH | st.sampled_from([b"a", b"b", b"a/a"]), FILE | st.none(), max_size=6)
COUNT = itertools.count()
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(root: Path, path: bytes, file: object) -> None:
    """Make a path what `file` says, whatever was there."""
    target = root / os.fsdecode(path)
    for above in [*reversed(target.relative_to(root).parents[:-1])]:
        place = root / above
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        if file is not None:
            place.mkdir(exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    if isinstance(file, bytes):
        target.symlink_to(os.fsdecode(file))
    elif file is not None:
        executable, content = file
        target.write_bytes(content)
        target.chmod(0o755 if executable else 0o644)


@QUICK
@given(files=FILES)
def test_a_snapshot_is_what_git_checks_out(new_repo, take, files_of, tmp_path, files) -> None:
    repo = new_repo(f"r{next(COUNT)}")
    for path, file in files.items():
        put(repo.path, path, file)
    repo.commit()
    clone = tmp_path / f"c{next(COUNT)}"
    subprocess.run(["git", "clone", "-q", repo.path, clone], check=True)
    taken = take(repo.path)
    assert taken.files == files_of(clone)
    assert (taken.revision.dirty, taken.revision.left_out) == (False, ())


@QUICK
@given(files=FILES, edits=EDITS)
def test_a_dirty_snapshot_is_the_working_tree_and_says_so_if_it_differs(
    new_repo, take, files_of, files, edits
) -> None:
    repo = new_repo(f"r{next(COUNT)}")
    for path, file in files.items():
        put(repo.path, path, file)
    repo.commit()
    committed = files_of(repo.path)
    for path, file in edits.items():
        put(repo.path, path, file)
    working = files_of(repo.path)
    clean = take(repo.path)
    assert clean.files == committed
    differing = {path for path in {*committed, *working} if committed.get(path) != working.get(path)}
    assert set(clean.revision.left_out) == {parse.shown(path) for path in differing}
    if not working:
        return
    dirty = take(repo.path, dirty=True)
    assert dirty.files == working
    assert dirty.revision.dirty == bool(differing)
    assert clean.revision.model_validate_json(clean.revision.model_dump_json()) == clean.revision


@given(st.text())
def test_what_is_shown_has_no_control_character(text) -> None:
    assert parse.printable(text).isprintable()


@given(st.binary())
def test_a_name_of_any_bytes_is_shown_as_text_that_json_takes(name) -> None:
    parse.shown(name).encode()


@given(st.binary())
def test_a_commit_of_any_bytes_is_read(raw) -> None:
    parse.commit("0" * 40, raw)
    parse.commit("0" * 40, b"author " + raw)
    parse.commit("0" * 40, b"encoding " + raw + b"\n\n\xff")


@given(st.binary())
def test_a_description_of_any_bytes_is_read(raw) -> None:
    parse.describe(raw)


@given(st.binary())
def test_a_tree_of_any_bytes_is_read_or_refused(raw) -> None:
    with contextlib.suppress(ValueError):
        for entry in parse.tree(raw, b"", 20):
            assert b"/" not in entry.path
            parse.leads_out(entry.path)
