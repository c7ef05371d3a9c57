from __future__ import annotations

import pytest
from penstock.testing import StepMaker, make_step

from tests.bench import Bench
from tests.conftest import project
from tests.engines import Engine, engine, registry, registry_files
from tests.far import far

__all__ = ["engine", "far", "make_step", "project", "registry", "registry_files"]


@pytest.fixture
def bench(engine: Engine, make_step: StepMaker) -> Bench:
    return Bench(engine, make_step)
