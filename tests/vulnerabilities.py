"""A real, small vulnerability database for Trivy, of entries that nobody can mistake for real ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

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


_PIP, _DEBIAN = "pip::GitHub Security Advisory Pip", "debian 12"


def write(directory: Path, age: timedelta = timedelta(hours=1), *, content: bytes | None = None) -> Path:
    """Write the database below a directory, which is what `database_directory` names.

    In Python's `leaky` below 1.1 there is CVE-2099-0001 (high), in each of its versions CVE-2099-0002 (critical)
    without a fix; in Debian 12's bash below 5.2-2 CVE-2099-0003 (high).
    """
    (directory / "db").mkdir(parents=True)
    (directory / "db" / "trivy.db").write_bytes(Bolt().file(_entries()) if content is None else content)
    now = datetime.now(UTC)
    times = {"NextUpdate": now + timedelta(days=1), "UpdatedAt": now - age, "DownloadedAt": now - age}
    written = {name: f"{time:%Y-%m-%dT%H:%M:%S}.123456789Z" for name, time in times.items()}
    (directory / "db" / "metadata.json").write_text(json.dumps({"Version": 2, **written}))
    return directory


def _entries() -> Tree:
    return {
        "data-source": {
            _PIP: _json({"ID": "ghsa", "Name": "GitHub Security Advisory Pip", "URL": "https://example.com"}),
            _DEBIAN: _json({"ID": "debian", "Name": "Debian Tracker", "URL": "https://example.com"}),
        },
        _PIP: {
            "leaky": {
                "CVE-2099-0001": _json({"PatchedVersions": ["1.1"], "VulnerableVersions": ["<1.1"]}),
                "CVE-2099-0002": _json({"VulnerableVersions": [">=0"]}),
            }
        },
        _DEBIAN: {"bash": {"CVE-2099-0003": _json({"FixedVersion": "5.2-2"})}},
        "vulnerability": {
            "CVE-2099-0001": _json({"Title": "Bad thing", "Severity": "HIGH", "VendorSeverity": {"ghsa": 3}}),
            "CVE-2099-0002": _json({"Title": "Worse", "Severity": "CRITICAL", "VendorSeverity": {"ghsa": 4}}),
            "CVE-2099-0003": _json({"Title": "In a shell", "Severity": "HIGH", "VendorSeverity": {"nvd": 3}}),
        },
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
