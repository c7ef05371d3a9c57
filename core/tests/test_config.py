from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from penstock import Duration, Percentage, Settings, Step, config, hookimpl, versions
from penstock.config import Project
from penstock.errors import ConfigError
from penstock.parameters import Parameter, effective
from penstock.plugins import Installed
from pydantic import Field

Load = Callable[..., Project]

HEAD = '[penstock]\nplugins = ["box", "many"]\n'


class Box(Settings):
    level: Literal["plain", "fancy"] = "plain"
    count: int = Field(default=1, ge=1)
    share: Percentage = 0.5
    wait: Duration = 0
    names: tuple[str, ...] = ()
    labels_of: dict[str, str] = {}
    fast: bool = False


class Strict(Settings):
    url: str


class Nothing(Settings):
    pass


@hookimpl
def penstock_source(settings: Nothing, step: Step) -> Any:
    raise NotImplementedError


@hookimpl
def penstock_build(settings: Box, step: Step) -> Any:
    raise NotImplementedError


@hookimpl
def penstock_targets(settings: Box, step: Step) -> Any:
    raise NotImplementedError


@hookimpl
def penstock_test(settings: Strict, step: Step) -> Any:
    raise NotImplementedError


def module(name: str, *hooks: Callable[..., Any]) -> ModuleType:
    made = ModuleType(name)
    for hook in hooks:
        setattr(made, hook.__name__, hook)
    return made


def installed(name: str, module_name: str) -> Installed:
    return Installed(name, f"penstock-{name}", "1.2", EntryPoint(name, module_name, "penstock"))


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    modules = {
        "box": module("fake_box", penstock_source, penstock_build, penstock_targets),
        "many": module("fake_many", penstock_test, penstock_build),
        "other": module("fake_other", penstock_source),
        "spare": module("fake_spare", penstock_test),
    }
    for made in modules.values():
        monkeypatch.setitem(sys.modules, made.__name__, made)
    available = {name: installed(name, made.__name__) for name, made in modules.items()}
    available["broken"] = installed("broken", "fake_that_is_not_there")

    def load(text: str | bytes, name: str = "penstock.toml") -> Project:
        path = tmp_path / "shop" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return config.load(path, available)[0]

    return load


BROKEN = {
    # the file itself
    "no equals sign": (
        "[penstock]\nplugins",
        "penstock.toml:2: not valid TOML: expected '=' after a key in a key/value pair",
    ),
    "cut off": ('[penstock]\nname = "a', "penstock.toml:2: not valid TOML: unterminated string"),
    "key twice": (
        '[penstock]\nname = "a"\nname = "b"\n',
        "penstock.toml:3:11: not valid TOML: name is set already. A key stands once in its section: remove one of them",
    ),
    "no date": (
        "[penstock]\nname = 2026-02-30T10:00:00\n",
        "penstock.toml:2:8: not valid TOML: invalid date or datetime",
    ),
    "a number without end": (
        f"[penstock]\nname = {'1' * 5000}\n",
        "penstock.toml:2: not valid TOML: a number with thousands of digits",
    ),
    "a nest of lists": (
        f"[penstock]\nname = {'[' * 5000}",
        "penstock.toml: not valid TOML: it nests too deeply. A list or table in a table is as deep as a pipeline needs",
    ),
    "not UTF-8": (
        b'[penstock]\nname = "caf\xe9"\n',
        "penstock.toml:2: the file is not UTF-8 (byte 0xe9). Save it as UTF-8",
    ),
    "not UTF-8, behind a byte order mark": (
        b'\xef\xbb\xbf[penstock]\nname = "caf\xe9"\n',
        "penstock.toml:2: the file is not UTF-8 (byte 0xe9). Save it as UTF-8",
    ),
    # [penstock]
    "penstock is no table": ("penstock = 3\n", "penstock.toml:1: [penstock] must be a table"),
    "unknown key of the core": (
        '[penstock]\nplugin = ["box"]\n',
        'penstock.toml:2: [penstock] plugin: there is no such key. Did you mean "plugins"? '
        "The keys are name, plugins, requires, retention",
    ),
    "plugins as a string": (
        '[penstock]\nplugins = "box"\n',
        'penstock.toml:2: [penstock] plugins: must be a list, and not "box"',
    ),
    "plugin of a number": (
        '[penstock]\nplugins = ["box", 3]\n',
        "penstock.toml:2: [penstock] plugins.1: must be a string, and not 3",
    ),
    "no version bound": (
        '[penstock]\nrequires = "0.1"\nplugins = ["box"]\n',
        'penstock.toml:2: [penstock] requires: "0.1" is not a version bound, such as ">=0.1"',
    ),
    "too old": (
        '[penstock]\nrequires = ">=0.1,>=7"\n',
        "penstock.toml:2: [penstock] requires: this is Penstock 0.1.0, and the project asks for >=0.1,>=7. "
        'Try: pip install "penstock>=0.1,>=7"',
    ),
    "plugin not installed": (
        '[penstock]\nplugins = [\n  "boxx",\n  "box",\n]\n[build.a]\nuses = "box"\n',
        'penstock.toml:2: [penstock] plugins: the plugin "boxx" is not installed. Did you mean "box"? '
        "Otherwise: pip install penstock-boxx",
    ),
    "plugin not installed and nothing near": (
        '[penstock]\nplugins = ["zzz", "box"]\n',
        'penstock.toml:2: [penstock] plugins: the plugin "zzz" is not installed. '
        "Try: pip install penstock-zzz",
    ),
    "nothing gets the source": (
        '[penstock]\nplugins = ["many"]\n[build.a]\nuses = "many"\n',
        'penstock.toml:2: [penstock] plugins: no plugin was chosen that gets the source: add "git"',
    ),
    "two could get the source": (
        '[penstock]\nplugins = ["box", "other"]\n[build.a]\nuses = "box"\n',
        "penstock.toml:2: [penstock] plugins: no plugin was chosen that gets the source: "
        "several can: box, other. Add a section [source.NAME]",
    ),
    # sections
    "unknown phase": (
        HEAD + "[biuld.a]\n",
        'penstock.toml:3: [biuld] this is no phase. Did you mean "build"? The phases are '
        "source, build, test, scan, sign, publish, approve, deploy, verify",
    ),
    "phase is no table": (
        "build = 3\n" + HEAD,
        "penstock.toml:1: [build] must be a section: [build.NAME]",
    ),
    "section without a name": (
        HEAD + '[build]\nuses = "box"\n',
        "penstock.toml:4: [build] uses: must stand in a section with a name: [build.NAME], then uses = …",
    ),
    "name with a space": (
        HEAD + '[build."a b"]\nuses = "box"\n',
        'penstock.toml:3: [build."a b"] a name is made of at most 63 letters, digits, - and _',
    ),
    "name that climbs": (
        HEAD + '[deploy."../x"]\nuses = "box"\n',
        'penstock.toml:3: [deploy."".""."/x"] a name is made of at most 63 letters, digits, - and _',
    ),
    "no plugin": (
        HEAD + "[build.a]\ncount = 2\n",
        'penstock.toml:3: [build.a] uses: is missing. Plugins that can build: "box", "many"',
    ),
    "no plugin that could": (
        HEAD + "[publish.a]\n",
        "penstock.toml:3: [publish.a] uses: is missing. Plugins that can publish: none of the enabled ones",
    ),
    "plugin installed but not enabled": (
        HEAD + '[test.a]\nuses = "spare"\n',
        'penstock.toml:4: [test.a] uses: the plugin "spare" is installed but not enabled. '
        "Add it to plugins in [penstock]",
    ),
    "plugin not enabled": (
        HEAD + '[test.a]\nuses = "manny"\n',
        'penstock.toml:4: [test.a] uses: the plugin "manny" is not enabled. Did you mean "many"?',
    ),
    "plugin that can't": (
        HEAD + '[test.a]\nuses = "box"\n',
        'penstock.toml:4: [test.a] uses: the plugin "box" can\'t test; it can: source, build, deploy. '
        "Plugins that can test: many",
    ),
    "broken plugin": (
        '[penstock]\nplugins = ["box", "broken"]\n[test.a]\nuses = "broken"\n',
        'penstock.toml:4: [test.a] uses: the plugin "broken" (of penstock-broken 1.2) can\'t be used: '
        "ModuleNotFoundError: No module named 'fake_that_is_not_there'",
    ),
    # keys of the core
    "needs as a string": (
        HEAD + '[build.a]\nuses = "box"\nneeds = "source"\n',
        'penstock.toml:5: [build.a] needs: must be a list, and not "source"',
    ),
    "no duration": (
        HEAD + '[build.a]\nuses = "box"\n\ntimeout = "5 minutes"\n',
        'penstock.toml:6: [build.a] timeout: "5 minutes" is not a duration. '
        'Durations are such as "30s", "5m" or "1h30m"',
    ),
    "time that goes back": (
        HEAD + '[build.a]\nuses = "box"\ntimeout = -1\n',
        "penstock.toml:5: [build.a] timeout: -1 is not a duration. "
        'Durations are such as "30s", "5m" or "1h30m"',
    ),
    "time without end": (
        HEAD + '[build.a]\nuses = "box"\ntimeout = inf\n',
        "penstock.toml:5: [build.a] timeout: inf is longer than ten years, the longest of durations",
    ),
    "a truth for a time": (
        HEAD + '[build.a]\nuses = "box"\ntimeout = true\n',
        "penstock.toml:5: [build.a] timeout: true is not a duration. "
        'Durations are such as "30s", "5m" or "1h30m"',
    ),
    "retries in words": (
        HEAD + '[build.a]\nuses = "box"\nretries = "twice"\n',
        'penstock.toml:5: [build.a] retries: must be a whole number, and not "twice"',
    ),
    "a truth for a number": (
        HEAD + '[build.a]\nuses = "box"\nretries = true\n',
        "penstock.toml:5: [build.a] retries: must be a whole number, and not true",
    ),
    "too many retries": (
        HEAD + '[build.a]\nuses = "box"\nretries = 101\n',
        "penstock.toml:5: [build.a] retries: must be at most 100, and not 101",
    ),
    "a word for a truth": (
        HEAD + '[build.a]\nuses = "box"\nallow_failure = "yes"\n',
        'penstock.toml:5: [build.a] allow_failure: must be true or false, and not "yes"',
    ),
    "variable that is no string": (
        HEAD + '[build.a]\nuses = "box"\n[build.a.env]\nHOST = "x"\nPORT = 80\n',
        "penstock.toml:7: [build.a] env.PORT: must be a string, and not 80",
    ),
    "environment that is no name": (
        HEAD + '[deploy.a]\nuses = "box"\nenvironment = "../../x"\n',
        'penstock.toml:5: [deploy.a] environment: "../../x" is no name: '
        "a name is made of at most 63 letters, digits, - and _",
    ),
    "environment without a deployment": (
        HEAD + '[deploy.staging]\nuses = "box"\n[test.a]\nuses = "many"\nurl = "x"\nenvironment = "stagin"\n',
        'penstock.toml:8: [test.a] environment: there is no deploy section for the environment "stagin". '
        'Did you mean "staging"?',
    ),
    # rollout
    "rollout of a build": (
        HEAD + '[build.a]\nuses = "box"\nrollout = { batch = 1 }\n',
        "penstock.toml:5: [build.a] rollout: belongs in a deploy section",
    ),
    "rollout is no table": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = "rolling"\n',
        'penstock.toml:5: [deploy.a] rollout: must be a table, and not "rolling"',
    ),
    "strategy": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { strategy = "canari" }\n',
        'penstock.toml:5: [deploy.a] rollout.strategy: "canari" is none of the allowed values '
        '"all-at-once", "rolling", "canary" or "blue-green"',
    ),
    "key of rollout": (
        HEAD + '[deploy.a]\nuses = "box"\n[deploy.a.rollout]\nstrategy = "rolling"\nbatches = 1\n',
        'penstock.toml:7: [deploy.a] rollout.batches: there is no such key. Did you mean "batch"? '
        "The keys are batch, healthy_within, interval, judge, pause, strategy, waves",
    ),
    "a wave of a share above all": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { strategy = "canary", waves = ["10%", "140%"] }\n',
        'penstock.toml:5: [deploy.a] rollout.waves.1: "140%" is no batch. '
        'One is a number of targets, or a share such as "25%"',
    ),
    "waves that become smaller": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { strategy = "canary", waves = ["50%", "10%"] }\n',
        "penstock.toml:5: [deploy.a] rollout: waves must not become smaller: each says how many targets have "
        'the release after it, such as ["10%", "50%", "100%"]',
    ),
    "waves that end early": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { strategy = "canary", waves = ["10%", "50%"] }\n',
        'penstock.toml:5: [deploy.a] rollout: the last of the waves must be all: "100%"',
    ),
    "waves of a rolling one": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { strategy = "rolling", waves = ["100%"] }\n',
        'penstock.toml:5: [deploy.a] rollout: waves are for strategy = "canary", and this is rolling',
    ),
    "batch of a canary": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { strategy = "canary", batch = 2 }\n',
        "penstock.toml:5: [deploy.a] rollout: batch is for a rolling one, and this is canary. Leave it out",
    ),
    "nothing to judge": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout = { judge = ["verify.a"] }\n',
        "penstock.toml:5: [deploy.a] rollout: judge has nothing to judge where all is done at once. Choose "
        "another strategy",
    ),
    "key of a wave": (
        HEAD + '[deploy.a]\nuses = "box"\n'
        'rollout = { strategy = "canary", waves = [{ target = 1 }, "100%"] }\n',
        "penstock.toml:5: [deploy.a] rollout.waves.0.targets: is missing\n"
        "penstock.toml:5: [deploy.a] rollout.waves.0.target: there is no such key",
    ),
    "batch of none": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout.batch = 0\n',
        "penstock.toml:5: [deploy.a] rollout.batch: 0 is no batch. "
        'One is a number of targets, or a share such as "25%"',
    ),
    "batch of more than all": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout.batch = "140%"\n',
        'penstock.toml:5: [deploy.a] rollout.batch: "140%" is no batch. '
        'One is a number of targets, or a share such as "25%"',
    ),
    "batch in words": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout.batch = "half"\n',
        'penstock.toml:5: [deploy.a] rollout.batch: "half" is no batch. '
        'One is a number of targets, or a share such as "25%"',
    ),
    "batch of a truth": (
        HEAD + '[deploy.a]\nuses = "box"\nrollout.batch = true\n',
        "penstock.toml:5: [deploy.a] rollout.batch: true is no batch. "
        'One is a number of targets, or a share such as "25%"',
    ),
    "an approval that may fail": (
        HEAD + '[build.a]\nuses = "box"\n[deploy.live]\nuses = "box"\n[approve.live]\nallow_failure = true\n',
        "penstock.toml:8: [approve.live] allow_failure: what a step of the phase approve stands for can't be "
        "done without. Leave it out",
    ),
    "artifacts from elsewhere": (
        HEAD + '[build.a]\nuses = "box"\nartifacts = ["../*.log"]\n',
        'penstock.toml:5: [build.a] artifacts.0: "../*.log" leads out of the workspace. A glob is such as '
        '"dist/*"',
    ),
    "artifacts from the root": (
        HEAD + '[build.a]\nuses = "box"\nartifacts = ["/etc/*"]\n',
        'penstock.toml:5: [build.a] artifacts.0: "/etc/*" leads out of the workspace. A glob is such as '
        '"dist/*"',
    ),
    # the plugin's settings
    "unknown setting": (
        HEAD + '[build.a]\nuses = "box"\nlevle = "plain"\n',
        'penstock.toml:5: [build.a] levle: there is no such key. Did you mean "level"? '
        "The keys are count, fast, labels_of, level, names, share, wait, "
        "and those of every section",
    ),
    "unknown setting near a key of the core": (
        HEAD + '[build.a]\nuses = "box"\nretires = 3\n',
        'penstock.toml:5: [build.a] retires: there is no such key. Did you mean "retries"? '
        "The keys are count, fast, labels_of, level, names, share, wait, "
        "and those of every section",
    ),
    "two unknown settings": (
        HEAD + '[source.a]\nuses = "box"\none = 3\ntwo = 3\n',
        "penstock.toml:5: [source.a] one: there is no such key\n"
        "penstock.toml:6: [source.a] two: there is no such key",
    ),
    "setting of none": (
        HEAD + '[source.a]\nuses = "box"\nthorough = 3\n',
        "penstock.toml:5: [source.a] thorough: there is no such key",
    ),
    "literal": (
        HEAD + '[build.a]\nuses = "box"\nlevel = \'fanc"y\'\n',
        'penstock.toml:5: [build.a] level: "fanc\\"y" is none of the allowed values "plain" or "fancy"',
    ),
    "literal of a table": (
        HEAD + '[build.a]\nuses = "box"\nlevel = { of = 3 }\n',
        'penstock.toml:5: [build.a] level: this is none of the allowed values "plain" or "fancy"',
    ),
    "bound of a setting": (
        HEAD + '[build.a]\nuses = "box"\ncount = 0\n',
        "penstock.toml:5: [build.a] count: must be at least 1, and not 0",
    ),
    "setting that is missing": (
        HEAD + '[test.a]\nuses = "many"\n',
        "penstock.toml:3: [test.a] url: is missing",
    ),
    "list as a table": (
        HEAD + '[build.a]\nuses = "box"\nnames = { a = "b" }\n',
        "penstock.toml:5: [build.a] names: must be a list",
    ),
    "table as a list": (
        HEAD + '[build.a]\nuses = "box"\nlabels_of = ["a"]\n',
        "penstock.toml:5: [build.a] labels_of: must be a table",
    ),
    # the rest
    "policy without require": (
        HEAD + "[policy.production]\n",
        "penstock.toml:3: [policy.production] require: is missing. "
        '"provenance", "tests", "scan", "approval", "signature", or steps such as "test.e2e"',
    ),
    "policy without a name": (
        HEAD + '[policy]\nrequire = ["tests"]\n',
        "penstock.toml:4: [policy] require: must stand in a section with a name: "
        "[policy.NAME], then require = …",
    ),
    "role that is no list": (
        HEAD + '[roles]\nmanagers = "ana"\n',
        "penstock.toml:4: [roles] managers: must be a list of identities, "
        'such as ["ana@example.com", "key:7942…38bb"]',
    ),
    "roles are no table": (
        "roles = 3\n" + HEAD,
        "penstock.toml:1: [roles] must be a section: [roles]",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_fault_is_named_with_its_place_and_what_would_be_right(
    load: Load, text: str | bytes, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)

    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_all_faults_are_named_at_once(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            '[penstock]\nplugins = ["box", "gone"]\n'
            '[build.a]\nuses = "box"\ncount = 0\nlevel = "odd"\ntimeout = "soon"\nretries = 200\n'
            '[build.b]\nuses = "box"\ncount = 0\nlevel = "odd"\n'
            "[tset.a]\n"
        )

    assert str(caught.value).splitlines() == [
        'penstock.toml:2: [penstock] plugins: the plugin "gone" is not installed. '
        "Try: pip install penstock-gone",
        "penstock.toml:5: [build.a] count: must be at least 1, and not 0",
        'penstock.toml:6: [build.a] level: "odd" is none of the allowed values "plain" or "fancy"',
        'penstock.toml:7: [build.a] timeout: "soon" is not a duration. '
        'Durations are such as "30s", "5m" or "1h30m"',
        "penstock.toml:8: [build.a] retries: must be at most 100, and not 200",
        "penstock.toml:11: [build.b] count: must be at least 1, and not 0",
        'penstock.toml:12: [build.b] level: "odd" is none of the allowed values "plain" or "fancy"',
        'penstock.toml:13: [tset] this is no phase. Did you mean "test"? The phases are '
        "source, build, test, scan, sign, publish, approve, deploy, verify",
    ]


def test_a_file_that_is_not_there(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^.*/penstock.toml is not there$"):
        config.load(tmp_path / "penstock.toml", {})


# --- what a good file says ---


def test_a_project(load: Load) -> None:
    project = load(
        HEAD + '[build.image]\nuses = "box"\nshare = "25%"\nwait = "1m30s"\ntimeout = "2m"\n'
        '[test.e2e]\nuses = "many"\nurl = "x"\nenvironment = "live"\nneeds = ["build.image"]\n'
        '[approve.live]\n[deploy.web]\nuses = "box"\nenvironment = "live"\n'
        '[policy.live]\nrequire = ["tests"]\n[roles]\nmanagers = ["ana", "bo"]\n'
    )

    assert project.name == "shop"
    assert [(s.name, s.phase, s.plugin, s.environment) for s in project.sections] == [
        ("source", "source", "box", None),
        ("build.image", "build", "box", None),
        ("test.e2e", "test", "many", "live"),
        ("approve.live", "approve", None, "live"),
        ("deploy.web", "deploy", "box", "live"),
    ]
    image = project.sections[1]
    assert (image.settings["share"], image.settings["wait"], image.keys.timeout) == (0.25, 90.0, 120.0)
    assert project.sections[2].keys.needs == ("build.image",)
    assert project.sections[3].settings == {"by": [], "expires": 86400.0}
    assert project.policies["live"].require == ("tests",)
    assert project.roles == {"managers": ("ana", "bo")}


def test_the_digest_is_that_of_the_bytes(load: Load) -> None:
    text = HEAD + '[build.a]\nuses = "box"\n'

    assert load(text).digest == load(text).digest
    assert load(text).digest != load(text + "\n").digest
    assert load(HEAD + "# ünï\n").digest.startswith("sha256:")


def test_a_broken_plugin_that_no_step_uses_does_not_matter(load: Load) -> None:
    project = load('[penstock]\nplugins = ["box", "broken"]\n[build.a]\nuses = "box"\n')

    assert [section.name for section in project.sections] == ["source", "build.a"]


def test_a_name_of_its_own(load: Load) -> None:
    assert load('[penstock]\nname = "depot"\nplugins = ["box"]\n').name == "depot"


def test_enabled_names_the_plugins_without_importing_them(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text('[penstock]\nplugins = ["not-there", "box"]\n[build.a]\nnothing = "checked"\n')

    assert config.enabled(path) == ("not-there", "box")


def test_enabled_of_a_broken_head(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text('[penstock]\nplugins = "box"\n')

    with pytest.raises(ConfigError, match=r'plugins: must be a list, and not "box"$'):
        config.enabled(path)


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        (">=0.1", True),
        (">=0.1.0.0", True),
        (">=0.1.1", False),
        ("<=0.1", True),
        ("<0.1", False),
        (">0.0.9", True),
        ("==0.1.0", True),
        ("==0.1", True),
        ("!=0.1", False),
        ("~=0.1", True),
        ("~=0.1.0", True),
        ("~=0.0.9", False),
        ("~=0.2", False),
        (">=0.1,<1", True),
        (" >= 0.1 , < 0.1 ", False),
    ],
)
def test_requires(load: Load, bound: str, holds: bool) -> None:
    text = f'[penstock]\nplugins = ["box"]\nrequires = "{bound}"\n'
    if holds:
        load(text)
    else:
        with pytest.raises(
            ConfigError, match=r"^penstock.toml:3: \[penstock\] requires: this is Penstock 0.1.0"
        ):
            load(text)


@pytest.mark.parametrize(
    ("version", "bound", "holds"),
    [
        ("0.2.0", "0.1", True),
        ("0.2.0", "0.1.0", False),
        ("1.0.0", "0.9", False),
        ("1.4.2", "1.4.1", True),
        ("1.5", "1.4.1", False),
        ("2.0", "2.0", True),
        ("3.0", "2.0", False),
    ],
)
def test_a_compatible_release(version: str, bound: str, holds: bool) -> None:
    assert versions._holds(version, "~=", bound) is holds


# --- pyproject.toml ---

PYPROJECT = """\
[build-system]
requires = []
[project]
name = "other"
plugins = 3
[tool.penstock]
name = "depot"
plugins = ["box", "many"]
[tool.penstock.build.image]
uses = "box"
count = {count}
[tool.ruff]
line-length = 110
"""


def test_the_same_in_pyproject_toml(load: Load) -> None:
    project = load(PYPROJECT.format(count=2), "pyproject.toml")

    assert project.name == "depot"
    assert project.plugins == ("box", "many")
    assert [section.name for section in project.sections] == ["source", "build.image"]
    assert project.sections[1].settings["count"] == 2


BROKEN_PYPROJECT = {
    "setting": (
        PYPROJECT.format(count=0),
        "pyproject.toml:11: [tool.penstock.build.image] count: must be at least 1, and not 0",
    ),
    "plugin": (
        PYPROJECT.format(count=1).replace('"many"', '"gone"'),
        'pyproject.toml:8: [tool.penstock] plugins: the plugin "gone" is not installed. '
        "Try: pip install penstock-gone",
    ),
    "key": (
        '[tool.penstock]\nplugin = ["box"]\n',
        'pyproject.toml:2: [tool.penstock] plugin: there is no such key. Did you mean "plugins"? '
        "The keys are name, plugins, requires, retention",
    ),
    "no table": ("[tool]\npenstock = 3\n", "pyproject.toml: [tool.penstock] must be a table"),
    "phase": (
        '[tool.penstock]\nplugins = ["box"]\n[tool.penstock.deplyo.x]\n',
        'pyproject.toml:3: [tool.penstock.deplyo] this is no phase. Did you mean "deploy"? The phases are '
        "source, build, test, scan, sign, publish, approve, deploy, verify",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN_PYPROJECT.values(), ids=BROKEN_PYPROJECT.keys())
def test_a_fault_in_pyproject_toml(load: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, "pyproject.toml")

    assert str(caught.value) == message


# --- what sections share, and what a run can be given ---


def test_a_section_has_what_its_phase_shares_and_its_own_counts(load: Load) -> None:
    project = load(
        HEAD + '[defaults.build]\nuses = "box"\ntimeout = "2m"\nretries = 2\nlabels = ["local"]\n'
        'env = { A = "shared", B = "shared" }\nsecrets = { T = "env:T" }\n'
        '[build.own]\ntimeout = "1m"\nretries = { times = 5 }\nlabels = []\nenv = { B = "own" }\n'
        'secrets = { U = "env:U" }\n[build.all]\n[test.a]\nuses = "many"\nurl = "x"\n'
    )
    own, every, other = (section for section in project.sections if section.phase in ("build", "test"))

    assert own.keys.model_dump(exclude_defaults=True) == {
        "uses": "box",
        "timeout": 60,
        "retries": {"times": 5},
        "env": {"A": "shared", "B": "own"},
        "secrets": {"T": "env:T", "U": "env:U"},
    }
    assert every.keys.model_dump(exclude_defaults=True) == {
        "uses": "box",
        "timeout": 120,
        "retries": {"times": 2},
        "labels": ("local",),
        "env": {"A": "shared", "B": "shared"},
        "secrets": {"T": "env:T"},
    }
    assert (own.place("timeout"), own.place("uses")) == ("build.own", "defaults.build")
    assert other.keys.model_dump(exclude_defaults=True) == {"uses": "many"}


def test_variants_share_the_keys_of_their_phase(load: Load) -> None:
    project = load(
        HEAD + '[defaults.build]\nuses = "box"\nenv = { A = "shared", B = "shared" }\n'
        '[build.a]\nmatrix = { "env.B" = ["1", "2"] }\n'
    )

    assert [section.keys.env for section in project.sections if section.phase == "build"] == [
        {"A": "shared", "B": "1"},
        {"A": "shared", "B": "2"},
    ]


def test_the_source_without_a_section_has_its_defaults(load: Load) -> None:
    project = load(
        '[penstock]\nplugins = ["box", "other"]\n[defaults.source]\nuses = "box"\ntimeout = "5s"\n'
    )

    [source] = project.sections
    assert (source.name, source.plugin, source.keys.timeout) == ("source", "box", 5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run = 'true'", "run: there is no such key. The keys are allow_failure, "),
        ("timout = 5", 'timout: there is no such key. Did you mean "timeout"? The keys are '),
    ],
)
def test_only_keys_of_the_core_are_shared(load: Load, line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(HEAD + f"[defaults.test]\n{line}\n")

    assert str(caught.value).startswith(f"penstock.toml:4: [defaults.test] {message}")


def test_labels_are_a_list_however_they_are_written(load: Load) -> None:
    project = load(
        HEAD + '[build.a]\nuses = "box"\nlabels = { os = "linux", gpu = "a100" }\n'
        '[build.b]\nuses = "box"\nlabels = ["gpu", "os=linux", "gpu"]\n'
    )

    assert [section.keys.labels for section in project.sections if section.phase == "build"] == [
        ("os=linux", "gpu=a100"),
        ("gpu", "os=linux"),
    ]


DECLARED = {
    "size": Parameter(default="small", choices=("small", "large")),
    "jobs": Parameter(default=4),
    "fast": Parameter(default=False),
    "note": Parameter(default=""),
}
GIVEN: dict[str, tuple[list[str], dict[str, object]]] = {
    "nothing": ([], {}),
    "a choice": (["size=large"], {"size": "large"}),
    "a number": (["jobs=-12"], {"jobs": -12}),
    "a truth": (["fast=true"], {"fast": True}),
    "an equals sign in it": (["note=a=b=c"], {"note": "a=b=c"}),
    "empty": (["note="], {"note": ""}),
    "several": (["jobs=1", "fast=false"], {"jobs": 1, "fast": False}),
}


@pytest.mark.parametrize(("words", "given"), GIVEN.values(), ids=GIVEN)
def test_what_parameters_are(words: list[str], given: dict[str, object]) -> None:
    found = effective(DECLARED, words)

    assert found == {"size": "small", "jobs": 4, "fast": False, "note": "", **given}
    assert [type(value) for value in found.values()] == [str, int, bool, str]


NOT_GIVEN = {
    "no such": (
        ["sise=large"],
        'there is no parameter "sise". Did you mean "size"? The parameters are size, jobs, fast, note',
    ),
    "no value": (["size"], '"size" has no value. Write it such as --set size=VALUE'),
    "no name": (["=1"], 'there is no parameter "". The parameters are size, jobs, fast, note'),
    "no choice": (["size=lage"], 'size: "lage" is no choice. Did you mean "large"? It can be small, large'),
    "no number": (["jobs=many"], 'jobs: must be a whole number, and not "many"'),
    "half a number": (["jobs=1.5"], 'jobs: must be a whole number, and not "1.5"'),
    "a number of other digits": (["jobs=٣"], 'jobs: must be a whole number, and not "٣"'),
    "a number without end": (["jobs=" + "9" * 5000], f'jobs: must be a whole number, and not "{"9" * 59}…'),
    "no truth": (["fast=True"], 'fast: must be true or false, and not "True"'),
    "twice": (["jobs=1", "jobs=1"], "jobs is given twice"),
    "no text": (["note=a\udcff"], "note: the value is not UTF-8"),
    "a name that is no text": (
        ["\udcff=1"],
        'there is no parameter "\\udcff". The parameters are size, jobs, fast, note',
    ),
}


@pytest.mark.parametrize(("words", "message"), NOT_GIVEN.values(), ids=NOT_GIVEN)
def test_what_parameters_can_not_be(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        effective(DECLARED, words)

    assert str(caught.value) == f"--set: {message}"


def test_parameters_where_there_are_none() -> None:
    with pytest.raises(
        ConfigError, match=r"^--set: there is no parameter .a.\. The configuration declares none"
    ):
        effective({}, ["a=1"])
