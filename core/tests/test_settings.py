"""What a plugin's settings model may do wrong, and that it is told as the plugin's fault, with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from penstock.cli import invoke
from penstock.cli.schema import make_schema
from penstock.config import Project, load
from penstock.errors import ConfigError, PluginError
from penstock.plugins import Plugins

HEAD = """
import os, sys
from typing import Any
from penstock import Settings, TestReport, hookimpl
from pydantic import Field, SecretStr, computed_field, field_serializer, field_validator, model_serializer

class Inner(Settings):
    a: int = 1

class Own(Settings):
"""
END = """

@hookimpl
def penstock_source(step): ...

@hookimpl
def penstock_test(settings: Own, step) -> TestReport: ...

@hookimpl
def penstock_service(settings: Own, step): ...

@hookimpl
def penstock_event(settings: Own, event): ...
"""
CHECK = '    x: int = 1\n    @field_validator("x")\n    def check(cls, value): '
FAILED = 'the plugin "ours" failed when it checked these settings: '
NO_JSON = "can't be part of a plan, which is JSON: "

WRONG = {
    "raises": (CHECK + 'raise TypeError("odd")', "x = 1", f"5: [test.a] {FAILED}TypeError: odd"),
    "ends the process": (CHECK + "sys.exit(3)", "x = 1", f"5: [test.a] {FAILED}SystemExit: 3"),
    "interrupts": (CHECK + "raise KeyboardInterrupt", "x = 1", f"5: [test.a] {FAILED}KeyboardInterrupt"),
    "recurses": (
        CHECK + "return cls.check(value)",
        "x = 1",
        f"5: [test.a] {FAILED}RecursionError: maximum recursion depth exceeded while calling a Python object",
    ),
    "asserts": (CHECK + 'assert value == 2, "must be two"', "x = 1", "7: [test.a] x: must be two"),
    "refuses without a word": (
        CHECK + "raise ValueError",
        "x = 1",
        "7: [test.a] x: is refused by the plugin, which does not say why",
    ),
    "refuses in several lines": (
        CHECK + 'raise ValueError("one\\ntwo")',
        "x = 1",
        "7: [test.a] x: one\\ntwo",
    ),
    "refuses at length": (
        '    x: str = ""\n    @field_validator("x")\n    def check(cls, value): raise ValueError(value + "!")',
        f'x = "{"y" * 100_000}"',
        f"7: [test.a] x: {'y' * 588} … {'y' * 599}!",
    ),
    "a default that fails": (
        "    x: int = Field(default_factory=lambda: 1 / 0)",
        "",
        f"5: [test.a] {FAILED}ZeroDivisionError: division by zero",
    ),
    "a default that is an object": (
        "    x: Any = object()",
        "",
        f"5: [test.a] {FAILED}PydanticSerializationError: Unable to serialize unknown type: <class 'object'>",
    ),
    "no table in the end": (
        "    x: int = 1\n    @model_serializer\n    def change(self): return [1]",
        "",
        f"5: [test.a] {FAILED}TypeError: its settings become list, and not a table",
    ),
    "no number": (
        "    x: float = 1",
        "x = nan",
        f"7: [test.a] x: {NO_JSON}ValueError: Out of range float values",
    ),
    "a number without end": (
        "    x: list[float]",
        "x = [-inf]",
        f"7: [test.a] x: {NO_JSON}ValueError: Out of",
    ),
    "half a character": ('    x: str = "\\udcff"', "", f"5: [test.a] x: {NO_JSON}UnicodeEncodeError: "),
    "a number of thousands of digits": ("    x: int = 10**5000", "", f"5: [test.a] x: {NO_JSON}ValueError: "),
}


def configured(root: Path, settings: str, keys: str = "", more: str = "") -> Path:
    (root / "ours.py").write_text(HEAD + settings + END)
    path = root / "penstock.toml"
    path.write_text(
        '[penstock]\nplugins = ["./ours.py"]\n[source.s]\nuses = "ours"\n'
        f'[test.a]\nuses = "ours"\n{keys}\n{more}'
    )
    return path


def read(path: Path) -> Project:
    return load(path)[0]


@pytest.mark.parametrize(("settings", "keys", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_goes_wrong_is_told_in_a_line_with_its_place(
    settings: str, keys: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(configured(tmp_path, settings, keys))

    assert str(caught.value).startswith(f"penstock.toml:{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", ["[service.s]", "[observe.s]"])
def test_services_and_observers_are_no_other(section: str, tmp_path: Path) -> None:
    settings = CHECK + 'return value or {}["x"]'
    with pytest.raises(ConfigError) as caught:
        read(configured(tmp_path, settings, "x = 1", f'{section}\nuses = "ours"\nx = 0\n'))

    assert str(caught.value) == (f"penstock.toml:8: {section} {FAILED}KeyError: 'x'")


def test_what_a_validator_prints_is_not_among_results(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, CHECK + 'os.write(1, b"checked\\n"); return value', "x = 1")

    assert invoke(["-C", str(path.parent), "plan", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["steps"]
    assert err == "checked\n"


def test_a_step_is_given_what_its_model_takes(tmp_path: Path) -> None:
    """Under the names that stand in the file, and nothing that the model computes itself."""
    settings = (
        '    x: int = Field(default=1, alias="how-many")\n'
        "    @computed_field\n    @property\n    def twice(self) -> int: return 2 * self.x"
    )
    project, plugins = load(configured(tmp_path, settings, "how-many = 3"))
    [_, section] = project.sections

    assert section.settings == {"how-many": 3}
    assert plugins.settings("ours", "penstock_test", section.settings).model_dump() == {"x": 3, "twice": 6}


@pytest.mark.parametrize("kind", ["SecretStr", "SecretStr | None"])
def test_a_secret_has_no_place_among_settings(kind: str, tmp_path: Path) -> None:
    """Plans would hold its stars, and the step would take those for the secret."""
    path = configured(tmp_path, f"    token: {kind}", 'token = "hunter2"')

    with pytest.raises(ConfigError, match="have a secret in `token`, and settings stand in plans") as caught:
        read(path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", ["    x: Any = object", "    x: float = float('nan')", "    x: 'Nowhere'"]
)
def test_a_model_that_no_schema_describes_is_named(settings: str, tmp_path: Path) -> None:
    path = configured(tmp_path, settings.replace("Any = object", "type(sys) = sys"))
    plugins = Plugins.load(["./ours.py"], root=path.parent)

    with pytest.raises(PluginError) as caught:
        make_schema(plugins)
    assert str(caught.value).startswith('the settings of the plugin "ours" for test can\'t be described: ')


def test_models_of_one_name_in_two_plugins_do_not_meet(tmp_path: Path) -> None:
    """Each key is described by its own plugin's model, however others call theirs."""
    kinds = {"one": "int", "two": "str"}
    for name, kind in kinds.items():
        head = HEAD.replace("a: int = 1", f"a: {kind}")
        (tmp_path / f"{name}.py").write_text(head + "    x: Inner" + END)
    schema = make_schema(Plugins.load(["./one.py", "./two.py"], root=tmp_path))

    found = {}
    for choice in schema["properties"]["test"]["additionalProperties"]["oneOf"]:
        name = choice["properties"]["uses"]["const"]
        inner = choice["properties"]["x"]["$ref"].removeprefix("#/$defs/")
        found[name] = schema["$defs"][inner]["properties"]["a"]["type"]
    assert found == {"one": "integer", "two": "string"}


def test_a_default_that_fails_does_not_hide_the_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, "    x: int = Field(default_factory=lambda: 1 / 0)\n    y: int = 3")

    assert invoke(["-C", str(path.parent), "plugins", "info", "ours"]) == 0
    shown = capsys.readouterr().out
    assert "x  (default that fails: ZeroDivisionError: division by zero)" in shown
    assert "y  (default 3)" in shown
