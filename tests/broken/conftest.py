from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broken.place import Place, Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """The process that commands are forked from."""
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture
def place(tmp_path: Path, warm: Warm) -> Place:
    """A project, and a plugin `plain` that does nothing wrong."""
    return Place.make(tmp_path, warm)
