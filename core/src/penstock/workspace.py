"""A worker's private checkout: the revision's files and nothing else, put back before each step.

Copying a tree for each step would cost more than many a step. So a checkout is kept, and what the last
step changed is put back: a file counts as unchanged while inode, size, times and mode are those that
were noted when it was written. Where the note can't be trusted, the checkout is made anew.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from penstock.artifacts import Store, remove, walk

_Note = list[int]
_TICK = 0.02  # seconds: longer than the step in which file systems count time


class Workspace:
    """One checkout, used by one worker at a time."""

    def __init__(self, root: Path, store: Store) -> None:
        self.root = root
        self.files = root / "files"
        self.tmp = root / "tmp"
        self._note_file = root / "note.json"
        self._store = store

    def empty(self) -> Path:
        """An empty directory: what a source step starts with."""
        self._note_file.unlink(missing_ok=True)
        remove(self.files)
        self.files.mkdir(parents=True)
        self._fresh_tmp()
        return self.files

    def prepare(self, snapshot: str) -> Path:
        """The files of a snapshot, exactly. Raises StepRefused where the store has other bytes."""
        self._fresh_tmp()
        noted = self._read_note(snapshot)
        try:
            if noted is not None and not self._put_back(snapshot, noted):
                return self.files
        except OSError:
            noted = None  # a step left something that can't be read: made anew below
        if noted is None:
            self.empty()
            self._store.write_tree(snapshot, self.files)
        self._write_note(snapshot)
        return self.files

    def _put_back(self, snapshot: str, noted: dict[str, _Note]) -> bool:
        """Undo what the last step did; whether any file had to be written."""
        seen = set()
        for relative, path, info in list(walk(self.files)):
            if noted.get(relative) == _note(info):
                seen.add(relative)
            else:
                remove(Path(path))
        self._remove_empty(self.files, seen)
        missing = noted.keys() - seen
        if missing:
            for entry in self._store.tree(snapshot):
                if entry["path"] in missing:
                    self._store.write_entry(entry, self.files)
        return bool(missing)

    def _remove_empty(self, directory: Path, keep: set[str]) -> None:
        for parent, names, files in os.walk(directory, topdown=False):
            path = Path(parent)
            if path == directory:
                continue
            if not files and not os.listdir(parent) and str(path.relative_to(directory)) not in keep:
                path.rmdir()
            del names

    def _read_note(self, snapshot: str) -> dict[str, _Note] | None:
        try:
            note = json.loads(self._note_file.read_text())
        except (OSError, ValueError):
            return None
        return note["files"] if note["snapshot"] == snapshot else None

    def _write_note(self, snapshot: str) -> None:
        # A change within the same tick as our own writing would leave the times as they are.
        time.sleep(_TICK)
        files = {relative: _note(info) for relative, _, info in walk(self.files)}
        new = self._note_file.with_suffix(".new")
        new.write_text(json.dumps({"snapshot": snapshot, "files": files}))
        new.rename(self._note_file)

    def _fresh_tmp(self) -> None:
        remove(self.tmp)
        self.tmp.mkdir(parents=True)


def _note(info: os.stat_result) -> _Note:
    if stat.S_ISDIR(info.st_mode):
        return [info.st_ino]  # an empty directory's times move when something was in it for a while
    return [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_mode, info.st_nlink]
