"""What a step's programs see around them: the revision's files, and nothing of the checkout that it is in."""

from __future__ import annotations

import pytest

from tests.projects import Project

PIPELINE = """\
[penstock]
plugins = ["git", "shell"]

[test.it]
uses = "shell"
run = '''{script}'''
"""


def run(project: Project, script: str) -> str:
    project.write({"penstock.toml": PIPELINE.format(script=script)})
    project.passes("run", env={"GIT_DIR": str(project.root / ".git"), "GIT_PREFIX": "x/"})
    return project.run("logs", "last", "test.it").out


def test_git_does_not_find_the_users_repository(project: Project) -> None:
    project.commit({"a.txt": "a\n"})
    out = run(project, "if git rev-parse --show-toplevel; then exit 1; fi")
    assert "not a git repository" in out


@pytest.mark.real
def test_a_tool_that_heeds_gitignore_finds_the_files(project: Project) -> None:
    """hatchling leaves out what git ignores, and `.penstock/` around the workspace is ignored."""
    project.commit(
        {
            "pyproject.toml": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[project]\nname = "app"\nversion = "1"\n',
            "app/__init__.py": "",
        }
    )
    out = run(project, "python -m hatchling build -t wheel -d out >/dev/null; python -m zipfile -l out/*.whl")
    assert "app/__init__.py" in out
