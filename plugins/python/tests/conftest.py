from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from penstock import Artifact, Revision, Step
from penstock.testing import StepMaker, make_step
from penstock_python import Python, penstock_build

__all__ = ["make_step"]

TAGGED = Revision(commit="4f2c1e9" + "0" * 33, time=1_700_000_000, tag="v1.2.3")

Build = Callable[..., tuple[list[Artifact], Step]]


@pytest.fixture
def build(make_step: StepMaker) -> Build:
    """Builds a project of these files as a run would: in a home that tells git to ignore everything."""

    def _build(
        files: Mapping[str, str],
        settings: Mapping[str, object] | None = None,
        revision: Revision = TAGGED,
        env: Mapping[str, str] | None = None,
    ) -> tuple[list[Artifact], Step]:
        step = make_step("build.package", files=files, revision=revision, env=env)
        (step.workspace.parent / ".gitignore").write_text("*\n")
        return penstock_build(Python.model_validate(settings or {}), step), step

    return _build
