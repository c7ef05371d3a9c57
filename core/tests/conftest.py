from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock.artifacts import Store
from penstock.testing import make_step

from core.tests.lab import Lab

__all__ = ["make_step"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project for plugins that the test writes; nothing of it runs on after the test."""
    lab = Lab.make(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty artifact store."""
    return Store(tmp_path / "artifacts")
