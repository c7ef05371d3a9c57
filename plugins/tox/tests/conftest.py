from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from penstock import Artifact, Step, TestReport
from penstock.testing import StepMaker, make_step, write_wheel
from penstock_tox import Tox, penstock_test

__all__ = ["make_step"]

# What the machine of a test says to tox must not decide how the test ends, unless the test says it.
_OURS = ("TOX_USER_CONFIG_FILE", "TOXENV")


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Writes a wheel as a build backend would."""
    return partial(write_wheel, tmp_path / "wheels")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tox environments that the tests of one session share."""
    return tmp_path_factory.mktemp("cache")


class Bench:
    """Runs the hook over a toy project, with what a build step would have kept."""

    def __init__(self, make_step: StepMaker) -> None:
        self.make_step = make_step
        self.step: Step | None = None

    def __call__(
        self,
        files: Mapping[str, str],
        *built: Path,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> TestReport:
        self.step = self.make_step(
            "test.tox", files=files, artifacts=self.keep(built), env=env, secrets=secrets
        )
        return penstock_test(Tox(**settings), self.step)

    def keep(self, built: Sequence[Path]) -> list[Artifact]:
        build = self.make_step("build.wheel")
        return [build.keep(path, "wheel" if path.suffix == ".whl" else "sdist") for path in built]

    @property
    def log(self) -> str:
        assert self.step is not None
        return self.make_step.log_of(self.step)


@pytest.fixture
def bench(make_step: StepMaker, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in _OURS:
        monkeypatch.delenv(name, raising=False)
    make_step.root.mkdir(exist_ok=True)
    (make_step.root / "cache").symlink_to(cache)
    return Bench(make_step)


@pytest.fixture
def outcomes() -> Callable[[TestReport], dict[str, str]]:
    return lambda report: {case.name: case.outcome for case in report.cases}
