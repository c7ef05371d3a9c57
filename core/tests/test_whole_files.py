"""What commands write is there whole or not at all, and what killed ones left is taken away by the next."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock import processes
from penstock.cli.files import beside, create, replace, settle

from core.tests.lab import Lab, gone, number_in, until

LOOKS = """
import tempfile

@hookimpl
def penstock_test(step):
    return PASSED

@hookimpl
def penstock_propose(root, add):
    scratch = Path(tempfile.mkdtemp(), "copy")
    scratch.write_text("of the source")
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (root / "child").write_text(f"{child.pid}\\n")
    if "DIES" in os.environ:
        os.kill(os.getpid(), getattr(signal, os.environ["DIES"]))
        time.sleep(600)
    child.kill()
    return Proposal(saw="all", sections={"test.it": {}})
"""


def cut_off(do: Callable[[], object], at: str, number: int) -> int:
    """Do it in a process that sends itself a signal instead of a call of this name; how that ended."""
    pid = os.fork()
    if pid == 0:
        try:
            setattr(os, at, lambda *_, **__: (os.kill(os.getpid(), number), time.sleep(60)))
            do()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def tree(path: Path, *, force: bool = False) -> None:
    with beside(path) as place:
        (place / "it").mkdir()
        (place / "it" / "file").write_text("new")
        settle(place / "it", path, force=force)


WRITERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "create": (lambda path: create(path, b"new"), "link"),
    "replace": (lambda path: replace(path, b"new"), "replace"),
    "a directory": (tree, "rename"),
}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_that_is_cut_off_leaves_nothing_for_long(kind: str, number: int, tmp_path: Path) -> None:
    write, at = WRITERS[kind]
    path = tmp_path / "it"
    if kind == "replace":
        path.write_text("old")

    assert cut_off(lambda: write(path), at, number) == -number

    assert not path.exists() if kind != "replace" else path.read_text() == "old"
    left = [each for each in tmp_path.iterdir() if each != path]
    assert len(left) == (1 if number == signal.SIGKILL else 0)
    write(path)
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "file" if path.is_dir() else path).read_text() == "new"


def test_a_writer_leaves_alone_what_another_one_is_at(tmp_path: Path) -> None:
    with beside(tmp_path / "slow") as place:
        (place / "it").write_text("half")

        create(tmp_path / "fast", b"whole")

        assert (place / "it").read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["fast"]


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("ö" * 127)

    create(path, b"new")
    replace(path, b"newer")

    assert path.read_bytes() == b"newer"


# --- init ---


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_what_plugins_began_while_init_looked_ends_with_it(number: str, lab: Lab, tmp_path: Path) -> None:
    lab.plugin("looks", LOOKS)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    code, said = lab.run("init", TMPDIR=str(scratch), DIES=number)

    assert code == -getattr(signal, number), said
    child = until(number_in(lab.root / "child"))
    until(lambda: gone(child))
    until(lambda: not list(scratch.iterdir()))
    assert [path.name for path in lab.root.iterdir()] == ["child"]


def test_init_leaves_nothing_of_what_plugins_put_down(lab: Lab, tmp_path: Path) -> None:
    lab.plugin("looks", LOOKS)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    code, said = lab.run("init", TMPDIR=str(scratch))

    assert code == 0, said
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in lab.root.iterdir()) == [".penstock", "child", "penstock.toml"]
    assert not [pid for pid in processes.marked(str(scratch)) if not gone(pid)]


# --- plugins new ---


def test_a_plugin_that_was_cut_off_between_its_files_is_brought_to_its_end(lab: Lab) -> None:
    lab.toml("", ())
    words = ("plugins", "new", "size", "--phase", "test", "--in-house")
    assert lab.run(*words)[0] == 0
    whole = {path.name: path.read_text() for path in (lab.root / "ci").iterdir()}
    (lab.root / "ci" / "test_size.py").unlink()

    assert lab.run(*words)[0] == 0

    assert {path.name: path.read_text() for path in (lab.root / "ci").iterdir()} == whole
    code, said = lab.run(*words)
    assert (code, "size.py is there already; it is left as it is" in said) == (2, True)


@pytest.mark.parametrize("more", [(), ("--in-house",)], ids=["distribution", "in house"])
def test_who_finds_it_there_already_takes_away_what_a_killed_writer_left(
    more: tuple[str, ...], lab: Lab
) -> None:
    lab.toml("", ())
    words = ("plugins", "new", "size", "--phase", "test", *more)
    assert lab.run(*words)[0] == 0
    left = lab.root / ("ci" if more else ".") / ".penstock-new-0a1b2c3d"
    left.mkdir()

    assert lab.run(*words)[0] == 2

    assert not left.exists()
