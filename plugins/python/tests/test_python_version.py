from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from penstock import Revision
from penstock_python import version

COMMIT = "4f2c1e9" + "0" * 33


@pytest.mark.parametrize(
    ("tag", "distance", "dirty", "expected"),
    [
        pytest.param("v1.2.3", 0, False, "1.2.3", id="on-the-tag"),
        pytest.param("1.2.3", 0, False, "1.2.3", id="no-v"),
        pytest.param("V1.2.3", 0, False, "1.2.3", id="capital-v"),
        pytest.param("shop-1.2.3", 0, False, "1.2.3", id="with-name"),
        pytest.param("shop-2-v1.2.3", 0, False, "1.2.3", id="digit-in-name"),
        pytest.param("release/v1.2", 0, False, "1.2", id="with-path"),
        pytest.param("shop@1.2.3", 0, False, "1.2.3", id="monorepo"),
        pytest.param("v1.2.3-rc1", 0, False, "1.2.3rc1", id="normalised"),
        pytest.param("v1.2.3+cpu", 0, False, "1.2.3+cpu", id="local"),
        pytest.param("v1.2.3", 4, False, "1.2.4.dev4+g4f2c1e9", id="behind"),
        pytest.param("v1.2.3", 4, True, "1.2.4.dev4+g4f2c1e9.dirty", id="behind-and-dirty"),
        pytest.param("v1.2.3", 0, True, "1.2.4.dev0+g4f2c1e9.dirty", id="dirty-on-the-tag"),
        pytest.param("v1.9", 1, False, "1.10.dev1+g4f2c1e9", id="carries"),
        pytest.param("v1.2.3rc1", 2, False, "1.2.3rc2.dev2+g4f2c1e9", id="behind-a-candidate"),
        pytest.param("v1.2.3.post1", 2, False, "1.2.3.post2.dev2+g4f2c1e9", id="behind-a-post-release"),
        pytest.param("v1.2.dev3", 2, False, "1.2.dev5+g4f2c1e9", id="behind-a-dev-release"),
        pytest.param("v1.2.3+cpu", 2, False, "1.2.4.dev2+g4f2c1e9", id="behind-a-local"),
        pytest.param("1!2.0", 1, False, "1!2.1.dev1+g4f2c1e9", id="epoch"),
        pytest.param("nightly", 0, False, None, id="no-version"),
        pytest.param("", 0, False, None, id="empty"),
        pytest.param(None, 7, False, "0.1.dev7+g4f2c1e9", id="no-tag"),
        pytest.param(None, 0, True, "0.1.dev0+g4f2c1e9.dirty", id="no-tag-dirty"),
    ],
)
def test_of_revision(tag: str | None, distance: int, dirty: bool, expected: str | None) -> None:
    assert version.of_revision(Revision(commit=COMMIT, tag=tag, distance=distance, dirty=dirty)) == expected


def test_of_revision_outside_source_control() -> None:
    assert version.of_revision(Revision()) == "0.1.dev0"


numbers = st.integers(0, 10**6)
versions = st.builds(
    lambda release, pre, post, dev: ".".join(map(str, release)) + pre + post + dev,
    st.lists(numbers, min_size=1, max_size=4),
    st.sampled_from(["", "a1", "b0", "rc12"]),
    st.sampled_from(["", ".post3"]),
    st.sampled_from(["", ".dev0", ".dev9"]),
)


@given(versions, st.integers(1, 10**4))
def test_a_version_behind_a_tag_is_valid_and_newer_than_the_tag(tag: str, distance: int) -> None:
    found = version.of_revision(Revision(commit=COMMIT, tag=f"v{tag}", distance=distance))
    assert found is not None
    assert Version(found) > Version(tag)
    later = version.of_revision(Revision(commit=COMMIT, tag=f"v{tag}", distance=distance + 1))
    assert later is not None
    assert Version(later) > Version(found)


@given(st.text(max_size=30))
def test_no_tag_breaks_it(tag: str) -> None:
    found = version.of_revision(Revision(commit=COMMIT, tag=tag))
    assert found is None or str(Version(found)) == found


@pytest.mark.parametrize(
    ("tools", "name", "expected"),
    [
        pytest.param({"hatchling"}, "toy", {}, id="none"),
        pytest.param(
            {"setuptools", "setuptools-scm"},
            "My.Toy_x",
            {"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_MY_TOY_X": "1.0"},
            id="setuptools-scm",
        ),
        pytest.param({"setuptools-scm"}, None, {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.0"}, id="no-name"),
        pytest.param({"hatch-vcs"}, "toy", {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.0"}, id="hatch-vcs"),
        pytest.param(
            {"hatch-vcs", "setuptools-scm"}, "toy", {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.0"}, id="both"
        ),
        pytest.param({"flit-scm"}, "toy", {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.0"}, id="flit-scm"),
        pytest.param({"pdm-backend"}, "toy", {"PDM_BUILD_SCM_VERSION": "1.0"}, id="pdm"),
        pytest.param({"pbr"}, "toy", {"PBR_VERSION": "1.0"}, id="pbr"),
        pytest.param(
            {"poetry-core", "poetry-dynamic-versioning"},
            "toy",
            {"POETRY_DYNAMIC_VERSIONING_BYPASS": "1.0"},
            id="poetry",
        ),
        pytest.param(
            {"uv-dynamic-versioning"}, "toy", {"UV_DYNAMIC_VERSIONING_BYPASS": "1.0"}, id="uv-dynamic"
        ),
    ],
)
def test_variables(tools: set[str], name: str | None, expected: dict[str, str]) -> None:
    assert version.variables(tools, name, "1.0") == expected
    assert all(variable.startswith(version.PREFIXES) for variable in expected)


def test_a_variable_of_the_users_own_stops_its_sibling_too() -> None:
    handed = {"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_TOY": "1", "PBR_VERSION": "1"}
    assert version.unclaimed(handed, {"SETUPTOOLS_SCM_PRETEND_VERSION"}) == {"PBR_VERSION": "1"}
    assert version.unclaimed(handed, set()) == handed
