from __future__ import annotations

from pathlib import Path

import pytest
from penstock import StepFailed
from penstock_local import written


def test_the_last_lines_of_a_log_and_what_comes_after_them_in_a_file_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log.write_text("one\ntwo\nthr")
    lines = written.lines(log, since=None, tail=1, follow=True)

    assert next(lines) == "two"
    with log.open("a") as file:
        file.write("ee\nfour\n")
    assert [next(lines), next(lines)] == ["three", "four"]
    log.rename(tmp_path / "1.log.1")
    log.write_text("five\n")
    assert next(lines) == "five"
    assert list(written.lines(log, since=None, tail=None, follow=False)) == ["five"]


def test_what_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="nothing was ever started there"):
        list(written.lines(tmp_path / "none.log", since=None, tail=1, follow=False))
    with pytest.raises(StepFailed, match="Leave out --since"):
        list(written.lines(tmp_path / "none.log", since=1.0, tail=1, follow=False))
