"""The command lines that fill an environment: uv's where it is found, pip's otherwise. Pure."""

from __future__ import annotations

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path


def find_uv() -> Path | None:
    """The uv on PATH, or the one beside the running Python."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    return Path(found) if found else None


def choose(uv: Path | None) -> Installer:
    """The quicker one: uv takes a tenth of pip's time, and pip is always there."""
    return Uv(uv) if uv is not None else Pip()


class Installer(ABC):
    """Makes the argument lists."""

    name: str

    @abstractmethod
    def install(self, python: Path, requirements: Path, constraints: Path | None) -> list[str]:
        """Install what two files say."""

    @abstractmethod
    def install_wheels(self, python: Path, wheels: Sequence[Path]) -> list[str]:
        """Install these files and nothing else, without asking any index."""

    @abstractmethod
    def uninstall(self, python: Path, names: Sequence[str]) -> list[str]:
        """Remove these distributions; one that is not there is no error."""

    @abstractmethod
    def freeze(self, python: Path) -> list[str]:
        """Print what is installed, as JSON."""


class Uv(Installer):
    """uv's pip interface."""

    name = "uv"

    def __init__(self, program: Path) -> None:
        self._pip = [str(program), "--no-progress", "--color", "never", "pip"]

    def install(self, python: Path, requirements: Path, constraints: Path | None) -> list[str]:
        """See `Installer`."""
        return [*self._pip, "install", "--python", str(python), *_files(requirements, constraints)]

    def install_wheels(self, python: Path, wheels: Sequence[Path]) -> list[str]:
        """See `Installer`. Without the cache, which would keep a copy of every build for ever."""
        options = ["--quiet", "--no-cache", "--no-deps", "--no-index", "--link-mode", "copy"]
        return [*self._pip, "install", "--python", str(python), *options, *map(str, wheels)]

    def uninstall(self, python: Path, names: Sequence[str]) -> list[str]:
        """See `Installer`."""
        return [*self._pip, "uninstall", "--quiet", "--python", str(python), *names]

    def freeze(self, python: Path) -> list[str]:
        """See `Installer`."""
        return [*self._pip, "list", "--format", "json", "--python", str(python)]


class Pip(Installer):
    """The pip of Penstock's own environment, working on another one."""

    name = "pip"

    def _pip(self, python: Path, verb: str) -> list[str]:
        # -P: a module of the workspace must not take the place of one that pip imports.
        return [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "--python",
            str(python),
            "--disable-pip-version-check",
            verb,
        ]

    def install(self, python: Path, requirements: Path, constraints: Path | None) -> list[str]:
        """See `Installer`."""
        options = ["--no-input", "--progress-bar", "off", "--no-warn-script-location"]
        return [*self._pip(python, "install"), *options, *_files(requirements, constraints)]

    def install_wheels(self, python: Path, wheels: Sequence[Path]) -> list[str]:
        """See `Installer`. Packages behind the step's own environment look installed, and don't count."""
        options = ["--quiet", "--no-deps", "--no-index", "--no-warn-script-location", "--no-compile"]
        return [*self._pip(python, "install"), *options, "--ignore-installed", *map(str, wheels)]

    def uninstall(self, python: Path, names: Sequence[str]) -> list[str]:
        """See `Installer`."""
        return [*self._pip(python, "uninstall"), "--quiet", "--yes", *names]

    def freeze(self, python: Path) -> list[str]:
        """See `Installer`."""
        return [*self._pip(python, "list"), "--format", "json"]


def _files(requirements: Path, constraints: Path | None) -> list[str]:
    return ["-r", str(requirements), *(["-c", str(constraints)] if constraints else [])]
