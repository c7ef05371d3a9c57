from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from penstock_local import penstock_propose
from penstock_local.settings import Local

PROJECT = '[project]\nname = "Shop & Co"\n'


@pytest.mark.parametrize(
    ("files", "run"),
    [
        ({"pyproject.toml": PROJECT}, None),
        ({"pyproject.toml": PROJECT + '[project.scripts]\nserve = "shop:main"\n'}, ["serve"]),
        ({"pyproject.toml": PROJECT + '[project.scripts]\na = "s:a"\nb = "s:b"\n'}, None),
        ({"pyproject.toml": PROJECT + '[tool.poetry.scripts]\nserve = "shop:main"\n'}, ["serve"]),
        ({"pyproject.toml": PROJECT, "src/shop/__main__.py": ""}, ["python", "-m", "shop"]),
        ({"pyproject.toml": PROJECT, "shop/__main__.py": ""}, ["python", "-m", "shop"]),
        ({"pyproject.toml": PROJECT, "a/__main__.py": "", "b/__main__.py": ""}, None),
    ],
    ids=["none", "script", "two scripts", "poetry", "src", "flat", "two packages"],
)
def test_a_deploy_section_runs_what_the_project_plainly_has(
    tmp_path: Path, files: dict[str, str], run: list[str] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found: Any = penstock_propose(root=tmp_path, add="deploy.staging")
    settings = found.sections["deploy.staging"]
    assert settings == {"directory": "~/releases/Shop-Co/staging"} | ({"run": run} if run else {})
    assert len(found.unsure) == 1
    Local.model_validate(settings)


@pytest.mark.parametrize("text", ["", "not TOML", "[project]\nname = 1\nscripts = 2\n"])
def test_a_project_that_says_nothing_is_called_as_its_directory(tmp_path: Path, text: str) -> None:
    root = tmp_path / "a place"
    root.mkdir()
    (root / "pyproject.toml").write_text(text)
    found: Any = penstock_propose(root=root, add="deploy.x")
    name = "1" if "name" in text else "a-place"
    assert found.sections == {"deploy.x": {"directory": f"~/releases/{name}/x"}}


@pytest.mark.parametrize("add", [None, "verify.staging"])
def test_nothing_is_proposed_for_another_section(tmp_path: Path, add: str | None) -> None:
    assert penstock_propose(root=tmp_path, add=add) is None
