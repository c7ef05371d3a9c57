from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from penstock import Artifact, Publication, Step
from penstock.testing import StepMaker, make_step
from penstock_twine import Twine, penstock_publish

from tests.package_index import build_sdist, build_wheel, pypiserver

__all__ = ["make_step"]


class Bench:
    """Publishes toy files, which it builds again for each run with the same bytes."""

    def __init__(self, make_step: StepMaker, place: Path) -> None:
        self.make_step = make_step
        self.place = place
        self.step: Step | None = None

    def wheel(self, text: str = "a = 1\n", **named: str) -> Artifact:
        return self._keep(build_wheel(self.place, text, **named), "wheel")

    def sdist(self, text: str = "a = 1\n", **named: str) -> Artifact:
        return self._keep(build_sdist(self.place, text, **named), "sdist")

    def _keep(self, path: Path, kind: str) -> Artifact:
        return self.make_step("build.wheel").keep(path, kind)

    def __call__(
        self, repository: str, *artifacts: Artifact, secrets: dict[str, str] | None = None, **settings: Any
    ) -> list[Publication]:
        self.step = self.make_step("publish.index", artifacts=artifacts, secrets=secrets)
        made = Twine(repository=repository, **{"wait": 0, **settings})
        published = penstock_publish(settings=made, step=self.step)
        assert isinstance(published, Sequence)
        return list(published)

    @property
    def log(self) -> str:
        assert self.step is not None
        return self.make_step.log_of(self.step)


@pytest.fixture
def bench(make_step: StepMaker, tmp_path: Path) -> Bench:
    place = tmp_path / "built"
    place.mkdir()
    return Bench(make_step, place)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the index keeps its files."""
    return tmp_path / "index"


@pytest.fixture
def index(directory: Path) -> Iterator[str]:
    """The address of a real package index that asks for no password."""
    with pypiserver(directory, disable_fallback=True) as url:
        yield url


@pytest.fixture
def files_of(directory: Path) -> Callable[[], dict[str, str]]:
    """The files that an index has, with their digests."""
    return lambda: {
        path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(directory.iterdir())
    }
