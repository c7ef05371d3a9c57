from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from penstock import StepFailed
from penstock_python import outputs

METADATA = "Metadata-Version: 2.1\nName: Toy\nVersion: 1.0\n"
INFO = "toy-1.0.dist-info"
FILES = {"toy/__init__.py": "x = 1\n", f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": "Wheel-Version: 1.0\n"}
WHEEL = "toy-1.0-py3-none-any.whl"
SDIST = "toy-1.0.tar.gz"


def record_of(files: Mapping[str, str]) -> str:
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{name},sha256={digest},{len(text)}\n")
    return "".join(rows) + f"{INFO}/RECORD,,\n"


def wheel(out: Path, name: str = WHEEL, files: Mapping[str, str] = FILES, record: str | None = None) -> Path:
    out.mkdir(exist_ok=True)
    with zipfile.ZipFile(out / name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{INFO}/RECORD", record_of(files) if record is None else record)
    return out / name


def sdist(out: Path, name: str = SDIST, files: Mapping[str, str] | None = None) -> Path:
    out.mkdir(exist_ok=True)
    with tarfile.open(out / name, "w:gz") as archive:
        for path, text in (files or {"toy-1.0/PKG-INFO": METADATA}).items():
            info = tarfile.TarInfo(path)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out / name


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "dist"


def refusal(out: Path, *formats: outputs.Format, project: str | None = "toy") -> str:
    with pytest.raises(StepFailed) as caught:
        outputs.collect(out, formats, project)
    return str(caught.value)


def test_collect_both(out: Path) -> None:
    paths = [wheel(out), sdist(out)]
    found = outputs.collect(out, ("wheel", "sdist"), "TOY")
    assert [output.path for output in found] == paths
    assert [str(output.version) for output in found] == ["1.0", "1.0"]
    assert [output.format for output in outputs.collect(out, ("sdist", "wheel"), None)] == ["sdist", "wheel"]


def test_collect_nothing(out: Path) -> None:
    assert refusal(out, "wheel") == (
        "the build should have left one wheel (*.whl) and left 0: none. That is a fault of the build backend"
    )


def test_collect_two_wheels(out: Path) -> None:
    wheel(out)
    wheel(out, "other-1.0-py3-none-any.whl")
    assert "left 2: other-1.0-py3-none-any.whl, toy-1.0-py3-none-any.whl." in refusal(out, "wheel")


def test_collect_more_than_asked(out: Path) -> None:
    wheel(out)
    sdist(out)
    assert refusal(out, "wheel") == (
        "the build left more than was asked for: toy-1.0.tar.gz. Expected: toy-1.0-py3-none-any.whl"
    )


def test_collect_another_project(out: Path) -> None:
    wheel(out)
    assert 'is not of the project "shop"' in refusal(out, "wheel", project="shop")


def test_collect_two_versions(out: Path) -> None:
    wheel(out)
    sdist(out, "toy-1.1.tar.gz", {"toy-1.1/PKG-INFO": METADATA.replace("1.0", "1.1")})
    assert "toy-1.0-py3-none-any.whl and toy-1.1.tar.gz are not of one release" in refusal(
        out, "wheel", "sdist"
    )


@pytest.mark.parametrize(
    ("name", "files", "record", "reason"),
    [
        pytest.param("toy.whl", FILES, None, "is not the name of a valid wheel", id="name"),
        pytest.param("toy-x-py3-none-any.whl", FILES, None, "is not the name of a valid wheel", id="version"),
        pytest.param(
            "toy-1.1-py3-none-any.whl", FILES, None, "says inside that it is Toy 1.0", id="other-version"
        ),
        pytest.param(WHEEL, {"toy.py": ""}, None, "it has 0 *.dist-info/METADATA", id="no-metadata"),
        pytest.param(
            WHEEL,
            {k: v for k, v in FILES.items() if "WHEEL" not in k},
            None,
            "it has no toy-1.0.dist-info/WHEEL",
            id="no-wheel-file",
        ),
        pytest.param(
            WHEEL,
            FILES,
            record_of(FILES).replace("toy/__init__.py", "toy/a.py"),
            "RECORD does not list",
            id="unlisted",
        ),
        pytest.param(WHEEL, FILES, record_of({**FILES, "b.py": ""}), "RECORD lists b.py", id="missing"),
        pytest.param(
            WHEEL,
            FILES,
            record_of({**FILES, "toy/__init__.py": "x = 2\n"}),
            "RECORD has another digest for toy/__init__.py",
            id="digest",
        ),
        pytest.param(
            WHEEL,
            FILES,
            "".join(f"{name},,\n" for name in [*FILES, f"{INFO}/RECORD"]),
            "RECORD has another digest for",
            id="no-digests",
        ),
        pytest.param(WHEEL, FILES, record_of(FILES).replace("sha256", "md5"), "another digest for", id="md5"),
        pytest.param(
            WHEEL, {**FILES, "../x.py": ""}, None, "the path ../x.py in it leads outside", id="dots"
        ),
        pytest.param(
            WHEEL, {**FILES, "/x.py": ""}, None, "the path /x.py in it leads outside", id="absolute"
        ),
        pytest.param(
            WHEEL,
            {**FILES, f"{INFO}/METADATA": "Name: toy\n"},
            None,
            "its metadata has no Name or no Version",
            id="no-version",
        ),
        pytest.param(
            WHEEL,
            {**FILES, f"{INFO}/METADATA": "Name: toy\nVersion: one\n"},
            None,
            "its metadata names no valid version",
            id="bad-version",
        ),
    ],
)
def test_collect_bad_wheel(
    out: Path, name: str, files: Mapping[str, str], record: str | None, reason: str
) -> None:
    wheel(out, name, files, record)
    message = refusal(out, "wheel")
    assert message.startswith(name)
    assert reason in message


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        pytest.param("toy.tar.gz", None, "is not the name of a valid sdist", id="name"),
        pytest.param(SDIST, {"toy-1.0/x": ""}, "it has no toy-1.0/PKG-INFO", id="no-metadata"),
        pytest.param(
            SDIST, {"a/PKG-INFO": METADATA, "b/x": ""}, "it has 2 directories at its top", id="two-tops"
        ),
        pytest.param(SDIST, {"toy-1.0/../../x": ""}, "leads outside", id="dots"),
        pytest.param(
            SDIST,
            {"toy-1.0/PKG-INFO": "Name: shop\nVersion: 1.0\n"},
            "says inside that it is shop 1.0",
            id="other",
        ),
    ],
)
def test_collect_bad_sdist(out: Path, name: str, files: Mapping[str, str] | None, reason: str) -> None:
    sdist(out, name, files)
    message = refusal(out, "sdist")
    assert message.startswith(name)
    assert reason in message


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_collect_torn(out: Path, share: float) -> None:
    for path in (wheel(out, files={**FILES, "data": "y" * 5000}), sdist(out)):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
    assert "is not a valid wheel" in refusal(out, "wheel", "sdist")
    (out / WHEEL).unlink()
    assert "is not a valid sdist" in refusal(out, "sdist")
