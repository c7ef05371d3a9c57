from __future__ import annotations

import pytest
from penstock import Settings
from penstock.plugins import CORE_KEYS
from penstock_shell.settings import Build, Scan, Test, Verify
from pydantic import ValidationError

MODELS = [Build, Test, Scan, Verify]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({}, "Field required", id="no command"),
        pytest.param({"run": " \n"}, "there is nothing to run", id="blank script"),
        pytest.param({"run": []}, "there is nothing to run", id="empty list"),
        pytest.param({"run": [" ", "x"]}, "there is nothing to run", id="blank program"),
        pytest.param({"run": "a\0b"}, "NUL", id="NUL"),
        pytest.param({"run": ["a", "b\0"]}, "NUL", id="NUL in a word"),
        pytest.param({"run": "x", "cwd": ".."}, "leaves the workspace", id="cwd above"),
        pytest.param({"run": "x", "cwd": "a/../../b"}, "leaves the workspace", id="cwd above later"),
        pytest.param({"run": "x", "cwd": "/tmp"}, "leaves the workspace", id="cwd absolute"),
        pytest.param({"run": "x", "cwd": ""}, "empty", id="cwd empty"),
        pytest.param({"run": "x", "reports": ["/tmp/*.xml"]}, "leaves the workspace", id="glob absolute"),
        pytest.param({"run": "x", "reports": ["../*.xml"]}, "leaves the workspace", id="glob above"),
        pytest.param({"run": "x", "reports": [""]}, "empty", id="glob empty"),
        pytest.param({"run": "x", "reports": ["."]}, "is a directory", id="glob dot"),
        pytest.param({"run": "x", "reports": ["a/**.xml"]}, "must stand alone", id="stars with a name"),
        pytest.param({"run": "x", "reports": ["x**/a.xml"]}, "must stand alone", id="name with stars"),
        pytest.param({"run": "x", "report": ["a.xml"]}, "Extra inputs", id="unknown key"),
    ],
)
def test_bad_settings_are_refused_with_what_is_wrong(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Test.model_validate(values)


@pytest.mark.parametrize("glob", ["**/*.xml", "reports/**/*.xml", "a.xml", "**"])
def test_good_globs_are_accepted(glob: str) -> None:
    assert Test(run="x", reports=(glob,)).reports == (glob,)


def test_scan_needs_reports() -> None:
    with pytest.raises(ValidationError, match="reports"):
        Scan.model_validate({"run": "x"})
    with pytest.raises(ValidationError, match="at least 1"):
        Scan.model_validate({"run": "x", "reports": []})


def test_build_has_no_reports() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Build.model_validate({"run": "x", "reports": ["a.xml"]})


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_described_and_free(model: type[Settings]) -> None:
    assert not CORE_KEYS & model.model_fields.keys()
    assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("block", ["none", "low", "critical"])
def test_settings_survive_json(block: str) -> None:
    scan = Scan.model_validate({"run": ["a", "b"], "reports": ["x"], "block": block})
    assert Scan.model_validate(scan.model_dump(mode="json")) == scan
