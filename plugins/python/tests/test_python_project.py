from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import StepFailed
from penstock_python import project, propose

SYSTEM = '[build-system]\nrequires = ["setuptools>=64", "setuptools_scm[toml]>=8; python_version>\'3\'"]\n'


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def test_read_pyproject(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml=SYSTEM + '[project]\nname = "Toy"\ndynamic = ["version"]\n')
    tools = frozenset({"setuptools", "setuptools-scm"})
    assert project.read(tmp_path, ".") == project.Project(
        tmp_path, "Toy", tools, static_version=False, requires=tools
    )


def test_read_a_static_version(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml='[project]\nname = "toy"\nversion = "1"\n')
    assert project.read(tmp_path, ".").static_version


@pytest.mark.parametrize(("source", "tools"), [("scm", {"pdm-backend"}), ("file", set())])
def test_read_pdm_counts_only_where_it_asks_git(tmp_path: Path, source: str, tools: set[str]) -> None:
    write(
        tmp_path,
        pyproject__toml='[build-system]\nrequires = ["pdm-backend"]\n'
        f'[tool.pdm.version]\nsource = "{source}"\n',
    )
    assert project.read(tmp_path, ".").tools == tools


def test_read_setup_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        setup__py="from setuptools import setup\nsetup(use_scm_version=True)",
        setup__cfg="[metadata]\ndescription = x\nname = old-toy\n[options]\nname = not-this\n",
    )
    found = project.read(tmp_path, ".")
    assert (found.name, found.tools, found.static_version) == ("old-toy", {"setuptools-scm"}, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "[project]\nname = toy\n",
            "pyproject.toml:2: Invalid value. Correct the TOML; nothing was built",
            id="not-toml",
        ),
        pytest.param(
            "build-system = 3",
            "pyproject.toml: build-system is not a table. Write [build-system] on a line of its own",
            id="not-a-table",
        ),
        pytest.param(
            "[build-system]\nbuild-backend = 'x'",
            'pyproject.toml: [build-system] has no requires. Add, for instance: requires = ["hatchling"]',
            id="no-requires",
        ),
        pytest.param(
            "[build-system]\nrequires = 'hatchling'",
            'pyproject.toml: build-system.requires is not a list of strings, such as ["hatchling"]',
            id="requires-a-string",
        ),
    ],
)
def test_read_broken(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, pyproject__toml=text)
    with pytest.raises(StepFailed) as caught:
        project.read(tmp_path, ".")
    assert str(caught.value) == message


def test_read_a_bad_requirement_in_a_directory(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml='[build-system]\nrequires = ["hatch ling"]')
    with pytest.raises(
        StepFailed, match=r"^packages/core/pyproject\.toml: build-system\.requires: 'hatch ling' is"
    ):
        project.read(tmp_path, "packages/core")


def test_read_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes('[project]\nname = "tö"'.encode("latin-1"))
    with pytest.raises(StepFailed, match=r"^pyproject\.toml is not UTF-8 \(byte 19\)"):
        project.read(tmp_path, ".")


def test_read_nothing(tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        project.read(tmp_path, ".")
    assert str(caught.value) == (
        "there is nothing to build in .: no pyproject.toml and no setup.py. Add a pyproject.toml with "
        '[build-system] and [project], or say where it is: directory = "…"'
    )


@given(st.binary(max_size=200))
def test_whatever_is_in_the_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_bytes(data)
    (root / "setup.cfg").write_bytes(data)
    with contextlib.suppress(StepFailed):
        project.read(root, ".")


@pytest.mark.parametrize("source", ["scm", "file"])
@pytest.mark.parametrize("backend", ["pdm-backend", "hatchling", "uv_build", "setuptools"])
def test_a_project_is_proposed_under_its_own_backend_s_name(
    tmp_path: Path, backend: str, source: str
) -> None:
    write(
        tmp_path,
        pyproject__toml=f'[build-system]\nrequires = ["{backend}>=0.1"]\n[project]\nname = "a"\n'
        f'[tool.pdm.version]\nsource = "{source}"\n',
    )
    found = propose.propose(tmp_path)
    assert found is not None
    assert found.saw == f"{backend.replace('_', '-')}, flat layout"
