from __future__ import annotations

import pytest
from penstock.testing import StepMaker, make_step

from tests.bench import Bench
from tests.engines import Engine, engine, registry, registry_files

__all__ = ["engine", "make_step", "registry", "registry_files"]


@pytest.fixture
def bench(engine: Engine, make_step: StepMaker) -> Bench:
    return Bench(engine, make_step)
