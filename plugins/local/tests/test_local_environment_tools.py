from __future__ import annotations

import sys
from pathlib import Path

import pytest
from penstock_local.environment import find_uv, tools


def test_a_uv_beside_penstock_is_named_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\necho uv 0.9.9\n")
    uv.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(uv.with_name("python")))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_uv() == str(uv)
    [tool] = tools()
    assert (tool.name, tool.version, tool.path) == ("uv", "0.9.9", str(uv))
