"""Environments: a lasting one with what the tests need, and over it a step's own with the wheel.

The lasting one is known by the key of everything that it was made from, so it is shared and never
changed. The step's own is a few files: it sees the packages of the other, and its wheel comes first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from penstock import CommandFailed, Step, StepFailed

from penstock_pytest.installer import Installer
from penstock_pytest.python import Interpreter
from penstock_pytest.requirements import Wanted
from penstock_pytest.wheels import Wheel

_FORMAT = 2  # of the environments: another one is another key
READY = "penstock-ready.json"
"""Stands in a directory that is whole."""
_UNUSED = 30 * 86400.0  # seconds after which an environment that no step used is removed


@dataclass(frozen=True)
class Environment:
    """A virtual environment, ready for use."""

    path: Path
    python: Path
    site: Path
    base: Path
    """Where the packages are that the tests need: the site-packages of the lasting environment."""

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.python.parent


def key_of(interpreter: Interpreter, wheels: Sequence[Wheel], wanted: Wanted, more: Sequence[str]) -> str:
    """The name of the environment that these inputs lead to: the wheels' own code is none of them."""
    inputs = {
        "format": _FORMAT,
        "python": [str(interpreter.path), interpreter.version],
        "wheels": sorted([wheel.name, *wheel.from_indexes] for wheel in wheels),
        "lines": wanted.lines,
        "constraints": wanted.constraints,
        "lock": wanted.lock.lines,
        "guessed": wanted.guessed,
        "extras": wanted.extras,
        "more": list(more),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def shared(
    step: Step,
    interpreter: Interpreter,
    wheels: Sequence[Wheel],
    wanted: Wanted,
    more: Sequence[str],
    tool: Installer,
) -> Environment:
    """The environment of these requirements: the one that is there, or a new one."""
    root = step.cache / "environments"
    key = key_of(interpreter, wheels, wanted, more)
    environment = _at(root / key, interpreter)
    if not _ready(environment):
        root.mkdir(parents=True, exist_ok=True)
        with lock(root / f"{key}.lock", step):
            if not _ready(environment):
                _make(step, environment, interpreter, wheels, wanted, more, tool)
        tidy(root, key)
    os.utime(environment.path / READY)  # in use: nobody tidies it away
    packages = _note(environment)
    step.log(f"Environment {key}, Python {interpreter.version}: {', '.join(packages)}")
    return environment


def private(
    step: Step, base: Environment, interpreter: Interpreter, wheels: Sequence[Wheel], tool: Installer
) -> Environment:
    """This step's own environment: the wheels, and behind them the packages of `base`."""
    environment = _at(step.tmp / "penstock-pytest" / "env", interpreter, base)
    environment.site.mkdir(parents=True)
    environment.bin.mkdir()
    shutil.copy2(base.path / "pyvenv.cfg", environment.path)
    for name in ("lib64", "lib32"):
        if (base.path / name).is_symlink():
            (environment.path / name).symlink_to("lib")
    # `addsitedir` reads the .pth files of the other directory too; a plain path would not.
    (environment.site / "_penstock_base.pth").write_text(
        f"import site; site.addsitedir({str(base.site)!r})\n"
    )
    for program in base.bin.iterdir():
        _copy_program(program, environment.bin, base.bin)
    if wheels:
        paths = [wheel.path for wheel in wheels]
        install(step, tool.install_wheels(environment.python, paths), "the wheel can't be installed")
    return environment


def _copy_program(program: Path, target: Path, old: Path) -> None:
    """A script starts the Python of its own environment: here that must be the step's."""
    copy = target / program.name
    if program.is_symlink():
        copy.symlink_to(os.readlink(program))
        return
    with program.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"#!") and str(old).encode() in start:
        copy.write_bytes(program.read_bytes().replace(str(old).encode(), str(target).encode()))
        copy.chmod(0o755)
    else:
        copy.symlink_to(program)


def _make(
    step: Step,
    environment: Environment,
    interpreter: Interpreter,
    wheels: Sequence[Wheel],
    wanted: Wanted,
    more: Sequence[str],
    tool: Installer,
) -> None:
    # Scripts hold the environment's path, so it is made in its place; only the note says that it is whole.
    shutil.rmtree(environment.path, ignore_errors=True)
    place = step.tmp / "penstock-pytest"
    place.mkdir(parents=True, exist_ok=True)
    step.log(f"Making an environment with {tool.name}")
    failed = f"the tests' environment can't be made (requirements: {wanted.origin})"
    argv = [str(interpreter.path), "-I", "-m", "venv", "--without-pip", str(environment.path)]
    install(step, argv, f"{failed}: {interpreter.path} can't make virtual environments")
    _fill(step, environment, _attempts(place, wheels, wanted, more), tool, failed)
    # The wheel brought its dependencies. It goes itself: each step puts its own in front.
    if wheels:
        install(step, tool.uninstall(environment.python, [wheel.name for wheel in wheels]), failed)
    listed = step.run(tool.freeze(environment.python), capture=True, quiet=True).stdout
    packages = sorted(f"{entry['name']} {entry['version']}" for entry in json.loads(listed))
    note = environment.path / f"{READY}.new"
    note.write_text(json.dumps({"packages": packages}))
    note.rename(environment.path / READY)


def _attempts(
    place: Path, wheels: Sequence[Wheel], wanted: Wanted, more: Sequence[str]
) -> Iterator[tuple[str, Path, Path | None]]:
    """Files of requirements and constraints, and what is given up with the one before."""

    def files(number: int, extras: Sequence[str], constraints: Sequence[str]) -> tuple[Path, Path | None]:
        own = (line for wheel in wheels for line in _needed_by(wheel, extras, built))
        lines = [*own, *wanted.lines, *more]
        limits = place / f"constraints-{number}.txt"
        return written(place / f"requirements-{number}.txt", lines), (
            written(limits, constraints) if constraints else None
        )

    built = {wheel.name for wheel in wheels}
    wished = (*wanted.extras, *wanted.guessed)
    if wanted.lock.lines:
        yield "", *files(1, wished, (*wanted.constraints, *wanted.lock.lines))
    # A lock may be for another Python, or older than what it locks: it is no requirement.
    given_up = f"{wanted.lock.file} can't be kept to here" if wanted.lock.lines else ""
    yield given_up, *files(2, wished, wanted.constraints)
    if wanted.guessed:
        yield (
            f"the extras {', '.join(wanted.guessed)} can't be had here",
            *files(3, wanted.extras, wanted.constraints),
        )


def _fill(
    step: Step,
    environment: Environment,
    attempts: Iterable[tuple[str, Path, Path | None]],
    tool: Installer,
    failed: str,
) -> None:
    error = CommandFailed(failed, 1)
    for given_up, requirements, constraints in attempts:
        if given_up:
            step.log(f"Once more: {given_up}")
        try:
            install(step, tool.install(environment.python, requirements, constraints), failed)
        except CommandFailed as again:
            error = again
        else:
            return
    raise error


def written(path: Path, lines: Sequence[str]) -> Path:
    """A file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _needed_by(wheel: Wheel, extras: Sequence[str], built: Container[str]) -> list[str]:
    """The wheel, which says itself what it needs; or that without what it would have from a path.

    Where a project names another by its path, backends write that of the build into the wheel, and nothing is
    there any more: the other's own wheel stands for it, if that was built too.
    """
    if not wheel.from_paths:
        return [_direct(wheel, extras)]
    lines = []
    for requirement in map(Requirement, wheel.from_indexes):
        marker, requirement.marker = requirement.marker, None
        held = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if held and canonicalize_name(requirement.name) not in built:
            lines.append(str(requirement))
    return lines


def _direct(wheel: Wheel, extras: Sequence[str]) -> str:
    own = [extra for extra in extras if extra in wheel.extras]
    which = f"[{','.join(own)}]" if own else ""
    return f"{wheel.name}{which} @ {wheel.path.resolve().as_uri()}"


def install(step: Step, argv: Sequence[str], failed: str) -> None:
    """Run it with both streams in one, so that the end of what it said can be told."""
    joined = ["sh", "-c", 'exec "$@" 2>&1', "sh", *argv]
    step.log("$ " + " ".join(argv))
    done = step.run(joined, capture=True, quiet=True, check=False, outside=True)
    said = done.stdout.strip()
    if said:
        step.log(said)
    if done.returncode != 0:
        raise CommandFailed(f"{failed}: {said[-1500:] or f'status {done.returncode}'}", done.returncode)


def _at(path: Path, interpreter: Interpreter, base: Environment | None = None) -> Environment:
    site = path / "lib" / interpreter.library / "site-packages"
    return Environment(path=path, python=path / "bin" / "python", site=site, base=base.site if base else site)


def _ready(environment: Environment) -> bool:
    return (environment.path / READY).is_file() and environment.python.exists()


def _note(environment: Environment) -> list[str]:
    try:
        return list(json.loads((environment.path / READY).read_text())["packages"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StepFailed(f"{environment.path} is damaged. Remove it; the next run makes it anew") from None


@contextmanager
def lock(path: Path, step: Step) -> Iterator[None]:
    """One maker at a time; the kernel lets go of the lock of a maker that was killed."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step.log("Waiting for another step that makes the same environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tidy(root: Path, key: str) -> None:
    """Remove what no step has used for long, `key` aside."""
    oldest = time.time() - _UNUSED
    for note in root.glob(f"*/{READY}"):
        if note.parent.name == key or note.stat().st_mtime > oldest:
            continue
        note.unlink()  # first: what is half removed must not look ready
        shutil.rmtree(note.parent, ignore_errors=True)
