from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from penstock import Step, TestReport
from penstock.testing import StepMaker, make_step, write_wheel
from penstock_pytest import Pytest, penstock_test

__all__ = ["make_step"]


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Writes a wheel as a build backend would."""

    def make(name: str, files: Mapping[str, str], **more: Any) -> Path:
        return write_wheel(tmp_path / "wheels", files, name=name, **more)

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments that the tests of one session share."""
    return tmp_path_factory.mktemp("cache")


class Bench:
    """Runs the hook over a toy project, with the wheels that a build step would have kept."""

    def __init__(self, make_step: StepMaker) -> None:
        self.make_step = make_step
        self.step: Step | None = None

    def __call__(
        self,
        files: Mapping[str, str],
        *wheels: Path,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> TestReport:
        build = self.make_step("build.wheel")
        artifacts = [build.keep(wheel, "wheel") for wheel in wheels]
        self.step = self.make_step("test.unit", files=files, artifacts=artifacts, env=env, secrets=secrets)
        return penstock_test(Pytest(**settings), self.step)

    @property
    def log(self) -> str:
        assert self.step is not None
        return self.make_step.log_of(self.step)


@pytest.fixture
def bench(make_step: StepMaker, cache: Path) -> Bench:
    (make_step.root).mkdir(exist_ok=True)
    (make_step.root / "cache").symlink_to(cache)
    return Bench(make_step)


@pytest.fixture
def outcomes() -> Callable[[TestReport], dict[str, str]]:
    return lambda report: {case.name: case.outcome for case in report.cases}
