"""With a real engine: suites inside images that hold no test tools."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from penstock import Artifact, Inside, StepFailed, TestReport
from penstock.testing import StepMaker
from penstock_docker import Image, penstock_build
from penstock_pytest import Pytest, penstock_test

from tests.bases import import_python
from tests.engines import BASE, Engine, engine
from tests.projects import Project

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


def test_a_tree_none_of_whose_packages_the_image_has(bench: Bench) -> None:
    files = {"src/other/a.py": "", "tests/test_a.py": "def test_a(): pass\n"}

    with pytest.raises(StepFailed, match="the image has no other on the import path"):
        bench.test(bench.shop, files)


# --- whole runs ---

RUN = """\
[penstock]
plugins = ["git", "docker", "shell", "sigstore"]

[build.image]
uses = "docker"
name = "shop"

[test.unit]
uses = "shell"
inside = { step = "build.image", memory = "64MB" }
run = "mkdir reports && cp /srv/report.xml reports/r.xml"
reports = ["reports/*.xml"]
cache = { inputs = [] }

[test.slow]
uses = "shell"
inside = "build.image"
run = "echo begun; sleep $SECONDS_TO_SLEEP"
timeout = "60s"
env = { SECONDS_TO_SLEEP = "0" }

[sign.release]
uses = "sigstore"
"""
DOCKERFILE = f"FROM {BASE}\nCOPY report.xml /srv/report.xml\n"
REPORT = '<testsuite name="s" tests="1"><testcase classname="c" name="{}" time="0.1"/></testsuite>'


@pytest.fixture
def shop(project: Project, engine: Engine) -> Project:
    project.env["DOCKER_HOST"] = engine.host
    project.commit({"penstock.toml": RUN, "Dockerfile": DOCKERFILE, "report.xml": REPORT.format("one")})
    return project


def containers(engine: Engine, *options: str) -> list[str]:
    return engine.docker("ps", "-q", "-f", "label=dev.penstock.step=test.slow", *options).split()


def test_a_run_with_its_evidence_its_cache_and_a_look_afterwards(shop: Project, engine: Engine) -> None:
    assert "← build.image  (inside = build.image)" in shop.passes("plan").out
    shop.passes("run", timeout=300)

    [made] = shop.step("build.image")["artifacts"]
    [entry] = [e for e in shop.json("verify", made["digest"])["evidence"] if e["step"] == "test.unit"]
    store = shop.root / ".penstock" / "artifacts"
    [statement] = [path for path in store.rglob(f"*{entry['statement'][9:]}*") if path.is_file()]
    predicate = json.loads(statement.read_bytes())["predicate"]
    assert predicate["passedTests"] == ["c::one"]
    inside = {each["digest"]["sha256"] for each in predicate["configuration"] if "annotations" in each}
    assert inside == {made["digest"][7:], made["digests"]["image ID"][7:]}

    # The same image: its result stands. Another one: it does not, though no input that counts has changed.
    shop.commit({"README": "more\n"})
    shop.passes("run", timeout=300)
    assert shop.states()["test.unit"] == "passed"  # a file of the context is part of the image
    shop.passes("run", timeout=300)
    assert shop.states()["test.unit"] == "cached"

    done = shop.run("shell", "last", "test.unit", "--", "sh", "-c", "cat /srv/report.xml README; exit 3")
    assert (done.code, done.out) == (3, REPORT.format("one") + "more\n")
    assert shop.run("shell", "last", "test.unit").code == 2
    assert containers(engine, "-a") == []


def test_what_a_killed_worker_has_started_ends_with_it(shop: Project, engine: Engine) -> None:
    shop.commit({"penstock.toml": RUN.replace('"0"', '"600"')})
    child = shop.start("run")
    until(lambda: containers(engine))
    [first] = containers(engine)

    for worker in children(child.pid):
        os.kill(worker, signal.SIGKILL)
    until(lambda: first not in containers(engine))

    shop.run("cancel", "last")
    child.communicate(timeout=90)
    assert containers(engine) == []
    for left in containers(engine, "-a"):  # to remove what has ended is the business of penstock_reap
        engine.docker("rm", left)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_step_that_is_stopped_leaves_no_container(shop: Project, engine: Engine, how: str) -> None:
    text = RUN.replace('"0"', '"600"')
    shop.commit({"penstock.toml": text.replace('"60s"', '"5s"') if how == "timeout" else text})
    child = shop.start("run")
    until(lambda: containers(engine))

    if how == "cancel":
        shop.passes("cancel", "last")

    child.communicate(timeout=90)
    assert child.returncode == (1 if how == "timeout" else 130)
    assert containers(engine, "-a") == []


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
