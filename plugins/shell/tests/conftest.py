from __future__ import annotations

from penstock.testing import make_step

__all__ = ["make_step"]
