"""Removes what runs left behind that nobody needs: marks what is needed first, and sweeps the rest.

What a run refers to is found by what looks like a digest, in its events and in what is kept for it. So
nothing is lost that an event or a statement of another kind names, at worst something stays too long.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from penstock.artifacts import Store, remove
from penstock.home import Home
from penstock.journal import Events, New

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_YOUNG = 3600.0
"""Seconds for which bytes stay that no event names yet: a step keeps them before it is finished."""
_BEGUN = ("run.started", "run.resumed")


def pruned(journal: Events) -> dict[int, float]:
    """The runs whose leavings were removed, and when."""
    return {event.run: event.time for event in journal.find("run.pruned")}


def record(journal: Events, runs: Iterable[int], by: str) -> None:
    """Put on record, before anything is removed, that what these runs left is going to be."""
    now = time.time()
    for run in runs:
        journal.stage(run, [New("run.pruned", None, {"by": by}, now)])
    journal.commit()


def needed(journal: Events, home: Home, without: Collection[int]) -> set[str]:
    """All digests that the runs refer to, those in `without` aside, and the plans of all."""
    found: set[str] = set()
    queue: list[str] = []
    for line in journal.runs():
        texts = [line.plan.encode()]
        if line.run not in without:
            texts += [json.dumps(event.data).encode() for event in journal.events(line.run)]
        queue += [digest for text in texts for digest in _digests(text)]
    if seal := next(journal.find("journal.sealed"), None):  # it speaks for all events before it
        queue += _digests(json.dumps(seal.data).encode())
    while queue:
        digest = queue.pop()
        if digest not in found:
            found.add(digest)
            queue += _named_in(home.store, digest)
    return found


def young(journal: Events, home: Home) -> float:
    """Since when bytes stay whoever needs them: some run that is being worked on may have just kept them."""
    since = time.time() - _YOUNG
    for line in journal.runs(unfinished=True):
        if line.state == "running" and home.workers_lock(line.run).is_held():
            begun = [event.time for event in journal.events(line.run) if event.type in _BEGUN]
            since = min([since, *(moment - _YOUNG for moment in begun[-1:])])
    return since


def sweepable(store: Store, kept: Collection[str], older_than: float) -> Iterator[tuple[str, int]]:
    """What the store has and nobody needs: digests and sizes."""
    for digest, size in store.digests():
        if digest not in kept:
            with suppress(OSError):
                if store.path(digest).stat().st_mtime < older_than:
                    yield digest, size


def sweep(store: Store, kept: Collection[str], older_than: float) -> int:
    """Remove what nobody needs; how many bytes that were."""
    store.sweep()
    return sum(store.discard(digest, older_than) for digest, _ in list(sweepable(store, kept, older_than)))


def remove_logs(home: Home, runs: Iterable[int]) -> int:
    """Remove the directories of runs that nobody works on; how many bytes that were."""
    freed = 0
    for run in runs:
        place = home.run(run)
        lock = home.engine_lock(run)
        if place.is_dir() and lock.take():
            try:
                size = size_of(place)
                remove(place)
                freed += size
            finally:
                lock.drop()
    return freed


def size_of(directory: Path) -> int:
    """The bytes of all files below a directory."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += os.lstat(Path(place) / name).st_size
    return total


def _named_in(store: Store, digest: str) -> list[str]:
    """What a directory's manifest, a report or a statement names."""
    try:
        with store.path(digest).open("rb") as file:
            if file.read(1) != b"{":
                return []
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                return list(_digests(text))
    except OSError:
        return []


def _digests(text: bytes | mmap.mmap) -> Iterator[str]:
    return (f"sha256:{match.group().decode()}" for match in _DIGEST.finditer(text))
