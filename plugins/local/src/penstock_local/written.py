"""What a service has written to its log: the last of it, and what comes."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from penstock import StepFailed

_LOOK_EVERY = 0.2


def lines(log: Path, *, since: float | None, tail: int | None, follow: bool) -> Iterator[str]:
    """The newest lines of a log; with `follow` for ever, also when a new file takes its place."""
    if since is not None:
        raise StepFailed("its lines have no time. Leave out --since; --tail 50 gives the last 50 lines")
    if not log.exists():
        raise StepFailed(f"there is no {log}: nothing was ever started there")
    newest: deque[str] = deque(maxlen=tail)
    number, place, found = _from(log, 0, 0)
    newest.extend(found)
    yield from newest
    while follow:
        select.select([], [], [], _LOOK_EVERY)  # portable across file systems, and soon enough for people
        with suppress(FileNotFoundError):  # between two files
            number, place, found = _from(log, number, place)
            yield from found


def _from(log: Path, number: int, place: int) -> tuple[int, int, list[str]]:
    """The whole lines after a place in a file: which file that is now, where they end, and they."""
    with log.open("rb") as file:
        now = os.fstat(file.fileno()).st_ino
        file.seek(place if now == number else 0)
        start = file.tell()
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return now, start + len(whole), whole.decode(errors="replace").splitlines()
