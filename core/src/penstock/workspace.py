"""A worker's private checkout: the revision's files and nothing else, put back before each step.

Copying a tree for each step would cost more than many a step. So a checkout is kept, and what the last
step changed is put back: a file counts as unchanged while inode, size, times and mode are those that
were noted when it was written. Where the note can't be trusted, the checkout is made anew.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from penstock.artifacts import Store, remove
from penstock.errors import PluginError, of_file
from penstock.home import Home, Lock

_Note = list[int]
_Tree = dict[str, _Note]
_LINKS = 4  # in a note, after the mode
_COARSE = 5  # CLOCK_REALTIME_COARSE of Linux: what file systems take their time from
_FINEST = 20_000_000
"""Nanoseconds within which file systems of other systems may give the same time to two changes."""
_PAUSE = 0.0005
"""Seconds between two looks at the time, which moves on every few thousandths."""


class Workspace:
    """One checkout, used by one worker at a time."""

    def __init__(self, root: Path, store: Store) -> None:
        self.root = root
        self.files = root / "files"
        self.tmp = root / "tmp"
        self.inbox = root / "inbox"
        self._note_file = root / "note.json"
        self._noted: tuple[str, _Tree] | None = None
        """What stands in the note, once this process has read or written it."""
        self._newer = False
        """Whether that is still to be written down."""
        self._noted_at = 0
        """When that was, as the file system tells the time, in nanoseconds."""
        self._tmp_mode: int | None = None
        self._store = store

    def empty(self) -> Path:
        """An empty directory: what a source step starts with."""
        try:
            self._begin()
            return self._clear()
        except OSError as error:
            raise self._trouble(error) from None

    def prepare(self, snapshot: str) -> Path:
        """The files of a snapshot, exactly.

        Raises StepRefused where the store has other bytes, PluginError where the disk does not take them.
        """
        try:
            self._begin()
            if not self._put_back(snapshot):
                self._clear()
                self._store.write_tree(snapshot, self.files)
                self._note(snapshot, _tree(self.files))
            if self._newer:
                self._write_note()
            self._let_time_pass()
        except OSError as error:
            raise self._trouble(error) from None
        return self.files

    def keep(self) -> str:
        """Keep what a source step has written, of which no process is left, as a snapshot; its digest.

        Where that is what a checkout of it would be, the next step begins with it.
        """
        files = _tree(self.files)
        digest, _ = self._store.add_tree(self.files)
        if self._is_checkout(files) and _tree(self.files) == files:
            self._note(digest, files)
        return digest

    def _is_checkout(self, files: _Tree) -> bool:
        """Whether there is nothing but what `write_tree` makes, as it makes it."""
        user = os.geteuid()
        for mode, *note in files.values():
            if stat.S_ISREG(mode):
                if stat.S_IMODE(mode) not in (0o644, 0o755) or note[_LINKS:] != [1, user]:
                    return False
            elif mode != self._tmp_mode and not stat.S_ISLNK(mode):
                return False
        return True

    def _let_time_pass(self) -> None:
        """Wait until no change can have the time of what was noted: it would leave the note as it is."""
        while _might_be_now(self._noted_at):
            time.sleep(_PAUSE)

    def tidy(self, *, wholly: bool = False) -> None:
        """Remove what a step had for itself, once it is over; `wholly`: also what it wrote in its checkout.

        That is for steps with secrets. Of others it is removed before the next one, which costs less.
        """
        with suppress(OSError):  # the next one begins with it, and says what is wrong
            remove(self.inbox)
            if not self._tmp_is_new():
                remove(self.tmp)
            if wholly:
                self._remove_written()

    def _remove_written(self) -> None:
        if self._noted is not None and not self.files.is_symlink():
            with suppress(OSError):
                self._remove_changed(self._noted[1])
                return
        self._clear()

    def sweep(self) -> None:
        """Remove what a worker left that was killed. Nobody else may hold the workspace meanwhile."""
        with suppress(OSError):
            remove(self.inbox)
            remove(self.tmp)
            self._note_file.with_suffix(".new").unlink(missing_ok=True)

    def _begin(self) -> None:
        remove(self.inbox)
        if not self._tmp_is_new():
            remove(self.tmp)
            self.tmp.mkdir(parents=True)
            self._tmp_mode = self.tmp.lstat().st_mode
        # `.penstock/` is ignored in git, and tools that heed that would find no file here: a mark of a
        # repository is where they stop looking for such rules.
        (self.root / ".git").mkdir(exist_ok=True)

    def _tmp_is_new(self) -> bool:
        """Whether it is as it was made: most steps leave nothing there."""
        try:
            if self._tmp_mode is None or os.lstat(self.tmp).st_mode != self._tmp_mode:
                return False
            with os.scandir(self.tmp) as scan:
                return next(scan, None) is None
        except OSError:
            return False

    def _clear(self) -> Path:
        self._noted, self._newer = None, False
        self._note_file.unlink(missing_ok=True)
        remove(self.files)
        self.files.mkdir()
        return self.files

    def _put_back(self, snapshot: str) -> bool:
        """Undo what the last step did; False where that can't be done, or not be trusted."""
        noted = self._read_note(snapshot)
        if noted is None or self.files.is_symlink():
            return False
        try:
            missing = self._remove_changed(noted)
        except OSError:
            return False  # a step left something that can't be read
        if missing:
            for entry in self._store.tree(snapshot):
                if entry["path"] in missing:
                    self._store.write_entry(entry, self.files)
            self._note(snapshot, _tree(self.files))
        return True

    def _remove_changed(self, noted: _Tree) -> set[str]:
        """Remove all that is not as noted; what is missing then."""
        found = _tree(self.files)
        if found == noted:
            return set()
        for path in sorted(found):  # a directory stands before what is in it
            note, wanted = found[path], noted.get(path)
            if note == wanted:
                continue
            if wanted and stat.S_ISDIR(note[0]) and stat.S_ISDIR(wanted[0]):
                (self.files / path).chmod(stat.S_IMODE(wanted[0]))
                continue
            remove(self.files / path)
            del found[path]
        return noted.keys() - found.keys()

    def _read_note(self, snapshot: str) -> _Tree | None:
        if self._noted is not None and self._noted[0] == snapshot:
            return self._noted[1]
        try:
            note = json.loads(self._note_file.read_text())
            files: _Tree = note["files"]
            good = note["snapshot"] == snapshot and stat.S_ISDIR(files[""][0])
            good = good and all(isinstance(entry[0], int) for entry in files.values())
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        if not good:
            return None
        self._noted = snapshot, files
        self._noted_at = self._note_file.stat().st_mtime_ns
        return files

    def _note(self, snapshot: str, files: _Tree) -> None:
        self._noted, self._newer, self._noted_at = (snapshot, files), True, _time_of_files()

    def _write_note(self) -> None:
        assert self._noted is not None
        snapshot, files = self._noted
        new = self._note_file.with_suffix(".new")
        try:
            new.write_text(json.dumps({"snapshot": snapshot, "files": files}))
            new.rename(self._note_file)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self._newer = False

    def _trouble(self, error: OSError) -> PluginError:
        return PluginError(f"the workspace {self.root} can't be made: {of_file(error)}")


def claimed(home: Home) -> tuple[Lock, Workspace]:
    """The first workspace that no other worker has, and the lock that says so."""
    number = 0
    while True:
        root = home.workspaces / str(number)
        lock = Lock(root / "lock")
        if lock.take():
            return lock, Workspace(root, home.store)
        number += 1


def _time_of_files() -> int:
    """The time that a file system gives to a change that is made now."""
    return time.clock_gettime_ns(_COARSE) if sys.platform == "linux" else time.time_ns()


def _might_be_now(noted: int) -> bool:
    """Whether a file system may give that time to a change that is made now."""
    now = _time_of_files()
    return now == noted if sys.platform == "linux" else 0 <= now - noted < _FINEST


def _tree(root: Path) -> _Tree:
    """All that is below a directory, and the directory itself, by what would tell that it was changed."""
    notes = {"": [root.lstat().st_mode]}
    queue = [("", os.fspath(root))]
    while queue:  # and not by recursion: a step may leave directories deeper than Python's stack
        prefix, directory = queue.pop()
        with os.scandir(directory) as scan:
            for entry in scan:
                info = entry.stat(follow_symlinks=False)
                path = prefix + entry.name
                if stat.S_ISDIR(info.st_mode):
                    notes[path] = [info.st_mode]  # its times and size move with what is in it
                    queue.append((path + "/", entry.path))
                else:
                    notes[path] = _note_of(info)
    return notes


def _note_of(info: os.stat_result) -> _Note:
    times = (info.st_mtime_ns, info.st_ctime_ns)
    return [info.st_mode, info.st_ino, info.st_size, *times, info.st_nlink, info.st_uid]
