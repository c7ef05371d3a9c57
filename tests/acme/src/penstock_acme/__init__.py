"""A plugin as somebody else would write it: a source, a build, a check, and directories to deploy to."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from penstock import (
    Artifact,
    Check,
    Duration,
    Health,
    Release,
    Revision,
    Settings,
    StepFailed,
    Target,
    TargetState,
    TestCase,
    TestReport,
    Verification,
    hookimpl,
)
from pydantic import Field

if TYPE_CHECKING:
    from penstock import Step


class Source(Settings):
    """Files out of a directory."""

    directory: str = Field(".", description="Where the files are.")


class Box(Settings):
    """One file out of many."""

    level: Literal["plain", "fancy"] = Field("plain", description="How the box looks.")


class Look(Settings):
    """A test that looks for a word."""

    word: str = Field("good", description="What must be in source.txt.")
    pause: Duration = Field(0, description="How long to think about it.")


class Visit(Look):
    """A look at what was deployed."""

    passes: bool = Field(True, description="Whether it likes what it sees.")


class Places(Settings):
    """Directories that are deployed to."""

    places: tuple[str, ...] = Field(description="The directories, as absolute paths.")
    broken: tuple[str, ...] = Field((), description="Places that do not take the release well.")


@hookimpl
def penstock_source(settings: Source, step: Step) -> Revision:
    shutil.copytree(
        step.project / settings.directory,
        step.workspace,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(".*", "penstock.toml"),
    )
    return Revision(commit="c0ffee0" + "0" * 33, ref="main", time=1_700_000_000)


@hookimpl
def penstock_build(settings: Box, step: Step) -> list[Artifact]:
    box = step.workspace / "box.txt"
    box.write_text(f"{settings.level}: " + (step.workspace / "source.txt").read_text())
    return [step.keep(box, "file")]


@hookimpl
def penstock_test(settings: Look, step: Step) -> TestReport:
    time.sleep(settings.pause)
    found = any(settings.word in step.fetch(artifact).read_text() for artifact in step.artifacts)
    case = TestCase(name="word", outcome="passed" if found else "failed", message=f"no {settings.word}")
    return TestReport(tool="acme 1", cases=(case,))


@hookimpl
def penstock_verify(settings: Visit, step: Step) -> Verification:
    return Verification(checks=(Check(name="look", passed=settings.passes, detail=settings.word),))


class Place(Target):
    """A directory with a link to what is deployed there."""

    path: str
    broken: bool = False

    def observe(self, step: Step) -> TargetState:
        link = Path(self.path) / "current"
        return TargetState(release="sha256:" + os.readlink(link) if link.is_symlink() else None)

    def apply(self, release: Release, step: Step) -> None:
        name = release.digest.removeprefix("sha256:")
        place = Path(self.path) / name
        place.mkdir(parents=True, exist_ok=True)
        for artifact in release.artifacts:
            shutil.copyfile(step.fetch(artifact), place / artifact.name)
        self._point(name)

    def probe(self, step: Step) -> Health:
        bad = self.broken and any("bad" in f.read_text() for f in Path(self.path, "current").iterdir())
        return Health(status="unhealthy" if bad else "healthy", detail="it smells" if bad else "")

    def restore(self, state: TargetState, step: Step) -> None:
        if state.release:
            self._point(state.release.removeprefix("sha256:"))
        else:
            Path(self.path, "current").unlink(missing_ok=True)

    def _point(self, name: str) -> None:
        new = Path(self.path) / "new"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.rename(Path(self.path) / "current")


@hookimpl
def penstock_targets(settings: Places, step: Step) -> list[Target]:
    if not all(Path(path).is_absolute() for path in settings.places):
        raise StepFailed(f"places must be absolute paths: {json.dumps(settings.places)}")
    return [Place(id=path, path=path, broken=path in settings.broken) for path in settings.places]
