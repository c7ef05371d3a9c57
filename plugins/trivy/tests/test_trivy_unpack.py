"""Archives that would do harm, and archives that wouldn't."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from penstock import StepFailed
from penstock.testing import StepMaker
from penstock_trivy.tree import lay_out, matches
from penstock_trivy.unpack import Limits, Readable, unpack

Archive = Callable[..., Path]


def read(path: Path, limits: Limits | None = None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def write(inner: PurePosixPath, content: Readable) -> int:
        found[str(inner)] = content.read(1 << 20)
        return len(found[str(inner)])

    assert unpack(path, write, limits)
    return found


def tar_entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    return entry


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "shop/../../evil.py", "shop/..", ".."])
def test_entry_that_leads_outside_is_refused(
    make_step: StepMaker, zipped: Archive, tarred: Archive, tmp_path: Path, name: str
) -> None:
    for path in (zipped({"shop/a.py": "a", name: "x"}), tarred({"shop/a.py": "a", name: "x"})):
        artifact = make_step.store.keep(path, "wheel")
        with pytest.raises(StepFailed) as caught:
            lay_out(make_step("scan.x", artifacts=[artifact]), "all", ())
        assert str(caught.value) == (
            f"{path.name} can't be scanned: its entry {name!r} would be written outside of it. "
            "Nothing of it is trusted"
        )
    assert not list(tmp_path.rglob("evil.py"))


@pytest.mark.parametrize(
    ("link", "refused"),
    [
        ("api.py", False),
        ("../shop/api.py", False),
        ("../../x", True),
        ("/etc/passwd", True),
        ("../x/../../y", True),
    ],
)
def test_link_that_leads_outside_is_refused_and_no_link_is_made(
    tmp_path: Path, tarred: Archive, link: str, refused: bool
) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        info = zipfile.ZipInfo("shop/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, link)
    for path in (wheel, tarred({}, [tar_entry("shop/link", tarfile.SYMTYPE, link)])):
        if refused:
            with pytest.raises(StepFailed, match="its link 'shop/link' leads outside of it"):
                read(path)
        else:
            assert read(path) == {}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device_is_refused(tarred: Archive, kind: bytes) -> None:
    with pytest.raises(StepFailed, match="neither a file, a directory nor a link"):
        read(tarred({"a": "b"}, [tar_entry("device", kind)]))


def test_hard_link_outside_is_refused(tarred: Archive) -> None:
    with pytest.raises(StepFailed, match="would be written outside"):
        read(tarred({"a": "b"}, [tar_entry("x", tarfile.LNKTYPE, "/etc/passwd")]))


def test_too_much_is_refused(zipped: Archive, tarred: Archive) -> None:
    for path in (zipped({"a": "x" * 5000, "b": "x" * 5000}), tarred({"a": "x" * 5000, "b": "x" * 5000})):
        assert len(read(path, Limits(entries=2, bytes=10_000))) == 2
        with pytest.raises(StepFailed, match="unpacks to more than its limit of bytes"):
            read(path, Limits(entries=2, bytes=9_999))
        with pytest.raises(StepFailed, match="more than 1 entries"):
            read(path, Limits(entries=1, bytes=10_000))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entry_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shop/a.py", "good")
        archive.writestr("shop/./a.py", "bad")
    with pytest.raises(StepFailed, match=r"it holds shop/\./a\.py twice"):
        read(path)


def test_encrypted_entry_is_refused(zipped: Archive) -> None:
    path = zipped({"a.py": "x"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(StepFailed, match="is encrypted"):
        read(path)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut off"),
        pytest.param(lambda data: b"PK\x03\x04" + b"x" * 100, id="only begins so"),
        pytest.param(lambda data: b"not an archive", id="not one at all"),
    ],
)
def test_broken_wheel_is_refused(zipped: Archive, spoil: Callable[[bytes], bytes]) -> None:
    path = zipped({"a.py": "x" * 1000})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StepFailed, match="can't be scanned: it can't be unpacked"):
        read(path)


def test_cut_off_or_continued_tar_is_refused(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name in ("a", "b"):
            info = tarfile.TarInfo(name)
            info.size = 2000
            archive.addfile(info, io.BytesIO(b"x" * 2000))
    data = plain.getvalue()
    path = tmp_path / "x.tar.gz"
    spoiled = bytearray(data)
    spoiled[2560 + 148] ^= 0xFF  # in the checksum of the second header
    for content in (data + data, bytes(spoiled)):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(StepFailed, match="something stands behind its end"):
            read(path)
    path.write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(StepFailed, match="can't be unpacked"):
        read(path)


def test_archive_is_known_by_what_it_holds(tmp_path: Path, zipped: Archive, tarred: Archive) -> None:
    nested = zipped({"hidden.py": "x"}, "inner.whl").read_bytes()
    outer = tmp_path / "bundle"
    with tarfile.open(outer, "w") as archive:
        info = tarfile.TarInfo("inner.whl")
        info.size = len(nested)
        archive.addfile(info, io.BytesIO(nested))
    assert list(read(outer)) == ["inner.whl"]
    launcher = tmp_path / "app.pyz"
    launcher.write_bytes(b"#!/usr/bin/env python3\n" + zipped({"__main__.py": "x"}).read_bytes())
    assert list(read(launcher)) == ["__main__.py"]
    text = tmp_path / "notes.txt"
    text.write_text("plain")
    assert not unpack(text, lambda inner, content: 0)


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["..", ".", "", "a", ".git", "x: y"]) | NAMES, min_size=1, max_size=4))
)
def test_every_file_lands_inside_or_the_archive_is_refused(tmp_path: Path, names: list[list[str]]) -> None:
    path = tmp_path / "any.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for parts in names:
            archive.addfile(tarfile.TarInfo("/".join(parts)))
    seen: list[PurePosixPath] = []

    def write(inner: PurePosixPath, content: Readable) -> int:
        seen.append(inner)
        return 0

    try:
        unpack(path, write)
    except StepFailed:
        return
    for inner in seen:
        assert not inner.is_absolute()
        assert ".." not in inner.parts


def test_tree_shows_paths_as_people_know_them(make_step: StepMaker, zipped: Archive) -> None:
    artifact = make_step.store.keep(zipped({".git/config": "x"}), "wheel")
    step = make_step("scan.x", files={"a: b/c.py": "x", "d\ne.py": "x"}, artifacts=[artifact])
    tree = lay_out(step, "all", ())
    paths = [path.relative_to(tree.root) for path in tree.root.rglob("*") if path.is_file()]
    shown = sorted(tree.shown(path.as_posix()) for path in paths if path.parts[0] != "canary")
    assert shown == ["a:?b/c.py", "d?e.py", "shop-1.0.0-py3-none-any.whl: .git/config"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"targets": "artifacts"}, "no step before this one has built anything", id="no artifact"
        ),
        pytest.param({"files": {}}, "there is no file in what was to be looked at", id="no file"),
        pytest.param({"skip": ("*",)}, "`skip` leaves every file out", id="all skipped"),
    ],
)
def test_scan_of_nothing_is_refused(make_step: StepMaker, arguments: dict[str, Any], message: str) -> None:
    step = make_step("scan.x", files=arguments.get("files", {"a.py": "x"}))
    with pytest.raises(StepFailed, match="nothing was scanned: ") as caught:
        lay_out(step, arguments.get("targets", "all"), arguments.get("skip", ()))
    assert message in str(caught.value)


def test_empty_wheel_is_refused(make_step: StepMaker, zipped: Archive) -> None:
    empty = make_step.store.keep(zipped({}), "wheel")
    with pytest.raises(StepFailed, match="it holds no file"):
        lay_out(make_step("scan.x", files={"a": "b"}, artifacts=[empty]), "all", ())


@pytest.mark.parametrize(
    ("path", "glob", "expected"),
    [
        ("docs/a.py", "docs/*", True),
        ("docs/deep/a.py", "docs/*", True),
        ("shop-1.0/docs/a.py", "docs/*", True),
        ("mydocs/a.py", "docs/*", False),
        ("a.py", "*.py", True),
        ("a.pyc", "*.py", False),
    ],
)
def test_glob(path: str, glob: str, expected: bool) -> None:
    assert matches(path, [glob]) is expected
