from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from penstock import Step, TestReport
from penstock.testing import StepMaker, make_step
from penstock_pytest import Pytest, penstock_test

__all__ = ["make_step"]


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Writes a wheel as a build backend would."""

    def make(
        name: str,
        files: Mapping[str, str],
        *,
        version: str = "1.0",
        metadata: Sequence[str] = (),
        entry_points: str = "",
        tag: str = "py3-none-any",
    ) -> Path:
        info = f"{name}-{version}.dist-info"
        described = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, ""]
        members = {
            **files,
            f"{info}/METADATA": "\n".join(described),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n",
            **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
        }
        path = tmp_path / "wheels" / f"{name}-{version}-{tag}.whl"
        path.parent.mkdir(exist_ok=True)
        record = []
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
                digest = (
                    base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                )
                record.append(f"{member},sha256={digest},{len(text.encode())}")
            archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
        return path

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
