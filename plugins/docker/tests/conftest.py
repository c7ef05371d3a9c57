from __future__ import annotations

from collections.abc import Iterator

import pytest
from penstock.testing import make_step

from tests import engines
from tests.engines import Engine

__all__ = ["make_step"]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real Docker Engine of this session's own."""
    with engines.engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry on loopback: HOST:PORT."""
    with engines.registry(tmp_path_factory.mktemp("registry")) as address:
        yield address
