"""The command lines that fill an environment: uv's where it is found, pip's otherwise. Pure."""

from __future__ import annotations

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_UV_GLIBC = (17, 28, *range(31, 41))
"""The glibc versions that uv has a word for."""


def find_uv() -> Path | None:
    """The uv on PATH, or the one beside the running Python."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    return Path(found) if found else None


def choose(uv: Path | None) -> Installer:
    """The quicker one: uv takes a tenth of pip's time, and pip is always there."""
    return Uv(uv) if uv is not None else Pip()


@dataclass(frozen=True)
class Foreign:
    """A Python elsewhere, such as one in an image."""

    release: tuple[int, int]
    machine: str
    """Such as "x86_64"."""
    glibc: int | None
    """The second number of its glibc's version; None: it has musl."""

    @property
    def platforms(self) -> tuple[str, ...]:
        """The tags of the wheels that it takes, the best first (PEP 600, PEP 656)."""
        if self.glibc is None:
            names = [f"musllinux_1_{minor}" for minor in (2, 1, 0)]
        else:
            names = [f"manylinux_2_{minor}" for minor in range(self.glibc, 4, -1)]
            older = ((17, "manylinux2014"), (12, "manylinux2010"), (5, "manylinux1"))
            names += [name for minor, name in older if minor <= self.glibc]
        return tuple(f"{name}_{self.machine}" for name in (*names, "linux"))

    @property
    def as_uv_says(self) -> str | None:
        """The platform's name in uv; None where it has none."""
        if self.machine not in ("x86_64", "aarch64"):
            return None
        if self.glibc is None:
            return f"{self.machine}-unknown-linux-musl"
        known = [minor for minor in _UV_GLIBC if minor <= self.glibc]
        return f"{self.machine}-manylinux_2_{max(known)}" if known else None


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
    def install_for(
        self, target: Foreign, directory: Path, requirements: Path, constraints: Path | None
    ) -> list[str]:
        """Install what two files say into a directory, for another Python: wheels alone, nothing is run."""

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

    def install_for(
        self, target: Foreign, directory: Path, requirements: Path, constraints: Path | None
    ) -> list[str]:
        """See `Installer`."""
        options = ["--target", str(directory), "--only-binary", ":all:", "--python", sys.executable]
        options += ["--python-version", ".".join(map(str, target.release))]
        options += ["--python-platform", str(target.as_uv_says)]
        return [*self._pip, "install", *options, *_files(requirements, constraints)]

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

    def install_for(
        self, target: Foreign, directory: Path, requirements: Path, constraints: Path | None
    ) -> list[str]:
        """See `Installer`. Conditions in requirements are read as for the Python that this pip runs on."""
        options = ["--no-input", "--progress-bar", "off", "--target", str(directory)]
        options += ["--only-binary", ":all:", "--implementation", "cp"]
        options += ["--python-version", ".".join(map(str, target.release))]
        options += [word for name in target.platforms for word in ("--platform", name)]
        return [*self._pip(Path(sys.executable), "install"), *options, *_files(requirements, constraints)]

    def uninstall(self, python: Path, names: Sequence[str]) -> list[str]:
        """See `Installer`."""
        return [*self._pip(python, "uninstall"), "--quiet", "--yes", *names]

    def freeze(self, python: Path) -> list[str]:
        """See `Installer`."""
        return [*self._pip(python, "list"), "--format", "json"]


def _files(requirements: Path, constraints: Path | None) -> list[str]:
    return ["-r", str(requirements), *(["-c", str(constraints)] if constraints else [])]
