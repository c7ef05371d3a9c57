"""Fixtures for plugin authors: `pytest_plugins = ["penstock.testing"]` in a conftest.

`make_step` gives a real step over a real store in a temporary directory, so that a hook can be called
in a test just as a worker calls it. `load_plugin` gives a plugin that is a file of the project, and
`write_wheel` a wheel that pip installs, for a step to be handed.

PYTEST_DONT_REWRITE: tests may import this before pytest does, and it asserts nothing.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest

from penstock.artifacts import Store
from penstock.errors import PluginError
from penstock.model import Artifact, Inside, Revision, Service
from penstock.plugins import Plugins
from penstock.provisions import launcher_of
from penstock.secrets import resolve
from penstock.step import Places, Step
from penstock.stepinfo import StepInfo


class StepMaker:
    """Makes steps that share one store, as the steps of a run do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "artifacts")
        self.steps: list[Step] = []
        self._numbers = itertools.count(1)

    def __call__(
        self,
        name: str = "test.unit",
        *,
        files: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (),
        environment: str | None = None,
        revision: Revision | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        run: int = 1,
        inside: Inside | None = None,
        services: Sequence[Service] = (),
        builds: Mapping[str, Sequence[Artifact]] = MappingProxyType({}),
        plugins: Sequence[str] = (),
    ) -> Step:
        """A step with these files in its workspace and these artifacts from the steps before it.

        `services` run beside it; a service's plugin is told of `builds` what each of these steps has built.
        With `inside`, one of these installed plugins runs its programs inside of one of the artifacts.
        """
        home = self.root / f"step-{next(self._numbers)}"
        places = Places(
            workspace=home / "files",
            tmp=home / "tmp",
            cache=self.root / "cache",
            log=home / "log.txt",
            inbox=home / "inbox",
            project=home / "project",
        )
        for place in (places.workspace, places.tmp, places.project):
            place.mkdir(parents=True)
        for path, content in (files or {}).items():
            target = places.workspace / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        phase = name.partition(".")[0]
        # A source step is to say which revision it is, unless it is asked for one.
        usual = Revision() if phase == "source" else Revision(commit="4f2c1e9" + "0" * 33, time=1_700_000_000)
        info = StepInfo(
            name=name,
            phase=phase,
            run=run,
            plan="sha256:" + "0" * 64,
            environment=environment,
            revision=revision or usual,
            artifacts=(*artifacts, *(each for made in builds.values() for each in made)),
            env=dict(env or {}),
            secrets=dict(secrets or {}),
            builds={build: tuple(each.digest for each in made) for build, made in builds.items()},
            inside=inside,
            candidates=tuple(artifacts) if inside else (),
        )
        step = Step(
            info,
            places,
            self.store,
            find_secret=lambda reference: resolve(reference, _nobody),
            find_launcher=lambda step: launcher_of(Plugins.load(plugins), info, step),
        )
        for service in services:
            step.serve(service)
        self.steps.append(step)
        return step

    def log_of(self, step: Step) -> str:
        """What a step has logged so far."""
        return (step.workspace.parent / "log.txt").read_text(errors="replace")


def load_plugin(path: Path) -> ModuleType:
    """The plugin in this file, loaded and checked as in a run. Raises PluginError where it can't be used."""
    loaded = Plugins.load([f"./{path.name}"], {}, root=path.parent)
    for broken in loaded.broken.values():
        raise PluginError(str(broken))
    return loaded.modules[path.stem]


def write_wheel(
    place: Path,
    files: Mapping[str, str],
    *,
    name: str = "demo",
    version: str = "1.0",
    tag: str = "py3-none-any",
    metadata: Sequence[str] = (),
    entry_points: str = "",
) -> Path:
    """A wheel of these files in the directory `place`, as a build backend would write it (PEP 427).

    `metadata` are further lines of its METADATA, `entry_points` the text of its entry_points.txt. The same
    arguments give the same bytes.
    """
    info = f"{name}-{version}.dist-info"
    described = ("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, "")
    members = {
        **files,
        f"{info}/METADATA": "\n".join(described),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: penstock\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
    }
    rows = [f"{member},sha256={_for_record(text)},{len(text.encode())}" for member, text in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


def _for_record(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _nobody(_: str) -> str | None:
    return None


@pytest.fixture
def make_step(tmp_path: Path) -> Iterator[StepMaker]:
    """A `StepMaker`; its steps are closed after the test."""
    maker = StepMaker(tmp_path / "penstock")
    yield maker
    for step in maker.steps:
        step.leave()
        step.close()
