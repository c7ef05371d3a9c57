from __future__ import annotations

import json
from pathlib import Path

import pytest
from penstock import plan
from penstock.config import load
from penstock.errors import ConfigError
from penstock.request import hidden_variables

PLUGINS = {
    "tell": """
from penstock import Event, Settings, TestReport, hookimpl

class Tell(Settings):
    url: str
    often: int = 1

class Nothing(Settings):
    pass

@hookimpl
def penstock_event(settings: Tell, event: Event) -> None: ...

@hookimpl
def penstock_source(settings: Nothing): ...

@hookimpl
def penstock_test(settings: Nothing) -> TestReport: ...
""",
    "look": """
from penstock import Event, hookimpl

@hookimpl
def penstock_event(event: Event) -> None: ...
""",
    "greedy": """
from penstock import Event, Settings, hookimpl

class Greedy(Settings):
    timeout: int = 1

@hookimpl
def penstock_event(settings: Greedy, event: Event) -> None: ...
""",
}
HEAD = '[penstock]\nplugins = ["./tell.py", "./look.py"]\n[test.it]\nuses = "tell"\n'


def configured(tmp_path: Path, text: str) -> Path:
    for name, source in PLUGINS.items():
        (tmp_path / f"{name}.py").write_text(source)
    path = tmp_path / "penstock.toml"
    path.write_text(HEAD + text)
    return path


def test_a_section_names_a_plugin_and_its_settings(tmp_path: Path) -> None:
    text = '[observe.a]\nuses = "tell"\nurl = "env:A"\n[observe.b]\nuses = "tell"\nurl = "x"\noften = 3\n'

    project, plugins = load(configured(tmp_path, text), {})

    made = plan.make(project, plugins.versions)
    assert [(each.name, each.plugin, each.settings) for each in made.observers] == [
        ("observe.a", "tell", {"url": "env:A", "often": 1}),
        ("observe.b", "tell", {"url": "x", "often": 3}),
    ]
    assert [step.name for step in made.steps] == ["source", "test.it"], "it is no step"
    assert hidden_variables(made, made.by_name["test.it"]) == ("A",), "its secrets are not for steps"
    assert plan.Plan.model_validate_json(made.canonical).digest == made.digest


WRONG = {
    'url = "x"': '[observe.a] uses: is missing. Plugins that can observe: "tell"',
    "uses = 1": "[observe.a] uses: must be a string: the name of a plugin",
    'uses = "tel"': '[observe.a] uses: the plugin "tel" is not enabled. Did you mean "tell"?',
    'uses = "nobody"': '[observe.a] uses: the plugin "nobody" is not installed. Try: pip install penstock-nobody',
    'uses = "look"': '[observe.a] uses: the plugin "look" has no settings to be told, and observes every run without a section',
    'uses = "tell"': "[observe.a] url: is missing",
    'uses = "tell"\nurl = "x"\noften = "y"': '[observe.a] often: must be a whole number, and not "y"',
    'uses = "tell"\nurl = "x"\nurls = "y"': '[observe.a] urls: there is no such key. Did you mean "url"?',
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(configured(tmp_path, f"[observe.a]\n{text}\n"), {})

    assert str(caught.value).startswith("penstock.toml:")
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("observe = 1", "[observe] must be a section: [observe.NAME]"),
        ('[observe]\nuses = "tell"', "[observe] uses: must stand in a section with a name: [observe.NAME]"),
        ('[[observe.a]]\nuses = "tell"', "two brackets make a list"),
        ("[observ.a]", 'this is no phase. Did you mean "observe"?'),
    ],
    ids=["a value", "without a name", "a list", "misspelt"],
)
def test_a_section_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    text = f"{text}\n"
    path = configured(tmp_path, text)
    if text.startswith("observe ="):
        path.write_text(text + HEAD)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert message in str(caught.value)


def test_a_plugin_that_takes_a_key_of_the_core_for_itself_is_broken(tmp_path: Path) -> None:
    path = configured(tmp_path, "")
    path.write_text(HEAD.replace("./look.py", "./greedy.py"))

    project, _ = load(path, {})

    [why] = project.unusable
    assert "its settings for penstock_event declare `timeout`, which is a key of the core" in why


def test_the_schema_has_the_sections(tmp_path: Path) -> None:
    from penstock.cli.schema import make_schema
    from penstock.plugins import Plugins

    configured(tmp_path, "")
    schema = make_schema(Plugins.load(["./tell.py", "./look.py"], {}, root=tmp_path))

    [section] = schema["properties"]["observe"]["additionalProperties"]["oneOf"]
    assert section["required"] == ["url", "uses"]
    assert sorted(section["properties"]) == ["often", "url", "uses"]
    assert json.dumps(schema)
