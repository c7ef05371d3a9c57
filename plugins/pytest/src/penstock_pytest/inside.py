"""A suite inside an image that holds no test tools: they come in beside it, made for its Python, read only.

What is tested is what the image has. Its own packages come first, and those of the tree that it has too step
aside; the tools come last, so that they take the place of nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import canonicalize_name
from penstock import CommandFailed, Model, NoSuchProgram, Step, StepFailed, TestReport

from penstock_pytest import environment, installer, layout, python, suite
from penstock_pytest.environment import Environment
from penstock_pytest.installer import Foreign
from penstock_pytest.inventory import Inventory
from penstock_pytest.requirements import Wanted
from penstock_pytest.wheels import is_test

if TYPE_CHECKING:
    from penstock_pytest import Pytest

_OLDEST = (3, 8)
_NO_CODE = ("setup", "noxfile", "tasks", "docs", "doc", "examples", "benchmarks", "scripts")
_PROBE = """
import sys
sys.path[:] = [place for place in sys.path if place]
import json, os, platform, sysconfig
from importlib import metadata, util
own = os.environ.get("PENSTOCK_INSIDE_DIRECTORY", "/")
if own != "/":
    sys.path.insert(0, own)
standard = os.path.realpath(sysconfig.get_path("stdlib"))
def place(name):
    try:
        spec = util.find_spec(name)
    except Exception:
        return None
    found = spec and [*(spec.submodule_search_locations or ()), spec.origin]
    path = found and found[0]
    if not path or not os.path.exists(path):
        return None
    real = os.path.realpath(path)
    return path if not real.startswith(standard + os.sep) or "-packages" in real else None
print(json.dumps({
    "version": platform.python_version(), "release": list(sys.version_info[:2]), "path": sys.executable,
    "platform": sysconfig.get_platform(), "libc": platform.libc_ver()[1], "directory": own,
    "tmp": os.access("/tmp", os.W_OK | os.X_OK),
    "packages": [[d.metadata["Name"], d.version] for d in metadata.distributions()],
    "found": {name: place(name) for name in sys.argv[1:] if place(name)},
}))
"""


class Found(NamedTuple):
    """A module of the tree."""

    name: str
    package: bool


class Image(Model):
    """What an image's Python says of itself."""

    version: str
    release: tuple[int, int]
    path: str
    platform: str
    libc: str
    directory: str
    """The image's own working directory, whose code counts as its."""
    tmp: bool
    """Whether anybody may write to its /tmp."""
    packages: tuple[tuple[str | None, str | None], ...]
    found: dict[str, str]
    """Packages and modules of the tree that it has too, and where."""

    @property
    def foreign(self) -> Foreign:
        """What wheels for it have to fit."""
        minor = self.libc.partition(".")[2].partition(".")[0]
        glibc = int(minor) if minor.isdigit() else None
        return Foreign(self.release, self.platform.partition("-")[2].replace("-", "_"), glibc)

    def pins(self, own: str) -> list[str]:
        """Its packages in their versions: what comes beside them should go with them."""
        found = {(canonicalize_name(name), version) for name, version in self.packages if name and version}
        return sorted(f"{name}=={version}" for name, version in found if name != own and "+" not in version)


def run(settings: Pytest, step: Step) -> TestReport:
    """Run the suite inside the image and say what came of it."""
    project = suite.project_directory(step.workspace, settings.directory)
    tree = list(_in_tree(project))
    image = _asked(settings.python, step, list(dict.fromkeys(each.name for each in tree)))
    above = [place for place in project.parents if place.is_relative_to(step.workspace.resolve())]
    tests = Inventory(project, image.version, above=above)
    _check_tested(image, tests.project.name, tree, step)
    wanted = tests.project.without_own(suite.wanted_by(settings, step, tests))
    commands = tests.unittests(settings, wanted)
    more = [*([] if commands else ["pytest>=6"]), *(["coverage>=7.2"] if settings.measures else [])]
    tools = _tools(step, image, wanted, more, tests.project.name)
    step.bring(tools)
    site = step.tmp / "penstock-pytest" / "site"
    site.mkdir(parents=True)
    beside = Environment(path=tools, python=Path(image.path), site=site, base=tools)
    paths = () if commands else tests.chosen(settings, wanted, step.log)
    launch = _InImage(settings, step, tests, beside, paths, commands)
    launch.image = image
    launch.lay_out()
    return launch.verdict(launch.run())


def _asked(wanted: str | None, step: Step, names: Sequence[str]) -> Image:
    """The image's Python. Raises StepFailed where it has none, or not the one that is asked for."""
    assert step.inside is not None
    name = step.inside.name
    said = []
    for candidate in _candidates(wanted):
        try:
            done = step.run([candidate, "-c", _PROBE, *names], capture=True, quiet=True, check=False)
        except NoSuchProgram:
            continue
        found = _read(done.stdout) if done.returncode == 0 else None
        if found is None:
            said.append(f"{candidate} is no Python 3.8 or later")
        elif found.release < _OLDEST or (wanted and not _fits(wanted, found)):
            said.append(f"{candidate} is Python {found.version}")
        else:
            step.log(f"Python {found.version} of {name}: {found.path}")
            return found
    asked = f', and `python` asks for "{wanted}"' if wanted else ""
    raise StepFailed(
        f"there is no Python on the PATH of {name} that pytest can run on{asked}"
        + (f" ({'; '.join(said)})" if said else "")
        + ". Tests inside an image need its Python: install one there, or take `inside` out and test it from "
        "outside"
    )


def _candidates(wanted: str | None) -> list[str]:
    if wanted is None:
        return ["python3", "python"]
    if os.sep in wanted or not wanted[0].isdigit():
        return [wanted]
    return [f"python{'.'.join(wanted.split('.')[:2])}", "python3", "python"]


def _fits(wanted: str, found: Image) -> bool:
    return not wanted[0].isdigit() or f"{found.version}.".startswith(f"{wanted}.")


def _read(output: str) -> Image | None:
    try:
        return Image.model_validate(json.loads(output.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        return None


def _in_tree(project: Path) -> Iterator[Found]:
    """What can be imported from the tree, tests aside."""
    for root in (project, project / "src"):
        for entry in sorted(root.iterdir()) if root.is_dir() else ():
            name = entry.name.removesuffix(".py")
            if not name.isidentifier() or is_test(name) or name in _NO_CODE:
                continue
            package = entry.is_dir() and (root != project or (entry / "__init__.py").is_file())
            if package or (entry.is_file() and entry.suffix == ".py"):
                yield Found(name, package)


def _check_tested(image: Image, project: str, tree: Sequence[Found], step: Step) -> None:
    """Refuse to test the tree in place of the image. Raises StepFailed."""
    own = [each.name for each in tree if project and canonicalize_name(each.name) == project]
    packages = [each.name for each in tree if each.package]
    missing = [name for name in own if name not in image.found] or ([] if image.found else packages)
    if missing:
        raise StepFailed(
            f"the image has no {' and no '.join(missing[:3])} on the import path: the tests would import the "
            "tree's, and prove nothing about the image. Install the project there (RUN pip install …), or "
            "put it into WORKDIR"
        )
    for name, place in sorted(image.found.items()):
        step.log(f"Testing {name} of the image: {place}")


def _tools(step: Step, image: Image, wanted: Wanted, more: Sequence[str], own: str) -> Path:
    """The directory of what the tests need, made for this Python: the one that is there, or a new one."""
    foreign = image.foreign
    pins = image.pins(own)
    inputs = [str(foreign), pins, wanted.lines, wanted.constraints, wanted.lock.lines, list(more)]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    root = step.cache / "beside"
    directory = root / key
    if not (directory / environment.READY).is_file():
        root.mkdir(parents=True, exist_ok=True)
        with environment.lock(root / f"{key}.lock", step):
            if not (directory / environment.READY).is_file():
                _fill(step, directory, foreign, [*wanted.lines, *more], _limits(wanted, pins))
        environment.tidy(root, key)
    os.utime(directory / environment.READY)  # in use: nobody tidies it away
    step.log(f"Beside the image, read only: {directory}")
    return directory


def _limits(wanted: Wanted, pins: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Constraints to try, one after the other, and what is given up with the ones before."""
    locked = [(wanted.lock.file, [*wanted.constraints, *wanted.lock.lines])] if wanted.lock.lines else []
    found = [
        ("", [*wanted.constraints, *pins]),
        ("the versions of the image's packages", [*wanted.constraints]),
    ]
    if not locked:
        return found
    return [("", [*locked[0][1], *pins]), (f"the versions of {locked[0][0]}", found[0][1]), found[1]]


def _fill(
    step: Step,
    directory: Path,
    foreign: Foreign,
    lines: Sequence[str],
    limits: Iterable[tuple[str, list[str]]],
) -> None:
    tool = _installer(foreign)
    place = step.tmp / "penstock-pytest"
    place.mkdir(parents=True, exist_ok=True)
    requirements = environment.written(place / "requirements.txt", lines)
    failed = f"what the tests need can't be had for the image's Python {'.'.join(map(str, foreign.release))}"
    error = CommandFailed(failed, 1)
    for given_up, constraints in limits if lines else ():
        shutil.rmtree(directory, ignore_errors=True)
        if given_up:
            step.log(f"Once more, without {given_up}")
        limit = environment.written(place / "constraints.txt", constraints)
        try:
            environment.install(step, tool.install_for(foreign, directory, requirements, limit), failed)
        except CommandFailed as again:
            error = again
        else:
            break
    else:
        if lines:
            raise error
    directory.mkdir(exist_ok=True)
    (directory / environment.READY).write_text("{}")


def _installer(foreign: Foreign) -> installer.Installer:
    uv = installer.find_uv() if foreign.as_uv_says else None
    if uv is None and foreign.release != python.own().release:
        release = ".".join(map(str, foreign.release))
        raise StepFailed(
            f"the image has Python {release}, and Penstock runs on {python.own().version}: it takes uv to "
            "find out what the tests need on another one. Install it: pip install uv"
        )
    return installer.choose(uv)


class _InImage(suite.Launch):
    """pytest's start inside an image."""

    tested = "the image"
    image: Image

    def lay_out(self) -> None:
        """Have what the image has too step aside in the tree."""
        self._units = tuple(self.image.found)
        taken = layout.set_aside(
            self._project, self._units, self._place / "aside", tests=self._paths or self._config.testpaths
        )
        for each in taken:
            kept = f", but for {len(each.tests)} files of tests" if each.tests else ""
            self._step.log(f"{each.path}: the image's in place of the tree's{kept}")

    @property
    def first(self) -> str:
        """The image's own packages come first, the tools last."""
        here = self._place / "bin"
        own = [self.image.directory] if self.image.directory != "/" else []
        lines: list[Any] = [
            "import site",
            f"sys.path[:] = {own!r} + [p for p in sys.path if p and p != {str(here)!r}]",
            f"site.addsitedir({str(self._env.base)!r})",
            f"sys.path[:] = [{str(here)!r}, *sys.path, {str(self._env.site)!r}]",
        ]
        return "".join(f"{line}\n" for line in lines)

    @property
    def programs(self) -> str | None:
        """The image's PATH is as it is."""
        return None

    def temporary(self) -> AbstractContextManager[Path]:
        """The image's own, whose path is short."""
        return contextlib.nullcontext(Path("/tmp") if self.image.tmp else self._step.tmp)  # noqa: S108 - in a container
