"""Projects that are no package: `penstock init`, `penstock run`, nothing between."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.projects import Project

pytestmark = [pytest.mark.real, pytest.mark.slow]

FLASK = {
    "requirements.txt": "itsdangerous\n",
    "requirements-dev.txt": "pytest\n",
    "app.py": "import itsdangerous\n\ndef word():\n    return itsdangerous.Signer('x').sign('a')\n",
    "migrations/env.py": "",
    "tests/__init__.py": "",
    "tests/test_app.py": "from app import word\n\ndef test_word():\n    assert word().startswith(b'a.')\n",
}
DJANGO = {
    "requirements.txt": "django\n",
    "site/manage.py": "import os, sys\n"
    "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
    "from django.core.management import execute_from_command_line\n"
    "if __name__ == '__main__':\n    execute_from_command_line(sys.argv)\n",
    "site/shop/__init__.py": "",
    "site/shop/settings.py": "SECRET_KEY = 'x'\nINSTALLED_APPS = ['polls']\nUSE_TZ = True\n"
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n",
    "site/polls/__init__.py": "",
    "site/polls/models.py": "from django.db import models\n\nclass Poll(models.Model):\n"
    "    name = models.CharField(max_length=9)\n",
    "site/polls/tests.py": "from django.test import TestCase\nfrom polls.models import Poll\n\n"
    "class Polls(TestCase):\n    def test_none(self):\n        self.assertEqual(Poll.objects.count(), 0)\n\n"
    "    def test_one(self):\n        Poll.objects.create(name='a')\n"
    "        self.assertEqual(Poll.objects.count(), 1)\n",
}
BACKEND = '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'


def member(name: str, body: str, needs: str = "") -> dict[str, str]:
    place = f"packages/{name}"
    return {
        f"{place}/pyproject.toml": f'[project]\nname = "{name}"\nversion = "1"\ndescription = "x"\n'
        f"dependencies = [{needs}]\n{BACKEND}",
        f"{place}/src/{name}/__init__.py": f"{body}\n",
        f"{place}/tests/test_it.py": f"import {name}\n\ndef test_it():\n    assert {name}.VALUE == 1\n",
    }


WORKSPACE = {
    "pyproject.toml": '[project]\nname = "all"\nversion = "0"\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    '[dependency-groups]\ndev = ["pytest"]\n',
    **member("ours_base", "VALUE = 1"),
    **member("ours_top", "from ours_base import VALUE", '"ours_base"'),
}


@pytest.mark.parametrize(
    ("files", "tests"),
    [
        pytest.param(FLASK, {"test.pytest": 1}, id="requirements files"),
        pytest.param(DJANGO, {"test.pytest": 2}, id="Django"),
        pytest.param(WORKSPACE, {"test.ours_base": 1, "test.ours_top": 1}, id="a workspace"),
    ],
)
def test_it_passes_as_it_is(project: Project, files: Mapping[str, str], tests: Mapping[str, int]) -> None:
    project.commit(files)

    project.passes("init")
    project.passes("run", timeout=600)

    steps = project.json("show", "last")["steps"]
    passed = {step["name"]: step["tests"]["passed"] for step in steps if step.get("tests")}
    assert passed == tests
