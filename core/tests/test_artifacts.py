from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.artifacts import TREE, Store, remove, walk
from penstock.errors import PluginError, StepFailed, StepRefused

from core.tests.lab import until

_fresh = itertools.count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trees")


# --- what goes in comes out ---

names = st.binary(min_size=1, max_size=12).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)
odd_names = st.one_of(
    names, st.sampled_from([b"a", b"b", b"new\nline", b"caf\xe9", b"-rf", b" ", b'"', b"\\", "ü".encode()])
)
leaves = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=20), st.booleans()),
    st.tuples(st.just("link"), st.sampled_from([b"nowhere", b"/etc/passwd", b"../..", b".", b"a"])),
    st.just(("dir",)),
)
trees = st.recursive(
    leaves, lambda below: st.dictionaries(odd_names, below, max_size=4), max_leaves=12
).filter(lambda tree: isinstance(tree, dict))


def make(tree: object, path: bytes) -> None:
    if isinstance(tree, dict) or tree == ("dir",):
        os.mkdir(path)  # noqa: PTH102 - a name of bytes
        for name, below in tree.items() if isinstance(tree, dict) else ():
            make(below, path + b"/" + name)
    elif tree[0] == "link":  # type: ignore[index]  # a tuple, as the strategy says
        os.symlink(tree[1], path)  # type: ignore[index]  # noqa: PTH211
    else:
        with open(path, "wb") as file:  # noqa: PTH123 - a name of bytes
            file.write(tree[1])  # type: ignore[index]
            os.fchmod(file.fileno(), 0o755 if tree[2] else 0o644)  # type: ignore[index]


def seen(root: Path) -> dict[bytes, object]:
    """All that a directory holds, by an account that does not use the code under test."""
    found: dict[bytes, object] = {}
    for parent, directories, files in os.walk(os.fsencode(root)):
        for name in [*directories, *files]:
            path = os.path.join(parent, name)  # noqa: PTH118 - bytes
            info = os.lstat(path)
            key = os.path.relpath(path, os.fsencode(root))
            if stat.S_ISLNK(info.st_mode):
                found[key] = os.readlink(path)
            elif stat.S_ISDIR(info.st_mode):
                found[key] = "directory"
            else:
                with open(path, "rb") as file:  # noqa: PTH123 - a name of bytes
                    found[key] = (file.read(), bool(info.st_mode & 0o100))
    return found


@given(tree=trees)
@settings(deadline=None, max_examples=60)
def test_a_tree_comes_out_as_it_went_in_and_its_digest_is_that_of_what_it_holds(
    tree: object, place: Path
) -> None:
    here = place / str(next(_fresh))
    here.mkdir()
    store = Store(here / "store")
    make(tree, os.fsencode(here / "in"))

    digest, size = store.add_tree(here / "in")
    store.write_tree(digest, here / "out")

    assert seen(here / "out") == seen(here / "in")
    assert size == sum(len(entry[0]) for entry in seen(here / "in").values() if isinstance(entry, tuple))
    assert store.add_tree(here / "out") == (digest, size)
    assert store.is_tree(digest)


@given(data=st.binary(max_size=200))
@settings(deadline=None, max_examples=30)
def test_bytes_and_a_file_of_them_are_known_by_the_same_digest(data: bytes, place: Path) -> None:
    here = place / str(next(_fresh))
    here.mkdir()
    (here / "file").write_bytes(data)
    store = Store(here / "store")

    digest = store.add_bytes(data)

    assert store.add_file(here / "file") == (digest, len(data))
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert store.read(digest) == data
    assert not store.is_tree(digest)


def test_a_tree_s_digest_says_names_modes_and_links_not_times_and_owners(
    store: Store, tmp_path: Path
) -> None:
    for number, (mode, when) in enumerate([(0o644, 5), (0o600, 9), (0o755, 5)]):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "file").write_text("x")
        (root / "file").chmod(mode)
        os.utime(root / "file", (when, when))

    first, second, executable = (store.add_tree(tmp_path / str(number))[0] for number in range(3))

    assert first == second
    assert first != executable


def test_a_hard_link_comes_out_as_a_file_of_its_own(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "a").write_text("x")
    os.link(root / "a", root / "b")

    store.write_tree(store.add_tree(root)[0], tmp_path / "out")
    (tmp_path / "out" / "a").write_text("changed")

    assert (tmp_path / "out" / "b").read_text() == "x"


def test_what_is_left_out_is_so_at_the_top_only(store: Store, tmp_path: Path) -> None:
    for name in (".git/config", "src/.git/config"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_text("x")

    digest, _ = store.add_tree(tmp_path / "in", leave_out=frozenset({".git"}))

    assert [entry["path"] for entry in store.tree(digest)] == ["src/.git/config"]


# --- walking ---


def test_a_walk_goes_by_name_and_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    root = tmp_path / "in"
    (root / "b" / "empty").mkdir(parents=True)
    for name in ("b/z", "a.txt", "c", "b/a"):
        (root / name).touch()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "b" / "up").symlink_to("..")

    assert [relative for relative, _, _ in walk(root)] == [
        "a.txt",
        "b/a",
        "b/empty",
        "b/up",
        "b/z",
        "c",
        "link",
    ]


def test_pipes_and_sockets_do_not_count(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "only-special").mkdir(parents=True)
    os.mkfifo(root / "only-special" / "pipe")
    (root / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(root)
        listening.bind("socket")
        os.chdir(before)

        digest, _ = store.add_tree(root)

    assert [entry["path"] for entry in store.tree(digest)] == ["file", "only-special"]


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_what_is_neither_file_nor_directory_is_not_waited_for(
    what: str, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    with pytest.raises(StepFailed, match=r"it can't be kept: it is neither a file nor a directory"):
        store.keep(path, "file")


def nest(root: Path, levels: int, name: str = "d") -> None:
    """Directories in each other, where need be deeper than a path may be long."""
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_directories_deeper_than_python_s_stack_are_walked_and_removed(store: Store, tmp_path: Path) -> None:
    nest(tmp_path / "in", 1100)

    digest, _ = store.add_tree(tmp_path / "in")
    remove(tmp_path / "in")

    assert store.tree(digest) == [{"path": "/".join("d" * 1100), "dir": 1}]
    assert not (tmp_path / "in").exists()


def test_a_path_longer_than_any_may_be_is_removed(tmp_path: Path) -> None:
    nest(tmp_path / "in", 400, "d" * 20)

    remove(tmp_path / "in")

    assert os.listdir(tmp_path) == []


def test_removing_takes_everything_and_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    root = tmp_path / "in"
    (root / "closed").mkdir(parents=True)
    (root / "closed" / "file").touch()
    (root / "closed").chmod(0)
    (root / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")

    for path in (root / "link", root / "pipe", root, tmp_path / "never there"):
        remove(path)

    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["precious"]


# --- bytes that are not those ---


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    if how == "missing":
        path.unlink()
    elif how == "changed":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif how == "truncated":
        path.write_bytes(data[:-1])
    elif how == "longer":
        path.write_bytes(data + b"\n")
    elif how == "directory":
        path.unlink()
        path.mkdir()


WAYS = ["missing", "changed", "truncated", "longer", "directory"]


@pytest.mark.parametrize("how", WAYS)
def test_bytes_that_are_not_the_digest_s_are_refused_wherever_they_are_read(
    how: str, store: Store, tmp_path: Path
) -> None:
    digest = store.add_bytes(b"what was tested")
    damage(store.path(digest), how)
    says = "can't be read from the store" if how in ("missing", "directory") else "are not those of"

    for read in (store.read, store.verify, lambda digest: store.write_to(digest, tmp_path / "out")):
        with pytest.raises(StepRefused, match=says) as caught:
            read(digest)
        assert digest in str(caught.value)
    assert not (tmp_path / "out").exists()


@given(at=st.integers(0, 299))
@settings(deadline=None, max_examples=25)
def test_one_bit_is_enough(at: int, place: Path) -> None:
    store = Store(place / str(next(_fresh)))
    digest = store.add_bytes(bytes(300))
    flip(store.path(digest), at)

    with pytest.raises(StepRefused):
        store.read(digest)


@pytest.mark.parametrize("how", ["missing", "changed", "truncated", "longer"])
def test_what_was_damaged_is_right_again_when_it_is_kept_again(
    how: str, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    digest, _ = store.add_file(tmp_path / "file")

    for keep in (lambda: store.add_file(tmp_path / "file")[0], lambda: store.add_bytes(b"content")):
        damage(store.path(digest), how)
        assert keep() == digest
        assert store.read(digest) == b"content"


@pytest.mark.parametrize(
    "entries",
    [
        [{"path": "../outside", "sha256": "", "size": 1, "exec": 0}],
        [{"path": "/outside", "link": "x"}],
        [{"path": "a/../../outside", "link": "x"}],
        [{"path": "", "dir": 1}],
        [{"path": "a/./b", "dir": 1}],
        [{"path": "a", "link": "/tmp"}, {"path": "a/b", "dir": 1}],
        [{"path": "a/b", "dir": 1}, {"path": "a", "link": "/tmp"}],
        [{"path": "a", "link": "/tmp"}, {"path": "a", "dir": 1}],
        [{"path": 5, "dir": 1}],
        [{"dir": 1}],
        ["a"],
        {"a": 1},
        7,
    ],
    ids=str,
)
def test_a_manifest_that_somebody_made_up_leads_nowhere(
    entries: object, store: Store, tmp_path: Path
) -> None:
    made_up = json.dumps({"type": TREE, "entries": entries}, sort_keys=True, separators=(",", ":")).encode()
    digest = store.add_bytes(made_up)
    assert store.is_tree(digest)

    with pytest.raises(StepRefused, match=r"is not a directory that Penstock has kept"):
        store.write_tree(digest, tmp_path / "out" / "deeper")

    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff\xfe", b'{"entries":[],"type":"other"}', b"[1]"], ids=repr
)
def test_a_file_is_no_directory(data: bytes, store: Store) -> None:
    digest = store.add_bytes(data)

    assert not store.is_tree(digest)
    with pytest.raises(StepRefused, match=r"is not a directory"):
        store.tree(digest)


def test_a_file_is_not_written_through_a_link_that_stands_in_its_place(store: Store, tmp_path: Path) -> None:
    digest = store.add_bytes(b"new")
    (tmp_path / "precious").write_text("old")
    (tmp_path / "link").symlink_to("precious")

    with pytest.raises(FileExistsError):
        store.write_to(digest, tmp_path / "link")

    assert (tmp_path / "precious").read_text() == "old"


# --- names ---


def test_an_artifact_s_name_is_text_even_if_the_file_s_is_not(store: Store, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path.touch()

    artifact = store.keep(path, "file")

    assert artifact.name == "caf\ufffd"
    assert json.loads(artifact.model_dump_json())["name"] == artifact.name


# --- several writers, and those that are killed ---


def test_writers_of_the_same_bytes_do_not_hinder_each_other(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 300_000)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store.add_file(tmp_path / "file"), range(40)))

    [(digest, _)] = found
    store.verify(digest)
    assert os.listdir(store.root / "incoming") == []


def test_a_tree_does_not_wait_for_the_disk_file_by_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (waits.append(descriptor), fsync(descriptor)))
    (tmp_path / "in").mkdir()
    for number in range(50):
        (tmp_path / "in" / str(number)).write_text(str(number % 40))

    digest, _ = store.add_tree(tmp_path / "in")

    assert waits == [], "all of them come to the disk together"
    store.write_tree(digest, tmp_path / "out")
    assert seen(tmp_path / "out") == seen(tmp_path / "in")
    assert os.listdir(store.root / "incoming") == []


def test_a_writer_that_is_killed_leaves_nothing_that_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "artifacts")
    script = (
        "import sys; from pathlib import Path; from penstock.artifacts import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "with store._new() as file:\n"
        "    file.write(b'half'); file.flush(); print(flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    assert child.stdin
    child.stdout.readline()
    [left] = (store.root / "incoming").iterdir()
    assert os.listdir(store.root) == ["incoming"]
    store.sweep()
    assert left.exists(), "somebody is writing to it"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()

    store.sweep()

    assert not left.exists()


def test_writers_lose_nothing_to_one_who_sweeps_all_the_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "artifacts")
    script = (
        "import os, sys; from pathlib import Path; from penstock.artifacts import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for _ in range(300): print(store.add_bytes(os.urandom(50)))\n"
    )
    argv = [sys.executable, "-c", script, str(store.root)]
    writers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        store.sweep()

    for writer in writers:
        digests = writer.communicate()[0].split()
        assert (len(digests), writer.returncode) == (300, 0)
        assert all(store.has(digest) for digest in digests)


def test_killed_again_and_again_a_store_holds_whole_files_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "artifacts")
    script = (
        "import os, sys; from pathlib import Path; from penstock.artifacts import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "while True: store.add_bytes(os.urandom(200_000))\n"
    )
    for wanted in (3, 9, 16):
        child = subprocess.Popen([sys.executable, "-c", script, store.root])
        until(lambda count=wanted: len(list(store.root.glob("??/*"))) >= count)
        child.send_signal(signal.SIGKILL)
        child.wait()

    kept = [path for path in store.root.glob("??/*") if path.parent.name != "incoming"]
    for path in kept:
        store.verify(f"sha256:{path.parent.name}{path.name}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_a_store_that_can_t_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the directory should be")

    with pytest.raises(
        PluginError, match=r"the artifact store .*/artifacts can't be written: Not a directory"
    ):
        Store(tmp_path / "artifacts").add_bytes(b"x")


def test_too_many_open_files_say_nothing_about_what_is_kept(tmp_path: Path) -> None:
    """What can't be opened now is neither missing nor changed: no gate may close for it."""
    script = (
        "import os, resource, sys; from pathlib import Path; from penstock.artifacts import Store\n"
        "from penstock.outcomes import cure_for\n"
        "store = Store(Path(sys.argv[1])); digest = store.add_bytes(b'x')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); held = []\n"
        "try:\n    while True: held.append(os.open(os.devnull, os.O_RDONLY))\n"
        "except OSError: pass\n"
        "for read in (store.read, lambda digest: store.write_to(digest, Path(sys.argv[1], 'out'))):\n"
        "    try: read(digest)\n"
        "    except Exception as error: print(type(error).__name__, error, '|', cure_for(error))\n"
        "    os.close(held.pop())\n"  # for the file that it is written to
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a"], capture_output=True, text=True, check=True
    )

    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    for line in lines:
        assert line.startswith("PluginError sha256:")
        assert line.endswith("can't be read from the store: Too many open files | Allow more: ulimit -n")


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, sys, signal; from pathlib import Path; from penstock.artifacts import Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: Store(Path(sys.argv[1])).add_bytes(b'x' * 5000)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a"], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"PluginError the artifact store {tmp_path}/a can't be written: File too large\n"
    assert os.listdir(tmp_path / "a" / "incoming") == []


def test_what_can_t_be_read_is_not_the_store_s_fault(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"nothing can't be read: No such file or directory"):
        store.add_file(tmp_path / "nothing")


class Swept(Store):
    """A store in which somebody sweeps at the worst of moments: when all files lie there, and none is in it."""

    def sync(self) -> None:
        Store(self.root).sweep()
        super().sync()


def test_files_that_come_into_the_store_together_are_nobody_s_leftovers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(name)
    store = Swept(tmp_path / "store")

    digest, _ = store.add_tree(tmp_path / "in")

    store.write_tree(digest, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert os.listdir(store.root / "incoming") == []


def test_what_a_killed_writer_meant_to_bring_in_together_is_swept_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_bytes(b"x")
    for name in ("00ff", "00ff+11", "22ee+33"):
        (tmp_path / "incoming" / name).touch()

    store.sweep()

    assert os.listdir(tmp_path / "incoming") == []
