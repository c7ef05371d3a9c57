"""What `penstock init` proposes to build, and what it takes for an application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from penstock_python.propose import propose

HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
WHEEL = {"build.wheel": {}}


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "saw"),
    [
        pytest.param({"pyproject.toml": HATCHLING, "src/a.py": ""}, "hatchling, src layout", id="backend"),
        pytest.param({"setup.py": "", "a.py": ""}, "setuptools, flat layout", id="setup.py"),
        pytest.param(
            {"pyproject.toml": PROJECT, "shop/a.py": "", "tests/a.py": ""},
            "setuptools, flat layout",
            id="one package",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT, "shop.py": "", "setup.py": ""},
            "setuptools, flat layout",
            id="one module",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + "[tool.setuptools]\npackages = []\n", "a/x.py": "", "b/x.py": ""},
            "setuptools, flat layout",
            id="setuptools is told",
        ),
        pytest.param(
            {"pyproject.toml": HATCHLING, "more/pyproject.toml": HATCHLING},
            "hatchling, flat layout",
            id="others below",
        ),
    ],
)
def test_a_package_is_built(tmp_path: Path, files: Mapping[str, str], saw: str) -> None:
    found = propose(write(tmp_path, files))

    assert found is not None
    assert (found.saw, found.sections) == (saw, WHEEL)


@pytest.mark.parametrize(
    ("text", "files", "why"),
    [
        (
            PROJECT,
            ("app/a.py", "migrations/a.py"),
            "pyproject.toml has no [build-system], and setuptools would find several packages or modules "
            "(app, migrations)",
        ),
        (
            PROJECT,
            ("manage.py",),
            "pyproject.toml has no [build-system], and setuptools would find nothing to package",
        ),
        (
            '[tool.poetry]\nname = "shop"\npackage-mode = false\n' + HATCHLING,
            ("app/a.py",),
            "[tool.poetry] says package-mode = false",
        ),
        (PROJECT + "[tool.uv]\npackage = false\n", ("app/a.py",), "[tool.uv] says package = false"),
        ('[tool.poetry]\nname = "shop"\n', ("app/a.py",), "pyproject.toml has no [build-system]"),
    ],
)
def test_an_application_is_not(tmp_path: Path, text: str, files: tuple[str, ...], why: str) -> None:
    found = propose(write(tmp_path, {"pyproject.toml": text, **dict.fromkeys(files, "")}))

    assert found is not None
    assert (found.sections, found.enable) == ({}, False)
    assert found.unsure == (f"{why}: no build step",)


def test_of_a_workspace_each_member_that_is_a_package_is_built(tmp_path: Path) -> None:
    workspace = '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'
    files = {f"packages/{name}/pyproject.toml": HATCHLING for name in ("one", "two", "old")}
    files |= {
        "pyproject.toml": PROJECT + workspace,
        "packages/app/pyproject.toml": PROJECT,
        "else/pyproject.toml": HATCHLING,
    }

    found = propose(write(tmp_path, files))

    assert found is not None
    assert found.sections == {
        "build.one": {"directory": "packages/one"},
        "build.two": {"directory": "packages/two"},
    }
    assert found.saw == "hatchling in packages/one/, hatchling in packages/two/"


def test_of_a_workspace_whose_root_is_a_package_the_members_are_built_too(tmp_path: Path) -> None:
    """What the root needs of them is on no index."""
    workspace = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    files = {"pyproject.toml": HATCHLING + PROJECT + workspace, "packages/wheel/pyproject.toml": HATCHLING}

    found = propose(write(tmp_path, files))

    assert found is not None
    assert found.sections == {"build.wheel": {}, "build.wheel-2": {"directory": "packages/wheel"}}
    assert found.saw == "hatchling, flat layout, hatchling in packages/wheel/"


def test_of_a_repository_that_is_no_package_those_below_are_built(tmp_path: Path) -> None:
    places = ("a/core", "b/core", "tests/toy", "examples/one", ".hidden/x", "a/core/vendored")
    files = {f"{place}/pyproject.toml": HATCHLING for place in places}

    found = propose(write(tmp_path, {**files, "pyproject.toml": "[tool.ruff]\n"}))

    assert found is not None
    assert found.sections == {
        "build.core": {"directory": "a/core"},
        "build.core-2": {"directory": "b/core"},
    }


@pytest.mark.parametrize("files", [{}, {"pyproject.toml": "[tool.ruff]\n"}, {"app/a.py": ""}])
def test_nothing_is_said_of_what_is_none_of_it(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert propose(write(tmp_path, files)) is None


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    found = propose(write(tmp_path, {"pyproject.toml": "[project\n"}))

    assert found is not None
    assert found.saw == "pyproject.toml, which can't be built"
    assert "pyproject.toml:1" in found.unsure[0]
