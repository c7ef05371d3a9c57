"""Files that come back from a container are not trusted: whatever they say, nothing outside is touched."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from penstock import StepFailed
from penstock_docker import copying


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive(*entries: tarfile.TarInfo) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for info in entries:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    packed.seek(0)
    return packed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "own" / "files"
    made.mkdir(parents=True)
    (made / "before").write_text("before")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("whole")
    return made


LINK = {"type": tarfile.SYMTYPE, "linkname": "../../../victim"}


@pytest.mark.parametrize(
    "entries",
    [
        [entry("files/../../../victim/new", size=1)],
        [entry("/etc/new", size=1)],
        [entry("other/new", size=1)],
        [entry("files/a", **LINK), entry("files/a/new", size=1)],
        [entry("files/a", **LINK), entry("files/a/file", size=1)],
        [entry("files/a", **LINK), entry("files/b", type=tarfile.LNKTYPE, linkname="files/a/file")],
        [entry("files/a", **LINK), entry("files/a/d", type=tarfile.DIRTYPE, mode=0o777)],
        [entry("files/b", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        [entry("files/b", type=tarfile.LNKTYPE, linkname="files/none")],
        [entry("files/a", size=1), entry("files/a", size=2)],
        [entry("files/./a", size=1)],
    ],
    ids=lambda entries: " ".join(each.name for each in entries),
)
def test_an_archive_that_leads_out_changes_nothing(place: Path, entries: list[tarfile.TarInfo]) -> None:
    with pytest.raises(StepFailed, match="can't be taken"):
        copying.put_in_place(archive(*entries), place)

    root = place.parents[1]
    assert (root / "victim" / "file").read_text() == "whole"
    assert os.listdir(root / "victim") == ["file"]
    assert os.listdir(place.parent) == ["files"]
    assert (place / "before").read_text() == "before"


@pytest.mark.parametrize(
    "bad", [b"", b"no archive", archive().getvalue()[:100]], ids=["empty", "text", "cut off"]
)
def test_what_is_no_archive(place: Path, bad: bytes) -> None:
    with pytest.raises(StepFailed, match="can't be taken"):
        copying.put_in_place(io.BytesIO(bad), place)

    assert (place / "before").exists()


def test_a_directory_becomes_what_the_archive_says(place: Path) -> None:
    copying.put_in_place(
        archive(
            entry("files/", type=tarfile.DIRTYPE, mode=0o755),
            entry("files/d", type=tarfile.DIRTYPE, mode=0),
            entry("files/d/f", size=3, mode=0o4755, mtime=7),
            entry("files/hard", type=tarfile.LNKTYPE, linkname="files/d/f"),
            entry("files/soft", type=tarfile.SYMTYPE, linkname="/anywhere"),
            entry("files/pipe", type=tarfile.FIFOTYPE),
            entry("files/device", type=tarfile.CHRTYPE),
        ),
        place,
    )

    assert sorted(os.listdir(place)) == ["d", "hard", "soft"]
    assert (place / "d").stat().st_mode & 0o7777 == 0o700
    found = (place / "d" / "f").stat()
    assert (found.st_mode & 0o7777, found.st_mtime, found.st_size, found.st_nlink) == (0o755, 7, 3, 2)
    assert os.readlink(place / "soft") == "/anywhere"


def test_an_archive_of_what_is_brought_is_by_whole_paths_and_of_one_user(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "d" / "link").symlink_to("/nowhere")
    packed = io.BytesIO()

    copying.write(packed, [tmp_path / "d"], 7, 8)

    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        names = {f"/{info.name}" for info in tar}
        assert names == {
            str(path) for path in (tmp_path / "d", tmp_path / "d" / "f", tmp_path / "d" / "link")
        }
        assert {(info.uid, info.gid, info.uname) for info in tar} == {(7, 8, "")}
