"""Real builds with real backends. They need the package index, or the installers' caches."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from penstock import Artifact, Revision, Step, StepFailed
from penstock.testing import StepMaker
from penstock_python import Python, penstock_build

pytestmark = pytest.mark.real

Build = Callable[..., tuple[list[Artifact], Step]]
CODE = {"src/toy/__init__.py": '"""A toy."""\n__version__ = "1.2.3"\n', "README.md": "# toy\n"}


def pyproject(requires: str, backend: str, project: str = 'version = "1.2.3"', more: str = "") -> str:
    return (
        f'[build-system]\nrequires = [{requires}]\nbuild-backend = "{backend}"\n'
        f'[project]\nname = "toy"\ndescription = "A toy"\nreadme = "README.md"\nrequires-python = ">=3.9"\n{project}\n{more}\n'
    )


def project(requires: str, backend: str, *rest: str, **files: str) -> dict[str, str]:
    return {**CODE, "pyproject.toml": pyproject(requires, backend, *rest), **files}


HATCHLING = project('"hatchling"', "hatchling.build")
FLIT = project('"flit_core>=3.9"', "flit_core.buildapi")
SETUPTOOLS = project('"setuptools"', "setuptools.build_meta")
SCM = project(
    '"setuptools", "setuptools-scm>=8"',
    "setuptools.build_meta",
    'dynamic = ["version"]',
    "[tool.setuptools_scm]",
)
EXTENSION = project(
    '"setuptools"',
    "setuptools.build_meta",
    'version = "1.2.3"',
    '[tool.setuptools]\next-modules = [{ name = "toy._c", sources = ["src/c.c"] }]',
    **{
        "src/c.c": "#include <Python.h>\n"
        'static struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "_c"};\n'
        "PyMODINIT_FUNC PyInit__c(void) { return PyModule_Create(&m); }\n"
    },
)


def names_in(step: Step, artifact: Artifact) -> list[str]:
    path = step.fetch(artifact)
    if artifact.kind == "wheel":
        return zipfile.ZipFile(path).namelist()
    with tarfile.open(path) as archive:
        return archive.getnames()


def failure(build: Build, *args: object, **keywords: object) -> str:
    with pytest.raises(StepFailed) as caught:
        build(*args, **keywords)
    return str(caught.value)


def test_both_formats_leave_nothing_in_the_tree(build: Build, make_step: StepMaker) -> None:
    # A module of this name must not be taken for the frontend.
    artifacts, step = build({**HATCHLING, "build.py": "raise SystemExit(9)"})
    assert [(artifact.name, artifact.kind) for artifact in artifacts] == [
        ("toy-1.2.3-py3-none-any.whl", "wheel"),
        ("toy-1.2.3.tar.gz", "sdist"),
    ]
    # git ignores everything in the directory above, and hatchling heeds that.
    assert "toy/__init__.py" in names_in(step, artifacts[0])
    assert "toy-1.2.3/build.py" in names_in(step, artifacts[1])
    assert sorted(path.name for path in step.workspace.iterdir()) == [
        ".git",
        "README.md",
        "build.py",
        "pyproject.toml",
        "src",
    ]
    assert "* Building wheel from sdist" in make_step.log_of(step)


@pytest.mark.parametrize(
    ("files", "installer"),
    [
        pytest.param(HATCHLING, "uv", id="hatchling"),
        pytest.param(FLIT, "uv", id="flit"),
        pytest.param(SETUPTOOLS, "uv", id="setuptools"),
    ],
)
def test_wheels_are_the_same_bytes_each_time(build: Build, files: Mapping[str, str], installer: str) -> None:
    settings = {"formats": ["wheel"], "installer": installer}
    (first,), _ = build(files, settings)
    (second,), _ = build(files, settings)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("requires", "backend"),
    [
        pytest.param('"poetry-core>=2"', "poetry.core.masonry.api", id="poetry"),
        pytest.param('"pdm-backend"', "pdm.backend", id="pdm"),
    ],
)
def test_other_backends(build: Build, requires: str, backend: str) -> None:
    artifacts, step = build(project(requires, backend))
    assert [artifact.name for artifact in artifacts] == ["toy-1.2.3-py3-none-any.whl", "toy-1.2.3.tar.gz"]
    assert "toy/__init__.py" in names_in(step, artifacts[0])


def test_pip_and_another_directory(build: Build) -> None:
    files = {f"packages/toy/{path}": text for path, text in FLIT.items()}
    (wheel,), _ = build(files, {"directory": "packages/toy", "installer": "pip", "formats": ["wheel"]})
    assert wheel.name == "toy-1.2.3-py3-none-any.whl"


def test_c_extension(build: Build) -> None:
    (wheel,), step = build(EXTENSION, {"formats": ["wheel"]})
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.name.startswith(f"toy-1.2.3-{tag}-{tag}-")
    assert any(name.startswith("toy/_c.") for name in names_in(step, wheel))


def test_setuptools_scm_knows_version_and_files(build: Build, make_step: StepMaker) -> None:
    behind = Revision(commit="4f2c1e9" + "0" * 33, time=1_700_000_000, tag="v1.2.3", distance=2)
    (wheel,), step = build({**SCM, "src/toy/data.json": "{}"}, {"formats": ["wheel"]}, behind)
    assert wheel.name == "toy-1.2.4.dev2+g4f2c1e9-py3-none-any.whl"
    assert "toy/data.json" in names_in(step, wheel)
    assert (
        "Version 1.2.4.dev2+g4f2c1e9, of tag v1.2.3, 2 commits behind it, handed over as "
        "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_TOY\n"
    ) in make_step.log_of(step)


def test_only_a_version_from_git_makes_a_build_one_of_its_revision(build: Build) -> None:
    """Otherwise each commit would build anew what the cache has."""
    assert not build(HATCHLING, {"formats": ["wheel"]})[1].asked_for_revision
    assert build(SCM, {"formats": ["wheel"]})[1].asked_for_revision


def test_a_version_of_the_users_own_wins(build: Build, make_step: StepMaker) -> None:
    files = project(
        '"hatchling", "hatch-vcs"',
        "hatchling.build",
        'dynamic = ["version"]',
        '[tool.hatch.version]\nsource = "vcs"',
    )
    (wheel,), step = build(files, {"formats": ["wheel"]}, env={"SETUPTOOLS_SCM_PRETEND_VERSION": "9.9"})
    assert wheel.name == "toy-9.9-py3-none-any.whl"
    log = make_step.log_of(step)
    assert (
        "The version is yours: the environment sets SETUPTOOLS_SCM_PRETEND_VERSION, or one like it\n" in log
    )
    assert "Note: the tag v1.2.3 says 1.2.3, the wheel is 9.9\n" in log


def test_pdm_takes_the_version_of_the_tag(build: Build) -> None:
    files = project(
        '"pdm-backend"', "pdm.backend", 'dynamic = ["version"]', '[tool.pdm.version]\nsource = "scm"'
    )
    (wheel,), _ = build(files, {"formats": ["wheel"]})
    assert wheel.name == "toy-1.2.3-py3-none-any.whl"


def test_pbr_knows_version_and_files(build: Build) -> None:
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["pbr>=6.1", "setuptools"]\nbuild-backend = "pbr.build"\n',
        "setup.py": "import setuptools\nsetuptools.setup(pbr=True)\n",
        "setup.cfg": "[metadata]\nname = toy\n[files]\npackages = toy\n",
        "toy/__init__.py": "",
        "toy/data.txt": "",
    }
    (wheel,), step = build(files, {"formats": ["wheel"]})
    assert wheel.name == "toy-1.2.3-py3-none-any.whl"
    assert "toy/data.txt" in names_in(step, wheel)


def test_a_tool_that_asks_git_alone_finds_the_tag(build: Build) -> None:
    files = project(
        '"hatchling", "versioningit"',
        "hatchling.build",
        'dynamic = ["version"]',
        '[tool.hatch.version]\nsource = "versioningit"',
    )
    (wheel,), _ = build(files, {"formats": ["wheel"]})
    assert wheel.name == "toy-1.2.3-py3-none-any.whl"


def test_another_interpreter(build: Build, make_step: StepMaker, tmp_path: Path) -> None:
    # A copy of this very interpreter stands for another one, which not every machine has.
    step = make_step()
    step.run([sys.executable, "-m", "venv", "--copies", "--without-pip", tmp_path / "other"])
    (wheel,), step = build(FLIT, {"python": str(tmp_path / "other/bin/python"), "formats": ["wheel"]})
    assert wheel.name == "toy-1.2.3-py3-none-any.whl"
    assert "tmp/frontend/bin/python -I -m build" in make_step.log_of(step)


@pytest.mark.parametrize(
    ("files", "settings", "env", "said"),
    [
        pytest.param(
            {**SETUPTOOLS, "pyproject.toml": pyproject('"penstock-no-such-package"', "x")},
            {"installer": "uv"},
            {},
            "making the build environment failed. build-system.requires can't be met: penstock-no-such-package "
            "can't be installed. Check names and versions there, and that the index can be reached; an index of your own",
            id="unknown-requirement",
        ),
        pytest.param(
            HATCHLING,
            {"installer": "uv"},
            {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0"},
            "the package index can't be reached. Check the network and the proxy;",
            id="no-network-uv",
        ),
        pytest.param(
            HATCHLING,
            {"installer": "pip"},
            {
                "PIP_CONFIG_FILE": "/dev/null",
                "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
                "PIP_FIND_LINKS": "",
                "PIP_NO_CACHE_DIR": "1",
                "PIP_RETRIES": "1",
            },
            "the package index can't be reached. Check the network and the proxy;",
            id="no-network-pip",
        ),
        pytest.param(
            {**HATCHLING, "pyproject.toml": pyproject('"flit_core"', "hatchling.build")},
            {},
            {},
            'asking the build backend what it needs for the sdist failed. The build backend "hatchling.build" is not '
            "in the build environment.",
            id="no-backend",
        ),
        pytest.param(
            {k: v for k, v in HATCHLING.items() if k != "README.md"},
            {},
            {},
            "building the sdist failed. The last that it said: OSError: Readme file does not exist: README.md. "
            "Everything that it printed: penstock logs 1 build.package",
            id="no-readme",
        ),
        pytest.param(
            EXTENSION,
            {"formats": ["wheel"]},
            {"CC": "penstock-no-such-cc"},
            'The project has code to compile, and "penstock-no-such-cc" is not there. Install a compiler',
            id="no-compiler",
        ),
        pytest.param(
            {
                "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n',
                "setup.py": "from setuptools import setup\nsetup(name='toy', version=open('VERSION.txt').read())\n",
                "VERSION.txt": "1.2.3",
            },
            {},
            {},
            "asking the build backend what it needs for the wheel from the sdist failed. The sdist lacks VERSION.txt, "
            "which the project has and the build asks for.",
            id="sdist-lacks-a-file",
        ),
    ],
)
def test_broken(
    build: Build, files: Mapping[str, str], settings: Mapping[str, object], env: Mapping[str, str], said: str
) -> None:
    message = failure(build, files, settings, env=env)
    assert said in message
    assert "Traceback" not in message


def test_the_example_builds(make_step: StepMaker) -> None:
    shop = Path(__file__).parents[3] / "examples/shop"
    paths = [path for path in shop.rglob("*.*") if path.suffix in (".py", ".toml", ".md", ".typed")]
    files = {str(path.relative_to(shop)): path.read_text() for path in paths}
    step = make_step("build.wheel", files=files)
    (wheel,) = penstock_build(Python(formats=("wheel",)), step)
    assert wheel.name == "shop-1.0.0-py3-none-any.whl"
    assert "shop/__main__.py" in names_in(step, wheel)
