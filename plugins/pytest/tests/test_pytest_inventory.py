"""What is read of a suite that nobody described: its files, its options, its lock."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from penstock import TestCase
from penstock_pytest import Pytest, advice, known, layout, locks, pytestconfig
from penstock_pytest.inventory import Inventory
from penstock_pytest.propose import propose
from penstock_pytest.python import fitting
from penstock_pytest.requirements import Choice

TEST = "def test_it():\n    pass\n"
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n'
CASE = "import unittest\n\nclass It(unittest.TestCase):\n    def test_it(self):\n        pass\n"


def _project(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _inventory(root: Path, files: Mapping[str, str]) -> Inventory:
    return Inventory(_project(root, files), "3.11.7")


def _chosen(root: Path, files: Mapping[str, str], **settings: tuple[str, ...]) -> tuple[str, ...]:
    tests = _inventory(root, files)
    return tests.chosen(Pytest.model_validate(settings), tests.wanted(Choice()), lambda _: None)


# --- which files ---


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        pytest.param({"tests/test_a.py": TEST}, (), id="as pytest finds them"),
        pytest.param({"tests/test.py": TEST}, ("tests/test.py",), id="another name"),
        pytest.param({"tests.py": CASE, "x.py": TEST}, ("tests.py",), id="a module at the root"),
        pytest.param({"tests/check_a.py": TEST}, ("tests/check_a.py",), id="a name like no test's"),
        pytest.param(
            {"tests/test_a.py": CASE, "tests/testb.py": CASE},
            ("tests/test_a.py", "tests/testb.py"),
            id="unittest's own names",
        ),
        pytest.param(
            {"tests/test_a.py": "import pytest\n" + TEST, "tests/testb.py": CASE},
            (),
            id="pytest's names where the suite is pytest's",
        ),
        pytest.param(
            {"tests/test_a.py": CASE, "tests/testb.py": CASE, "tox.ini": "[testenv]\ncommands = pytest\n"},
            (),
            id="pytest's names where tox says pytest",
        ),
        pytest.param(
            {"tests/a_tests.py": TEST, "setup.cfg": "[tool:pytest]\npython_files = *_tests.py\n"},
            (),
            id="the project's own names",
        ),
        pytest.param(
            {"old/test_a.py": TEST, "new/a.test.py": TEST, "setup.cfg": "[tool:pytest]\ntestpaths = new\n"},
            ("new/a.test.py",),
            id="nothing where testpaths lead",
        ),
        pytest.param({"tests/helpers.py": "def help(): pass\n"}, (), id="no tests"),
        pytest.param({".venv/tests/test_a.py": TEST, "build/tests/testb.py": TEST}, (), id="not its own"),
        pytest.param(
            {
                "tests/test_a.py": TEST,
                "docs/test_b.py": TEST,
                "tox.ini": "[testenv]\ncommands =\n  coverage run -m pytest -q --tb short {posargs:tests}\n",
            },
            ("tests",),
            id="what tox tests",
        ),
        pytest.param(
            {"tests/test_a.py": TEST, "tox.ini": "[testenv]\ncommands = pytest -c tests nowhere .\n"},
            (),
            id="no path of tox's",
        ),
        pytest.param(
            {
                "one/test_a.py": TEST,
                "two/test_b.py": TEST,
                "more/test_c.py": TEST,
                "tox.ini": "[testenv]\ncommands =\n  pytest one\n  !x: pytest more\n  pytest two one\n",
            },
            ("one", "two"),
            id="all that tox tests",
        ),
        pytest.param(
            {
                "one/test_a.py": TEST,
                "two/test_b.py": TEST,
                "tox.ini": "[testenv]\ncommands =\n  pytest one\n  python -m testtools.run discover\n",
            },
            (),
            id="tox tests the rest with another runner",
        ),
        pytest.param(
            {"one/test_a.py": TEST, "tox.ini": "[testenv]\ncommands =\n  x: pytest one\n  y: pytest\n"},
            ("one",),
            id="never without a condition",
        ),
    ],
)
def test_the_paths_that_pytest_is_told(
    tmp_path: Path, files: dict[str, str], chosen: tuple[str, ...]
) -> None:
    assert _chosen(tmp_path, files) == chosen


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        pytest.param({"tox.ini": "python tests.py -v"}, (("tests.py", "-v"),), id="a script"),
        pytest.param({"tox.ini": "coverage run -p --branch tests.py"}, (("tests.py",),), id="under coverage"),
        pytest.param({"tox.ini": "{envpython} -m a.test {posargs}"}, (("-m", "a.test"),), id="a module"),
        pytest.param(
            {"tox.ini": "-python -Wd -m unittest discover -s {toxinidir}/t"},
            (("-m", "unittest", "discover", "-s", "./t"),),
            id="unittest",
        ),
        pytest.param({"tox.ini": "python setup.py test"}, (), id="no script of tests"),
        pytest.param({"tox.ini": "python ../tests.py"}, (), id="no script of the project's"),
        pytest.param({"tox.ini": "python tests.py {env:X}"}, (), id="not simple"),
        pytest.param({"tox.ini": "pytest\n  python tests.py"}, (), id="pytest too"),
        pytest.param(
            {"tox.ini": "python tests.py\n[pytest]\nxfail_strict = true"},
            (("tests.py",),),
            id="configuration that is not used",
        ),
        pytest.param(
            {"tox.ini": "python tests.py", "tests.py": "import pytest\n" + CASE}, (), id="tests for pytest"
        ),
        pytest.param({"tests.py": f"{CASE}\nunittest.main()\n"}, (("-C", "", "tests.py"),), id="a program"),
        pytest.param(
            {"tests.py": f"from unittest import TestCase, main\n{CASE}\nmain()\n"},
            (("-C", "", "tests.py"),),
            id="a program, by another name",
        ),
        pytest.param({"tests.py": f"from shop import main\n{CASE}\nmain()\n"}, (), id="no program of it"),
        pytest.param(
            {"tests.py": f"{CASE}\nunittest.main()\n", "test_b.py": CASE}, (), id="a program, and no program"
        ),
        pytest.param({"runtests.py": "import tests\n"}, (("runtests.py",),), id="a runner of its own"),
        pytest.param(
            {"runtests.py": "", "setup.cfg": "[tool:pytest]\n"},
            (),
            id="a runner beside pytest's configuration",
        ),
        pytest.param(
            {"manage.py": MANAGE}, (("-C", "", "manage.py", "test", "--noinput"),), id="a Django project"
        ),
        pytest.param(
            {"site/manage.py": MANAGE, "site/app/tests.py": CASE},
            (("-C", "site", "manage.py", "test", "--noinput"),),
            id="a Django project below",
        ),
        pytest.param({"manage.py": "print()\n"}, (), id="a script of that name"),
        pytest.param(
            {"manage.py": MANAGE, "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = a\n"},
            (),
            id="a Django project with pytest",
        ),
        pytest.param({}, (), id="nothing says so"),
    ],
)
def test_what_is_run_with_unittest(
    tmp_path: Path, files: dict[str, str], commands: tuple[tuple[str, ...], ...]
) -> None:
    if "tox.ini" in files:
        files = {**files, "tox.ini": f"[testenv]\ncommands =\n  {files['tox.ini']}\n"}
    tests = _inventory(tmp_path, {"tests.py": CASE, **files})
    assert tests.unittests(Pytest(), tests.wanted(Choice())) == commands


def test_paths_of_the_section_are_the_last_word(tmp_path: Path) -> None:
    assert _chosen(tmp_path, {"tests.py": CASE, "other.py": ""}, paths=("other.py",)) == ("other.py",)


# --- what they need ---


def _added(root: Path, files: Mapping[str, str]) -> dict[str, str]:
    wanted = _inventory(root, files).wanted(Choice())
    return {need.distribution: need.because for need in wanted.added}


@pytest.mark.parametrize(
    ("addopts", "added"),
    [
        ("--cov=a --cov-report=term", {"pytest-cov": "--cov in addopts"}),
        ("-n auto", {"pytest-xdist": "-n in addopts"}),
        ("-n4 --dist loadscope", {"pytest-xdist": "-n in addopts"}),
        ("-p xdist", {"pytest-xdist": "-p xdist in addopts"}),
        ("-p no:cacheprovider -ra --strict-markers --doctest-modules", {}),
        ("--timeout=3 --nobodys", {"pytest-timeout": "--timeout in addopts"}),
        ("--cove", {}),
    ],
)
def test_options_bring_their_plugins(tmp_path: Path, addopts: str, added: dict[str, str]) -> None:
    files = {"setup.cfg": f"[tool:pytest]\naddopts = {addopts}\n", "tests/test_a.py": TEST}
    assert _added(tmp_path, files) == added


def test_settings_and_required_plugins_bring_theirs(tmp_path: Path) -> None:
    ini = "[pytest]\nasyncio_mode = auto\nDJANGO_SETTINGS_MODULE = s\nrequired_plugins = pytest-env>=1 pytest-bdd\n"
    assert _added(tmp_path, {"pytest.ini": ini, "tests/test_a.py": TEST}) == {
        "pytest-env>=1": "required_plugins",
        "pytest-bdd": "required_plugins",
        "pytest-asyncio": "the setting asyncio_mode",
        "pytest-django": "the setting DJANGO_SETTINGS_MODULE",
    }


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("import hypothesis.strategies as st, yaml\n", ["hypothesis", "pyyaml"]),
        ("from freezegun import freeze_time\n", ["freezegun"]),
        ("try:\n    import numpy\nexcept ImportError:\n    numpy = None\n", []),
        ("import nobody_knows_this\nimport os\n", []),
        ("import helper\nimport mock\n", []),
        ("@pytest.mark.asyncio\nasync def test_a(): pass\n", ["pytest-asyncio"]),
        ("def test_a(mocker, tmp_path): pass\n", ["pytest-mock"]),
        ("def test_a(): run([sys.executable, '-m', 'pip', 'install', '.'])\n", ["pip"]),
        ("@pytest.fixture\ndef mocker(): pass\n\ndef test_a(mocker): pass\n", []),
    ],
)
def test_what_the_tests_use_is_installed_where_everybody_knows_it(
    tmp_path: Path, text: str, added: list[str]
) -> None:
    assert list(_added(tmp_path, {"tests/test_a.py": text, "tests/mock.py": ""})) == added


def test_what_a_program_beside_the_tests_needs_is_not_added(tmp_path: Path) -> None:
    """Unless a test imports it, or it holds tests itself."""
    end = '\nif __name__ == "__main__":\n    main()\n'
    files = {
        "tests/test_a.py": TEST + "from .helper import x\nimport tests.other\n",
        "tests/helper.py": "import yaml" + end,
        "tests/test_b.py": "import requests\n" + TEST + end,
        "tests/conftest.py": "import numpy" + end,
        "tests/benchmark/client.py": "import matplotlib" + end,
    }
    assert sorted(_added(tmp_path, files)) == ["numpy", "pyyaml", "requests"]


def test_nothing_is_added_that_is_asked_for(tmp_path: Path) -> None:
    files = {
        "setup.cfg": "[tool:pytest]\naddopts = --cov\n",
        "tests/test_a.py": "import hypothesis\n",
        "requirements/test.txt": "pytest_cov<6\nHypothesis==6\n",
    }
    assert _added(tmp_path, files) == {}


def test_nothing_is_added_to_what_the_section_names(tmp_path: Path) -> None:
    tests = _inventory(tmp_path, {"tests/test_a.py": "import hypothesis\n"})
    assert tests.wanted(Choice(groups=())).lines == ()


@pytest.mark.parametrize("table", ["options", "settings", "marks", "fixtures", "imports"])
def test_every_known_distribution_is_a_requirement(table: str) -> None:
    names = known.table(table).values()
    assert names
    assert all(Requirement(name) for name in names)


def test_words_of_a_configuration_keep_their_case(tmp_path: Path) -> None:
    _project(tmp_path, {"pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = a\naddopts = -k 'a b'\n"})
    config = pytestconfig.read(tmp_path)
    assert "DJANGO_SETTINGS_MODULE" in config.names
    assert config.addopts == ("-k", "a b")


# --- locks ---

UV = """
[[package]]
name = "me"
version = "1.0"
source = { editable = "." }

[[package]]
name = "Forked"
version = "1.0"
source = { registry = "https://index.example.com/simple" }
resolution-markers = ["python_full_version < '3.10'"]

[[package]]
name = "Forked"
version = "2.0"
source = { registry = "https://index.example.com/simple" }
resolution-markers = ["python_full_version >= '3.11'", "python_full_version == '3.10.*'"]

[[package]]
name = "from-git"
version = "3.0"
source = { git = "https://example.com/x.git" }
"""
POETRY = """
[[package]]
name = "one"
version = "1.1"
markers = "python_version >= '3.8'"

[[package]]
name = "two"
version = "2.2"

[package.source]
type = "directory"
url = "../two"
"""
PYLOCK = """
[[packages]]
name = "one"
version = "1.1"

[[packages]]
name = "one"
version = "1.0"

[[packages]]
name = "two"
version = "2"
marker = "python_version < '3'"

[[packages]]
name = "three"
version = "3"
"""


@pytest.mark.parametrize(
    ("file", "text", "lines"),
    [
        ("uv.lock", UV, ("forked==2.0",)),
        ("poetry.lock", POETRY, ("one==1.1",)),
        ("pylock.toml", PYLOCK, ("three==3",)),
        ("uv.lock", "not toml", ()),
        ("pdm.lock", "package = 3", ()),
    ],
)
def test_a_lock_s_versions_for_this_python(
    tmp_path: Path, file: str, text: str, lines: tuple[str, ...]
) -> None:
    (tmp_path / file).write_text(text)
    assert locks.read(tmp_path, "3.11.7") == locks.Lock(file=file if lines else "", lines=lines)


# --- advice ---


@pytest.mark.parametrize(
    ("message", "root", "said"),
    [
        (
            "E ModuleNotFoundError: No module named 'yaml.x'",
            False,
            '"yaml" is not in the tests\' environment',
        ),
        ("E fixture 'mocker' not found", False, 'The fixture "mocker" is a plugin\'s'),
        ("ConnectionRefusedError: [Errno 111]", False, "a network or a service that is not there"),
        ("locale.Error: unsupported locale setting", False, "locales, tzdata"),
        ("Failed: DID NOT RAISE <class 'PermissionError'>", True, "runs as root"),
        ("Failed: DID NOT RAISE <class 'PermissionError'>", False, "To leave a test out"),
        ("assert 1 == 2", True, "To leave a test out"),
    ],
)
def test_advice_for_a_failure(message: str, root: bool, said: str) -> None:
    case = TestCase(name="tests/test_a.py::test_b", outcome="failed", message=message)
    text = advice.about([case], "test.all", root=root)
    assert text is not None
    assert said in text
    assert text.endswith('deselect = ["tests/test_a.py::test_b"] under [test.all]')


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("test_a.py::T::test_b (plugin=\"'x'\")", '"test_a.py::T::test_b"'),
        ("test_a.py::test_b [said] (i=1)", '"test_a.py::test_b"'),
        ("test_a.py::test_b[x y]", '"test_a.py::test_b[x y]"'),
        ('test_a.py::test_b["x"]', "'test_a.py::test_b[\"x\"]'"),
    ],
)
def test_advice_names_what_can_be_left_out(name: str, left_out: str) -> None:
    """pytest knows no subtest by a name of its own."""
    text = advice.about([TestCase(name=name, outcome="failed")], "test.all", root=False)
    assert text == f"To leave a test out: deselect = [{left_out}] under [test.all]"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (
            "helpers",
            '"helpers" is helpers.py in the tree, where pytest does not look, and the wheel lacks it',
        ),
        ("helpers", 'pythonpath = ["."] in pytest\'s configuration leads there'),
        ("more.parts", '"more.parts" is src/more/parts in the tree'),
        ("more.parts", 'pythonpath = ["src"]'),
        ("more.none", '"more" has no "more.none", neither in the wheel nor beside the tests'),
        ("yaml", '"yaml" is not in the tests\' environment'),
    ],
)
def test_advice_for_a_module_that_stands_in_the_tree(tmp_path: Path, missing: str, said: str) -> None:
    """What is the project's own is on no index."""
    project = _project(tmp_path, {"helpers.py": "", "src/more/parts/__init__.py": ""})
    message = f"E ModuleNotFoundError: No module named '{missing}'"
    case = TestCase(name="tests/test_a.py", outcome="failed", message=message)
    text = advice.about([case], "test.all", root=False, where=partial(layout.where, project))
    assert text is not None
    assert said in text
    assert ("requirements = " in text) == (missing == "yaml")


def test_no_advice_where_nothing_failed() -> None:
    assert advice.about([TestCase(name="a", outcome="passed")], "test.all", root=True) is None


# --- init ---


@pytest.mark.parametrize(
    ("files", "saw"),
    [
        ({"tests/unit/test_a.py": TEST}, "tests/, requirements: nothing says what the tests need"),
        ({"tests.py": CASE}, "tests.py, requirements: nothing says what the tests need"),
        (
            {"a/tests/test_a.py": "import yaml\n" + TEST, "uv.lock": UV},
            "a/tests/, requirements: nothing says what the tests need, and pyyaml, in the versions of uv.lock",
        ),
        (
            {"pytest.ini": "[pytest]\naddopts = --doctest-modules\n", "a.py": ""},
            "examples in the documentation (doctest), requirements: nothing says what the tests need",
        ),
    ],
)
def test_what_init_sees(tmp_path: Path, files: dict[str, str], saw: str) -> None:
    found = propose(_project(tmp_path, files))
    assert found is not None
    assert (found.saw, found.sections) == (saw, {"test.pytest": {}})


def test_tests_that_no_python_of_this_machine_fits_are_not_proposed(tmp_path: Path) -> None:
    project = '[project]\nrequires-python = ">=3.90"\n[build-system]\n'

    found = propose(_project(tmp_path, {"pyproject.toml": project, "tests/test_a.py": TEST}))

    assert found is not None
    assert (found.sections, found.enable) == ({}, False)
    assert "not added: the project needs Python >=3.90, and here is 3." in found.unsure[0]


def test_only_a_python_that_may_fit_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\nfor word; do :; done; echo "$word" >> {asked}; exit 2\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(uv.parent))
    project = '[project]\nrequires-python = "!=3.19.*,>=3.18.2,<3.21"\n[build-system]\n'

    found = propose(_project(tmp_path / "it", {"pyproject.toml": project, "tests/test_a.py": TEST}))

    assert found is not None
    assert "not added: the project needs Python" in found.unsure[0]
    assert asked.read_text().split() == ["3.20", "3.18"]


def test_another_python_of_this_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "python3.18"
    program.parent.mkdir()
    program.write_text(
        """#!/bin/sh\necho '["/opt/3.18/bin/python3.18", "3.18.2", [3, 18], "python3.18"]'\n"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    project = '[project]\nrequires-python = ">=3.18"\n[build-system]\n'

    found = propose(_project(tmp_path / "it", {"pyproject.toml": project, "tests/test_a.py": TEST}))

    assert found is not None
    assert found.sections == {"test.pytest": {"python": "3.18"}}


def test_no_python_is_looked_for_that_could_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs up to a second, and `penstock init` waits for it."""
    asked = tmp_path / "asked"
    for minor in range(8, 30):
        program = tmp_path / "bin" / f"python3.{minor}"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho {minor} >> {asked}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    assert fitting(">=3.17.2,<3.19") is None
    assert asked.read_text().split() == ["18", "17"]


def test_of_a_repository_that_is_no_package_each_project_with_tests_has_a_step(tmp_path: Path) -> None:
    files = {f"packages/{name}/pyproject.toml": "" for name in ("one", "two", "none")}
    files |= {f"packages/{name}/tests/test_a.py": TEST for name in ("one", "two")}
    files |= {"pyproject.toml": "[tool.uv.workspace]\n", "tests/test_all.py": TEST}

    found = propose(_project(tmp_path, files))

    assert found is not None
    assert found.saw == "tests of packages/one, packages/two"
    assert found.sections == {
        "test.pytest": {"paths": ["tests/"]},
        "test.one": {"directory": "packages/one"},
        "test.two": {"directory": "packages/two"},
    }


@pytest.mark.parametrize("of_root", ["[build-system]\nrequires = []\n", None])
def test_of_a_package_the_tests_are_one_step_whatever_lies_below(tmp_path: Path, of_root: str | None) -> None:
    root = {"pyproject.toml": of_root} if of_root else {"setup.py": ""}

    found = propose(_project(tmp_path, {**root, "toy/pyproject.toml": "", "toy/tests/test_a.py": TEST}))

    assert found is not None
    assert found.sections == {"test.pytest": {}}


def test_of_a_workspace_whose_root_is_a_package_the_members_have_steps_too(tmp_path: Path) -> None:
    workspace = '[build-system]\nrequires = []\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    files = {"packages/one/pyproject.toml": "", "packages/one/tests/test_a.py": TEST}
    files |= {"pyproject.toml": workspace, "tests/test_all.py": TEST}
    files |= {"tests/toy/pyproject.toml": "", "tests/toy/test_toy.py": TEST}

    found = propose(_project(tmp_path, files))

    assert found is not None
    assert found.sections == {
        "test.pytest": {"paths": ["tests/"]},
        "test.one": {"directory": "packages/one"},
    }


def test_an_application_in_a_directory_is_tested_there(tmp_path: Path) -> None:
    files = {"backend/requirements.txt": "flask\n", "backend/tests/requirements.txt": "", "frontend/x.js": ""}
    found = propose(_project(tmp_path, {**files, "backend/tests/test_a.py": TEST, "Dockerfile": ""}))
    assert found is not None
    assert found.sections == {"test.backend": {"directory": "backend"}}

    _project(tmp_path, {"requirements.txt": ""})  # the root is a project then
    found = propose(tmp_path)
    assert found is not None
    assert found.sections == {"test.pytest": {}}


def test_what_the_tests_of_a_workspace_need_stands_above_its_members(tmp_path: Path) -> None:
    groups = '[dependency-groups]\ndev = ["pytest-asyncio"]\n'
    _project(tmp_path, {"pyproject.toml": groups, "uv.lock": UV, "a/pyproject.toml": ""})

    member = Inventory(tmp_path / "a", "3.11.7", above=[tmp_path]).wanted(Choice())
    own = Inventory(tmp_path / "a", "3.11.7").wanted(Choice())

    assert (member.lines, member.lock.file) == (("pytest-asyncio",), "uv.lock")
    assert member.origin == 'dependency group "dev" of pyproject.toml, above a'
    assert (own.lines, own.lock.file) == ((), "")


def test_init_says_that_there_are_no_tests(tmp_path: Path) -> None:
    assert propose(tmp_path) is None  # nor anything else of Python's
    found = propose(_project(tmp_path, {"pyproject.toml": "", "tests/data.json": ""}))
    assert found is not None
    assert (found.saw, found.sections) == ("no tests", {})
    assert found.unsure == (
        'nothing will test what is built. Once there is a test: [test.pytest] with uses = "pytest"',
    )


# --- tests_require ---


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (
            {"setup.cfg": "[options]\ntests_require =\n    mock>=2\n    pytest  # of course\n"},
            ("mock>=2", "pytest"),
        ),
        ({"setup.py": "from setuptools import setup\nsetup(name='a', tests_require=['mock'])\n"}, ("mock",)),
        ({"setup.py": "NEEDS = ('mock', 'nose')\nsetup(tests_require=NEEDS)\n"}, ("mock", "nose")),
        ({"setup.py": "setup(tests_require=open('x').read().split())\n"}, ()),
        ({"setup.py": "this is no Python\n", "setup.cfg": "nor is this\n"}, ()),
        ({}, ()),
    ],
)
def test_what_setuptools_was_once_told(tmp_path: Path, files: dict[str, str], lines: tuple[str, ...]) -> None:
    assert _inventory(tmp_path, files).wanted(Choice()).lines == lines
