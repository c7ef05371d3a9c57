"""Where things lie in a directory that is deployed to, and the lock that lets one step at a time change it.

current              → releases/…        the first instance's release; current-2 is the second's
releases/4f2c…/                          one release; complete once .penstock.json is in it
log/1.log, 1.log.1                       what the first instance prints
run/1.lock                               held by the first instance's supervisor while it lives
run/1.start.json, 1.status.json          what it was told, and how it is
run/1.stopped                            somebody stopped it on purpose
run/1.previous                           the release before the current one
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock import ConfigError, StepFailed


@dataclass(frozen=True)
class Instance:
    """One instance of a service in a directory: the names of its files."""

    root: Path
    number: int

    @property
    def link(self) -> Path:
        """The symbolic link to its release."""
        return self.root / ("current" if self.number == 1 else f"current-{self.number}")

    @property
    def lock(self) -> Path:
        """Held by its supervisor."""
        return self._in_run("lock")

    @property
    def start(self) -> Path:
        """What its supervisor is told, with the token of the one that is meant."""
        return self._in_run("start.json")

    @property
    def status(self) -> Path:
        """What its supervisor says."""
        return self._in_run("status.json")

    @property
    def stopped(self) -> Path:
        """There if somebody stopped it on purpose."""
        return self._in_run("stopped")

    @property
    def previous(self) -> Path:
        """The name of the release before the current one."""
        return self._in_run("previous")

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.root / "log" / f"{self.number}.log"

    @property
    def mark(self) -> str:
        """What stands in the environment of its processes."""
        return f"{self.root}#{self.number}"

    def place(self) -> str | None:
        """The name of the release that the link points to."""
        try:
            target = os.readlink(self.link)
        except FileNotFoundError:
            return None
        except OSError:
            raise StepFailed(
                f"{self.link} is not a symbolic link, so Penstock has not made it and leaves it alone. "
                "Deploy to another directory, or move it away"
            ) from None
        return Path(target).name

    def _in_run(self, what: str) -> Path:
        return self.root / "run" / f"{self.number}.{what}"


def instances(root: Path) -> list[Instance]:
    """The instances that were ever started in a directory."""
    found = [re.fullmatch(r"(\d+)\.lock", path.name) for path in root.glob("run/*.lock")]
    return [Instance(root, number) for number in sorted(int(match[1]) for match in found if match)]


def resolve(directory: str, project: Path) -> Path:
    """The directory that a setting means. Raises ConfigError where nothing may be deployed to it."""
    expanded = os.path.expandvars(os.path.expanduser(directory))  # noqa: PTH111 - no error for "~nobody"
    if "$" in expanded or expanded.startswith("~"):
        raise ConfigError(
            f'directory "{directory}": the variable or user is not known here. Set it, or write out the path'
        )
    home = Path(os.path.realpath(project))
    root = Path(os.path.realpath(home / expanded))
    if root == Path(root.anchor):
        raise ConfigError(f'directory "{directory}" is {root}: releases need a directory of their own')
    if root == home or root in home.parents:
        raise ConfigError(
            f'directory "{directory}" is the project itself or holds it: releases need a directory of '
            'their own, such as "../releases/staging"'
        )
    if ".penstock" in root.parts:
        raise ConfigError(f'directory "{directory}" lies in .penstock, which is emptied now and then')
    return root


def prepare(instance: Instance) -> None:
    """Make the directories that are missing. Raises StepFailed where that can't be done."""
    try:
        for name, mode in (("releases", 0o755), ("run", 0o755), ("log", 0o700)):
            (instance.root / name).mkdir(mode=mode, parents=True, exist_ok=True)
        instance.lock.touch()
    except OSError as error:
        raise StepFailed(f"{instance.root} can't be deployed to: {error.strerror}") from None


@contextmanager
def changing(root: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the directory's lock: one step at a time changes it. The kernel frees it if we are killed."""
    with (root / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def point(instance: Instance, place: str) -> None:
    """Switch to a release, at once: whoever looks sees the old one or the new one.

    To be called under the directory's lock.
    """
    before = instance.place()
    if before == place:
        return
    if before is not None:
        replace_text(instance.previous, before)
    new = _new(instance.link)
    new.unlink(missing_ok=True)
    new.symlink_to(f"releases/{place}")
    new.replace(instance.link)
    sync_directory(instance.root)


def unpoint(instance: Instance) -> None:
    """Remove the link, if there is one."""
    if instance.place() is not None:
        instance.link.unlink()
        sync_directory(instance.root)


def replace_text(path: Path, text: str) -> None:
    """Replace a file's text, at once and for good. To be called under the directory's lock."""
    new = _new(path)
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def _new(path: Path) -> Path:
    # One name for all that come, one after another: what a killed step has left the next one takes away.
    return path.with_name(f".{path.name}.new")


def sync_directory(path: Path) -> None:
    """Have the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
