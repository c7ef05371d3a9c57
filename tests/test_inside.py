"""With a real engine: suites inside images that hold no test tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from penstock import Artifact, Inside, StepFailed, TestReport
from penstock.testing import StepMaker
from penstock_docker import Image, penstock_build
from penstock_pytest import Pytest, penstock_test

from tests.bases import import_python
from tests.engines import BASE, Engine, engine

__all__ = ["engine"]

pytestmark = pytest.mark.real

FILES = {
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1.0"\ndependencies = ["nosuch-distribution-at-all"]\n'
    '[dependency-groups]\ntest = ["pytest", "nosuch-distribution-at-all"]\n',
    "conftest.py": "",
    "shop/__init__.py": 'WHERE = "tree"\n',
    "shop/test_within.py": "import shop\n\ndef test_within(): assert shop.WHERE == 'image'\n",
    "tests/test_shop.py": """
import os
import sys
import shop

def test_where():
    assert shop.WHERE == "image", shop.__file__

def test_fails():
    print("said")
    assert shop.WHERE == "tree"

def test_tools_are_last_and_read_only(tmp_path):
    place = os.path.dirname(os.path.dirname(sys.modules["pytest"].__file__))
    assert place in sys.path[-2:]
    assert not os.access(place, os.W_OK)
    assert len(str(tmp_path)) < 80
""",
}


class Bench:
    """Images with the shop in them, or without, in one store."""

    def __init__(self, engine: Engine, maker: StepMaker) -> None:
        self.maker = maker
        self.engine = engine

        def build(name: str, text: str, files: Mapping[str, str]) -> Artifact:
            step = maker(f"build.{name}", files={"Dockerfile": text, **files})
            [made] = penstock_build(settings=Image(host=engine.host, name=name), step=step)
            step.close()
            return made

        base = import_python(engine, [])
        code = {"app/shop/__init__.py": 'WHERE = "image"\n'}
        self.shop = build("shop", f"FROM {base}\nWORKDIR /srv\nCOPY app /srv\n", code)
        self.empty = build("empty", f"FROM {base}\nWORKDIR /srv\n", {})
        self.bare = build("bare", f"FROM {BASE}\nRUN true\n", {})

    def test(self, image: Artifact, files: Mapping[str, str] = FILES, **settings: Any) -> TestReport:
        limits = Inside(step="build.image", host=self.engine.host)
        self.step = self.maker(files=files, artifacts=[image], inside=limits, plugins=["docker"])
        try:
            return penstock_test(settings=Pytest.model_validate(settings), step=self.step)
        finally:
            self.log = self.maker.log_of(self.step)
            self.step.leave()
            self.step.close()


@pytest.fixture(scope="module")
def bench(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(engine, StepMaker(tmp_path_factory.mktemp("inside")))


def test_what_is_tested_is_the_image_s_and_the_tools_come_in_beside_it(bench: Bench) -> None:
    report = bench.test(bench.shop)

    assert {case.name: case.outcome for case in report.cases} == {
        "shop/test_within.py::test_within": "passed",
        "tests/test_shop.py::test_where": "passed",
        "tests/test_shop.py::test_fails": "failed",
        "tests/test_shop.py::test_tools_are_last_and_read_only": "passed",
    }
    assert report.tool.startswith("pytest ")
    [failed] = [case for case in report.cases if case.outcome == "failed"]
    assert "assert 'image' == 'tree'" in str(failed.message)
    assert "said" in str(failed.output)
    assert "Testing shop of the image: /srv/shop" in bench.log
    assert "shop: the image's in place of the tree's, but for 1 files of tests" in bench.log
    assert bench.step.ran_inside == bench.shop


def test_coverage_is_that_of_the_image_s_code(bench: Bench) -> None:
    assert bench.test(bench.shop, coverage=True, paths=["tests"]).coverage == 1.0


def test_unittest_needs_no_tools(bench: Bench) -> None:
    text = "import unittest\nimport shop\n\nclass T(unittest.TestCase):\n"
    text += "    def test_where(self): self.assertEqual(shop.WHERE, 'image')\n"
    files = {"tests/test_u.py": text, "tests/__init__.py": "", "shop/__init__.py": 'WHERE = "tree"\n'}

    report = bench.test(bench.shop, files, runner="unittest")

    assert [(case.name, case.outcome) for case in report.cases] == [("tests.test_u.T.test_where", "passed")]


@pytest.mark.parametrize(
    ("image", "settings", "said"),
    [
        (
            "bare",
            {},
            r"there is no Python on the PATH of bare that pytest can run on\. Tests inside an image need",
        ),
        ("shop", {"python": "3.99"}, r'`python` asks for "3\.99" \(python3 is Python 3\.11'),
        ("empty", {}, r"the image has no shop on the import path: the tests would import the tree's"),
    ],
)
def test_what_can_not_be_tested(bench: Bench, image: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(StepFailed, match=said):
        bench.test(getattr(bench, image), **settings)
