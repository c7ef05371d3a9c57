"""What `penstock init` says about a Python project's build. Reads files alone, and runs nothing."""

from __future__ import annotations

from pathlib import Path

from penstock import Proposal, StepFailed

from penstock_python.project import read

_BACKENDS = (
    *(
        "hatchling",
        "flit-core",
        "poetry-core",
        "poetry",
        "pdm-backend",
        "pdm-pep517",
        "uv-build",
        "scikit-build-core",
    ),
    *("maturin", "meson-python", "setuptools"),  # many name setuptools beside their own
)


def propose(root: Path) -> Proposal | None:
    """A build of wheel and sdist; None where there is nothing that pip could install."""
    try:
        project = read(root, ".")
    except StepFailed as error:
        if not (root / "pyproject.toml").is_file():
            return None
        return Proposal(saw="pyproject.toml, which can't be built", unsure=(str(error),))
    if not (root / "setup.py").is_file() and not _is_package(root):
        return None
    backend = next((name for name in _BACKENDS if name in project.requires), "setuptools")
    return Proposal(saw=f"{backend}, {_layout(root)}", sections={"build.wheel": {}})


def _is_package(root: Path) -> bool:
    """Whether pyproject.toml is about a package, and not about tools alone."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return "[build-system]" in text or "[project]" in text or "[tool.poetry]" in text


def _layout(root: Path) -> str:
    return "src layout" if (root / "src").is_dir() else "flat layout"
