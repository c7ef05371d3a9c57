from __future__ import annotations

from penstock.testing import make_step

from tests.engines import engine, registry

__all__ = ["engine", "make_step", "registry"]
