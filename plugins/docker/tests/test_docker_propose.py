"""What `penstock init` says about a Dockerfile, with an engine and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from penstock_docker import Image, Service, penstock_propose, propose

from tests.engines import BASE, Engine


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM scratch\n", []),
        (
            "# FROM x\nFROM python:3.12 AS build\nRUN true\nFROM build\nfrom a@sha256:0\n",
            ["python:3.12", "a@sha256:0"],
        ),
        (
            "ARG TAG=3.12\nARG OTHER\nFROM --platform=linux/amd64 python:${TAG}\nFROM x:$OTHER",
            ["python:3.12", "x:$OTHER"],
        ),
        ("FROM a AS A\nFROM A\n", ["a"]),
    ],
)
def test_the_images_that_a_dockerfile_begins_from(text: str, images: list[str]) -> None:
    assert propose.bases(text) == images


def test_nothing_without_a_dockerfile(tmp_path: Path) -> None:
    assert penstock_propose(root=tmp_path, add=None) is None
    assert penstock_propose(root=tmp_path, add="deploy.staging") is None


def test_where_there_is_no_dockerfile_nothing_is_loaded_that_speaks_to_engines(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from penstock_docker import penstock_propose\n"
    code += "print(penstock_propose(Path(sys.argv[1]), None), {'docker', 'requests'} & set(sys.modules))"

    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert done.stdout == "None set()\n"


def test_without_an_engine_it_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")

    found = penstock_propose(root=tmp_path, add=None)

    assert found is not None
    assert (found.sections, found.enable) == ({}, False)
    assert "there is no such socket" in found.unsure[0]
    assert found.unsure[0].endswith("Then: penstock init --add build.image --uses docker")


@pytest.mark.real
def test_with_an_engine_it_depends_on_what_that_has(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    file = tmp_path / "Containerfile"
    file.write_text(f"FROM {BASE}\n")

    found = penstock_propose(root=tmp_path, add=None)
    file.write_text("FROM never.example.com/there:1\n")
    other = penstock_propose(root=tmp_path, add=None)

    assert found is not None
    assert other is not None
    assert found.sections == {"build.image": {"dockerfile": "Containerfile"}}
    Image.model_validate(found.sections["build.image"])
    assert other.sections == {}
    assert "never.example.com/there:1 is not on this engine yet" in other.unsure[0]


def test_a_deploy_section_says_what_the_project_says(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nEXPOSE 8000\n")
    (tmp_path / "penstock.toml").write_text(
        '[build.image]\nuses = "docker"\nrepository = "registry.example.com/shop"\n'
    )

    found = penstock_propose(root=tmp_path, add="deploy.staging")

    assert found is not None
    section = found.sections["deploy.staging"]
    assert section == {
        "hosts": ["local"],
        "repository": "registry.example.com/shop",
        "ports": ["8000:8000"],
    }
    Service.model_validate(section)
