"""`penstock init` in projects that it has never seen, with all plugins of this repository."""

from __future__ import annotations

import pytest

from tests.projects import Project

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "app"
version = "2.3.1"

[dependency-groups]
test = ["pytest"]
"""


@pytest.mark.real
def test_init_and_then_run_with_nothing_between(project: Project) -> None:
    project.commit(
        {
            "pyproject.toml": PYPROJECT,
            "src/app/__init__.py": "def answer():\n    return 42\n",
            "tests/test_app.py": "from app import answer\n\ndef test_it():\n    assert answer() == 42\n",
        }
    )
    done = project.passes("init")
    assert done.out == (
        "Looked at .\n"
        "  git       what is committed; --dirty takes the rest too\n"
        "  python    hatchling, src layout\n"
        '  pytest    tests/, requirements: dependency group "test" of pyproject.toml\n'
        "  trivy     any project\n"
        "            ! it looks for secrets; `scanners` says what else, vulnerabilities among it\n"
        "  sigstore  no key yet: the first run makes one, for you alone\n"
        "Wrote penstock.toml: source, build.wheel, test.pytest, scan.all, sign.release.\n"
        "No deploy step yet: a section [deploy.NAME] adds one.\n"
        "Now: penstock run\n"
    )
    done = project.passes("run")
    assert "✓ test.pytest   1 passed" in done.out
    assert "✓ build.wheel   2 artifacts" in done.out


def test_init_understands_nothing_in_an_empty_directory(project: Project) -> None:
    done = project.run("init")
    assert done.code == 2
    assert "is understood by the installed plugins (git, python, " in done.err
    assert not (project.root / "penstock.toml").exists()


def test_init_says_what_it_could_not_tell(project: Project) -> None:
    project.write({"pyproject.toml": "[project\n", "tests/test_x.py": ""})
    done = project.passes("init")
    assert "  python    pyproject.toml, which can't be built" in done.out
    assert "! pyproject.toml:1: " in done.out


def test_init_leaves_a_file_of_others_alone(project: Project) -> None:
    project.write({"pyproject.toml": PYPROJECT, "penstock.toml": "# mine\n"})
    assert project.run("init").code == 2
    assert (project.root / "penstock.toml").read_text() == "# mine\n"
