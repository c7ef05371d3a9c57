from __future__ import annotations

from pathlib import Path

import pytest
from penstock.testing import make_step
from penstock_sigstore.keyring import Keyring

__all__ = ["keyring", "make_step"]


@pytest.fixture(autouse=True)
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """The key directory of a user who has none yet; no test sees the real one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Keyring(tmp_path / "data" / "penstock" / "keys")
