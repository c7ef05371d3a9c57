from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from penstock.errors import PluginError
from penstock.home import Home, Lock


def test_a_home_is_made_once_and_ignores_itself_in_git(tmp_path: Path) -> None:
    first = Home.of(tmp_path)
    (first.root / ".gitignore").write_text("*\n!kept\n")

    assert Home.of(tmp_path).root == first.root == tmp_path / ".penstock"
    assert (tmp_path / ".penstock" / ".gitignore").read_text() == "*\n!kept\n"


def test_a_home_that_can_t_be_made_says_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / ".penstock").touch()

    with pytest.raises(
        PluginError, match=r"\.penstock is no directory, and Penstock keeps its journal in one of that name\."
    ):
        Home.of(tmp_path)


def test_a_lock_is_one_s_at_a_time(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "deep" / "lock"), Lock(tmp_path / "deep" / "lock")
    assert not first.is_held()

    assert first.take()
    assert not second.take()
    assert second.is_held()
    first.release()
    assert not second.is_held()
    assert second.take()
    second.drop()


@pytest.mark.parametrize("release", [True, False], ids=["released", "dropped"])
def test_a_lock_is_held_by_what_was_forked_too_until_it_is_released(release: bool, tmp_path: Path) -> None:
    lock, other = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert lock.take()
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        if release:
            lock.release()
        else:
            lock.drop()

        assert other.take() == release
        other.release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    assert other.take(wait=True)
    other.release()
