from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest
from penstock import plugins
from penstock.plugins import Broken, Installed, Plugins

Write = Callable[..., dict[str, Installed]]

GOOD = """
from penstock import Settings, hookimpl

class Own(Settings):
    level: int = 1

@hookimpl
def penstock_build(settings: Own, step):
    return [settings.level, step]

@hookimpl
def penstock_event(event):
    return None
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Plugins as modules that a project could enable, from their source."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(**sources: str) -> dict[str, Installed]:
        for name, source in sources.items():
            (tmp_path / f"fake_{name}.py").write_text(source)
        return {
            name: Installed(name, f"penstock-{name}", "1.2", EntryPoint(name, f"fake_{name}", "penstock"))
            for name in sources
        }

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def test_only_enabled_plugins_are_imported(write: Write) -> None:
    available = write(one=GOOD, two=GOOD, broken="raise SystemExit(3)")

    loaded = Plugins.load(["one"], available)

    assert list(loaded.modules) == ["one"]
    assert loaded.versions == {"one": "1.2"}
    assert not loaded.broken
    assert {name for name in sys.modules if name.startswith("fake_")} == {"fake_one"}


def test_a_plugin_that_is_named_twice_is_loaded_once(write: Write) -> None:
    assert list(Plugins.load(["one", "one"], write(one=GOOD)).modules) == ["one"]


def test_what_a_plugin_can_do(write: Write) -> None:
    deploys = GOOD.replace("penstock_build", "penstock_targets")
    loaded = Plugins.load(["one", "two"], write(one=GOOD, two=deploys))

    assert loaded.phases("one") == ("build",)
    assert loaded.phases("two") == ("deploy",)
    assert loaded.phases("three") == ()
    assert loaded.that_do("deploy") == ["two"]
    assert loaded.has("one", "penstock_build")
    assert not loaded.has("one", "penstock_test")
    assert not loaded.has("three", "penstock_build")


def test_a_phase_hook_is_called_on_its_own_plugin_only(write: Write) -> None:
    wraps = """
from penstock import Settings, hookimpl

class Own(Settings):
    pass

@hookimpl(wrapper=True)
def penstock_build(settings: Own, step):
    yield
    return ["another plugin's answer"]
"""
    loaded = Plugins.load(["one", "wraps"], write(one=GOOD, wraps=wraps))
    settings = loaded.settings_model("one", "penstock_build").model_validate({"level": 7})

    assert loaded.call("one", "penstock_build", settings=settings, step="a step") == [7, "a step"]
    assert loaded.call("one", "penstock_test", settings=settings, step="a step") is None


def test_a_cross_cutting_hook_is_asked_of_every_plugin(write: Write) -> None:
    admits = """
from penstock import Refusal, hookimpl

@hookimpl
def penstock_admit(step):
    return Refusal(rule="{0}", reason=step)
"""
    loaded = Plugins.load(["a", "b"], write(a=admits.format("a"), b=admits.format("b")))

    assert {answer.rule for answer in loaded.ask_all("penstock_admit", step="s", evidence=[])} == {"a", "b"}


def test_a_plugin_without_settings_takes_none(write: Write) -> None:
    source = "from penstock import hookimpl\n@hookimpl\ndef penstock_build(step): ...\n"
    loaded = Plugins.load(["one"], write(one=source))

    assert loaded.settings_model("one", "penstock_build") is plugins.NoSettings


def test_step_may_be_imported_for_type_checking_only(write: Write) -> None:
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
from penstock import Settings, hookimpl
if TYPE_CHECKING:
    from penstock import Artifact, Step

class Own(Settings):
    pass

@hookimpl
def penstock_build(settings: Own, step: Step) -> list[Artifact]: ...
"""
    loaded = Plugins.load(["one"], write(one=source))

    assert loaded.settings_model("one", "penstock_build").__name__ == "Own"


BROKEN = {
    "does not import": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "raises": ("raise ValueError('odd')", "ValueError: odd"),
    "is no Python": ("def (", "SyntaxError: invalid syntax (fake_broken.py, line 1)"),
    "ends the process": (
        "raise SystemExit(3)",
        "it ends the process when it is imported (SystemExit)",
    ),
    "is made for a later API": (
        f"PENSTOCK_API = 2\n{GOOD}",
        "it is made for plugin API 2, and this Penstock has 1: pip install --upgrade penstock",
    ),
    "is made for an earlier API": (
        f"PENSTOCK_API = 0\n{GOOD}",
        "it is made for plugin API 0, and this Penstock has 1: install a newer version of the plugin",
    ),
    "is made for an odd API": (
        f"PENSTOCK_API = 'two'\n{GOOD}",
        "it is made for plugin API two, and this Penstock has 1: install a newer version of the plugin",
    ),
    "declares a core key": (
        GOOD.replace("level: int", "retries: int"),
        "its settings for penstock_build declare `retries`, which is a key of the core",
    ),
    "declares a core key that is not there yet": (
        GOOD.replace("level: int", "matrix: int"),
        "its settings for penstock_build declare `matrix`, which is a key of the core",
    ),
    "declares a core key as an alias": (
        f"from pydantic import Field\n{GOOD}".replace("level: int = 1", "level: int = Field(1, alias='env')"),
        "its settings for penstock_build declare `env`, which is a key of the core",
    ),
    "declares a core key for another hook": (
        GOOD
        + "@hookimpl\ndef penstock_tools(settings: Other): ...\nclass Other(Settings):\n    cache: int = 1\n",
        None,  # `Other` is not there yet when the annotation is evaluated: a NameError of the module's own
    ),
    "settings can't be resolved": (
        "from __future__ import annotations\n" + GOOD.replace("settings: Own", "settings: Gone"),
        "penstock_build: the annotation of `settings` can't be resolved: name 'Gone' is not defined. "
        "Import the model at run time, not under TYPE_CHECKING",
    ),
    "settings of another module can't be resolved": (
        "from __future__ import annotations\nimport json\n"
        + GOOD.replace("settings: Own", "settings: json.Gone"),
        "AttributeError: module 'json' has no attribute 'Gone'",
    ),
    "settings are not annotated": (
        GOOD.replace("settings: Own", "settings"),
        "penstock_build: `settings` must be annotated with a subclass of penstock.Settings",
    ),
    "settings are no model": (
        GOOD.replace("settings: Own", "settings: dict"),
        "penstock_build: `settings` must be annotated with a subclass of penstock.Settings",
    ),
    "asks for what the hook does not hand over": (
        GOOD.replace("step):", "step, engine):"),
        "its penstock_build asks for `engine`; what it can ask for: settings, step",
    ),
    "a hook that there is not": (
        GOOD.replace("penstock_build", "penstock_biuld"),
        'there is no hook penstock_biuld. Did you mean "penstock_build"?',
    ),
    "forgets the marker": (
        GOOD.replace("@hookimpl\ndef penstock_build", "def penstock_build"),
        "its penstock_build is not marked with @hookimpl: it would never be called",
    ),
    "forgets the marker of a gate": (
        "def penstock_admit(step): ...",
        "its penstock_admit is not marked with @hookimpl: it would never be called",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_named_with_the_reason_and_hurts_no_other(
    write: Write, source: str, reason: str | None
) -> None:
    loaded = Plugins.load(["broken", "good"], write(broken=source, good=GOOD))

    assert list(loaded.modules) == ["good"]
    assert list(loaded.versions) == ["good"]
    broken = loaded.broken["broken"]
    assert (broken.name, broken.distribution) == ("broken", "penstock-broken 1.2")
    if reason:
        assert broken.reason.startswith(reason)
    model = loaded.settings_model("good", "penstock_build")
    assert loaded.call("good", "penstock_build", settings=model(), step=1) == [1, 1]
    assert loaded.call("good", "penstock_test", settings=model(), step=1) is None
    assert loaded.ask_all("penstock_event", settings=None, event=None, observed=None) == []


def test_a_plugin_that_is_not_installed(write: Write) -> None:
    loaded = Plugins.load(["goood"], write(good=GOOD))

    assert str(loaded.broken["goood"]) == (
        'the plugin "goood" (of no distribution) can\'t be used: the plugin "goood" is not installed. '
        'Did you mean "good"? Otherwise: pip install penstock-goood'
    )


def test_a_broken_plugin_says_whose_it_is() -> None:
    assert str(Broken("docker", "penstock-docker 0.3", "it is odd")) == (
        'the plugin "docker" (of penstock-docker 0.3) can\'t be used: it is odd'
    )


def test_a_module_that_is_a_plugin_under_two_names_can_only_be_one(write: Write) -> None:
    available = write(one=GOOD)
    available["two"] = Installed("two", "penstock-two", "3", available["one"].entry_point)

    loaded = Plugins.load(["one", "two"], available)

    assert list(loaded.modules) == ["one"]
    assert loaded.broken["two"].reason.startswith(
        "ValueError: Plugin already registered under a different name"
    )


def test_the_installed_plugins_are_found_by_entry_point_without_an_import() -> None:
    before = set(sys.modules)

    found = plugins.installed()

    assert all(name == plugin.name and plugin.version for name, plugin in found.items())
    assert not {name for name in set(sys.modules) - before if name.startswith("penstock_")}


def test_of_a_distribution_no_more_is_read_than_of_the_plugins_that_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        info = tmp_path / f"penstock_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: penstock-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[penstock]\n{name} = penstock_{name}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    read: list[str] = []
    really = PathDistribution.read_text

    def noted(self: PathDistribution, filename: str) -> str | None:
        if filename == "METADATA":
            read.append(str(really(self, "entry_points.txt")).split()[1])
        return really(self, filename)

    monkeypatch.setattr(PathDistribution, "read_text", noted)

    found = plugins.installed()

    assert (list(found), "two" in found, "three" in found) == (["one", "two"], True, False)
    assert read == []
    assert found["one"].origin == found["one"].origin == "penstock-one 1.0"
    assert read == ["one"]


def test_every_phase_has_its_hook() -> None:
    from penstock import hookspecs

    assert set(plugins.HOOK_OF) == set(plugins.PHASES)
    assert all(hasattr(hookspecs, hook) for hook in plugins.HOOK_OF.values())


def test_the_keys_of_the_core_are_those_that_sections_have() -> None:
    from penstock.keys import Keys

    assert set(Keys.model_fields) == plugins.CORE_KEYS
