from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_python import explain

INSTALL = "* Installing packages in isolated environment:\n  - hatchling\n"
WHEEL = "* Building sdist...\n* Building wheel from sdist\n* Building wheel...\n"
TRACE = 'Traceback (most recent call last):\n  File "setup.py", line 3, in <module>\n    x = y\n        ^\n'


@pytest.mark.parametrize(
    ("output", "installer", "start"),
    [
        pytest.param(
            INSTALL + "< error: Request failed after 3 retries\n<   cause: dns error\n",
            "uv",
            "making the build environment failed. The packages that build-system.requires names can't be fetched: "
            "the package index can't be reached. Check the network and the proxy; an index of your own goes into "
            "UV_DEFAULT_INDEX or uv's configuration (uv doesn't read pip's), or use installer = \"pip\". The last "
            "that it said: error: Request failed after 3 retries; cause: dns error",
            id="offline-uv",
        ),
        pytest.param(
            INSTALL + "< WARNING: Retrying after connection broken by 'NewConnectionError(…)'\n< ERROR: No\n",
            "pip",
            "making the build environment failed. The packages that build-system.requires names can't be fetched: "
            "the package index can't be reached. Check the network and the proxy; an index of your own goes into "
            "PIP_INDEX_URL or pip's configuration. The last that it said: ERROR: No",
            id="offline-pip",
        ),
        pytest.param(
            INSTALL + "< ERROR: No matching distribution found for hatchlink\n",
            "pip",
            "making the build environment failed. build-system.requires can't be met: hatchlink can't be installed.",
            id="unknown-pip",
        ),
        pytest.param(
            INSTALL + "<   Because hatchlink was not found in the package registry and you\n",
            "uv",
            "making the build environment failed. build-system.requires can't be met: hatchlink can't be installed.",
            id="unknown-uv",
        ),
        pytest.param(
            INSTALL + "<   Because only hatchling<=1.9 is available and you require hatchling>=9\n",
            "uv",
            "making the build environment failed. build-system.requires can't be met: hatchling can't be installed.",
            id="too-new-uv",
        ),
        pytest.param(
            WHEEL + "error: command 'gcc' failed: No such file or directory\n",
            "uv",
            'building the wheel from the sdist failed. The project has code to compile, and "gcc" is not there.',
            id="no-gcc-older-setuptools",
        ),
        pytest.param(
            WHEEL + "nosuchcc -c x.c -o x.o\nerror: [Errno 2] No such file or directory: 'nosuchcc'\n",
            "uv",
            'building the wheel from the sdist failed. The project has code to compile, and "nosuchcc" is not there.',
            id="no-gcc-newer-setuptools",
        ),
        pytest.param(
            "* Building wheel...\nerror: [Errno 2] No such file or directory: 'README.md'\n",
            "uv",
            "building the wheel failed. The last that it said: error: [Errno 2] No such file or directory: 'README.md'",
            id="no-readme-is-no-compiler",
        ),
        pytest.param(
            WHEEL + "/bin/sh: 1: gcc: not found\n",
            "uv",
            'building the wheel from the sdist failed. The project has code to compile, and "gcc" is not there.',
            id="no-gcc-shell",
        ),
        pytest.param(
            "* Building wheel...\nmeson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc']]\n",
            "uv",
            "building the wheel failed. The project has code to compile, and there is no compiler.",
            id="no-compiler-meson",
        ),
        pytest.param(
            "* Building wheel...\nx.c:1:10: fatal error: Python.h: No such file or directory\n",
            "uv",
            "building the wheel failed. The C header Python.h is not there. Install the package that brings it "
            "(Debian: apt-get install python3-dev). ",
            id="no-header",
        ),
        pytest.param(
            "* Building wheel...\nerror: can't find Rust compiler\n",
            "uv",
            "building the wheel failed. The project has Rust code, and there is no Rust.",
            id="no-rust",
        ),
        pytest.param(
            "* Getting build dependencies for sdist...\n"
            + TRACE
            + "BackendUnavailable: Cannot import 'flit_core.buildapi'\n",
            "uv",
            "asking the build backend what it needs for the sdist failed. The build backend "
            '"flit_core.buildapi" is not in the build environment.',
            id="no-backend",
        ),
        pytest.param(
            "* Building wheel...\n" + TRACE + "ModuleNotFoundError: No module named 'numpy'\n",
            "uv",
            'building the wheel failed. The build imports "numpy", which is not in its environment. That is isolated:',
            id="no-module",
        ),
        pytest.param("", "uv", "the build failed. The last that it said: nothing", id="silent"),
    ],
)
def test_failure(output: str, installer: explain.Installer, start: str) -> None:
    assert explain.failure(output, installer).startswith(start)


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        pytest.param(
            "FileNotFoundError: [Errno 2] No such file: '/tmp/x/VERSION.txt'", "VERSION.txt", id="file"
        ),
        pytest.param("OSError: Readme file does not exist: docs/README.md", "docs/README.md", id="readme"),
        pytest.param("ModuleNotFoundError: No module named 'version_info'", "version_info.py", id="module"),
        pytest.param("ModuleNotFoundError: No module named '_tools'", "_tools/__init__.py", id="package"),
    ],
)
def test_failure_names_what_the_sdist_lacks(said: str, lost: str) -> None:
    message = explain.failure(WHEEL + TRACE + said, "uv", [".github/ci.yml", "tests/test_x.py", lost])
    assert f"failed. The sdist lacks {lost}, which the project has and the build asks for." in message
    assert "lacks" not in explain.failure("* Building wheel...\n" + said, "uv", [lost])


def test_failure_without_what_says_nothing() -> None:
    output = (
        "* Building wheel...\n" + TRACE + "ValueError: bad\n\nTIP pass --env-dir\n"
        "ERROR Backend subprocess exited when trying to invoke build_wheel\n"
    )
    assert (
        explain.failure(output, "uv") == "building the wheel failed. The last that it said: ValueError: bad"
    )


@given(st.text(), st.sampled_from(["uv", "pip"]))
def test_any_output_gives_a_message(output: str, installer: explain.Installer) -> None:
    message = explain.failure(f"* Building wheel from sdist\n{output}", installer, ["a.txt", "b/c.py"])
    assert " failed. " in message
    assert "\n" not in message
