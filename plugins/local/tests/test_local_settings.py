from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import ConfigError
from penstock_local import layout
from penstock_local.settings import Local, argv_of
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"run": "x {port}"}, "{port} is used, but there is no port"),
        ({"run": ["x"], "health": "/ok"}, 'health = "/ok" is a path, which needs a port'),
        ({"port": 80}, "are for a service, but nothing is run"),
        ({"instances": 2}, "are for a service, but nothing is run"),
        ({"run": "x", "port": 65535, "instances": 2}, "end beyond port 65535"),
        ({"run": "x", "health": "ok"}, "should match pattern"),
        ({"run": []}, "at least 1 item"),
        ({"run": "x", "restart": True}, "valid integer"),
        ({"run": "x", "prot": 80}, "Extra inputs"),
        ({"directory": ""}, "at least 1 character"),
    ],
    ids=["port", "path", "no-run", "instances", "range", "health", "empty", "restart", "typo", "directory"],
)
def test_settings_that_make_no_sense_are_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Local.model_validate({"directory": "x", **more})


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (("python", "-m", "shop", "--port", "{port}"), ["python", "-m", "shop", "--port", "80"]),
        (("{python}", "{release}/a", '{"x": "{port}"}'), ["/py", "/a b/a", '{"x": "80"}']),
        ("{release}/go ${port} {port}", ["sh", "-eu", "-c", "'/a b'/go ${port} 80"]),
    ],
    ids=["argv", "inside", "script"],
)
def test_placeholders_are_filled_in(run: str | tuple[str, ...], expected: list[str]) -> None:
    assert argv_of(run, port=80, release="/a b", python="/py") == expected


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_script_sees_every_path_as_one_word(path: str) -> None:
    script = argv_of("{release}", port=None, release=path, python="/py")[3]
    assert shlex.split(script) == [path]


def test_each_instance_has_its_port_and_addresses() -> None:
    settings = Local(directory="x", run="x", port=8000, health="https://x.example:{port}/up", instances=2)
    assert settings.url_of(2) == "http://127.0.0.1:8001"
    assert settings.health_of(2) == "https://x.example:8001/up"
    assert Local(directory="x", run="x", port=8000, health="/up").health_of(1) == "http://127.0.0.1:8000/up"


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("/", "releases need a directory of their own"),
        (".", "is the project itself or holds it"),
        ("..", "is the project itself or holds it"),
        ("sub/..", "is the project itself or holds it"),
        ("link", "is the project itself or holds it"),
        (".penstock/live", "lies in .penstock"),
        ("$NO_SUCH_VARIABLE/x", "the variable or user is not known here"),
        ("~nobody-of-that-name/x", "the variable or user is not known here"),
    ],
)
def test_some_directories_are_not_deployed_to(tmp_path: Path, directory: str, message: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "link").symlink_to(project)
    with pytest.raises(ConfigError, match=message):
        layout.resolve(directory, project)


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("../live", "live"),
        ("live", "project/live"),
        ("~/live", "home/live"),
        ("$PLACE/live", "place/live"),
        ("${PLACE}", "place"),
    ],
)
def test_directories_are_relative_to_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLACE", str(tmp_path / "place"))
    project = tmp_path / "project"
    project.mkdir()
    assert layout.resolve(directory, project) == (tmp_path / expected).resolve()
