"""`[service.NAME]` sections and the key `services`: what is wrong with them, and what they make of a plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from penstock import cachekey, config, plan
from penstock.beside import Beside
from penstock.cache import _alike
from penstock.errors import ConfigError
from penstock.plan import PlanStep

from core.tests.lab import ONE_FILE, Lab
from core.tests.test_services import SERVER

WRONG = {
    "a service that there is not": (
        '[service.db]\nuses = "fake"\n[test.a]\nuses = "fake"\nservices = ["bd"]\n',
        '7: [test.a] services: there is no service "bd". Add a section [service.bd], or name one of db',
    ),
    "one of none": (
        '[test.a]\nuses = "fake"\nservices = ["db"]\n',
        '5: [test.a] services: there is no service "db". Add a section [service.db]',
    ),
    "twice": (
        '[service.db]\nuses = "fake"\n[test.a]\nuses = "fake"\nservices = ["db", "db"]\n',
        '7: [test.a] services: names "db" twice',
    ),
    "no list": (
        '[service.db]\nuses = "fake"\n[test.a]\nuses = "fake"\nservices = "db"\n',
        '7: [test.a] services: must be a list, and not "db"',
    ),
    "in a phase without": (
        '[service.db]\nuses = "fake"\n[build.a]\nuses = "fake"\n[source.s]\nuses = "fake"\nservices = ["db"]\n',
        "9: [source.s] services: has no place in this phase. It is for build, test, scan and verify",
    ),
    "no plugin": (
        '[service.db]\ngreeting = "x"\n',
        '3: [service.db] uses: is missing. Plugins that can start a service: "fake"',
    ),
    "a plugin that can't": (
        '[service.db]\nuses = "other"\n',
        '4: [service.db] uses: the plugin "other" can\'t start a service. Plugins that can: "fake"',
    ),
    "a plugin that is not there": (
        '[service.db]\nuses = "fakee"\n',
        '4: [service.db] uses: the plugin "fakee" is not enabled. Did you mean "fake"?',
    ),
    "a setting that there is not": (
        '[service.db]\nuses = "fake"\ngreting = "x"\n',
        '5: [service.db] greting: there is no such key. Did you mean "greeting"? '
        "The keys are do, greeting, image, undo, and those of every section",
    ),
    "a setting of another type": (
        '[service.db]\nuses = "fake"\ngreeting = 3\n',
        "5: [service.db] greeting: must be a string, and not 3",
    ),
    "a key of steps": (
        '[service.db]\nuses = "fake"\ntimeout = "3s"\n',
        "5: [service.db] timeout: is a key of steps. A service has uses and secrets, and its own",
    ),
    "a secret in clear": (
        '[service.db]\nuses = "fake"\nsecrets = { TOKEN = "hunter2" }\n',
        '5: [service.db] secrets: TOKEN must say where the secret is, such as "env:TOKEN" or "file:PATH". If the '
        "secret itself stands here, take it out, and make a new one: it may have been read",
    ),
    "a secret of nobody": (
        '[service.db]\nuses = "fake"\nsecrets = { TOKEN = "vault:x" }\n',
        '5: [service.db] secrets.TOKEN: no enabled plugin knows "vault:". References are such as env:NAME or '
        "file:PATH",
    ),
    "a build that there is not": (
        '[service.db]\nuses = "fake"\nimage = "build.b"\n[build.a]\nuses = "fake"\n',
        '5: [service.db] image: there is no build step "build.b". Did you mean "build.a"? There are build.a',
    ),
    "what the step itself builds": (
        '[service.db]\nuses = "fake"\nimage = "build.a"\n[build.a]\nuses = "fake"\nservices = ["db"]\n',
        '8: [build.a] services: the service "db" is started from what this very step builds',
    ),
    "a cache beside secrets": (
        '[service.db]\nuses = "fake"\nsecrets = { TOKEN = "env:T" }\n[test.a]\nuses = "fake"\ncache = true\n'
        'services = ["db"]\n',
        '9: [test.a] services: the service "db" is handed secrets, whose values are not compared: with another '
        "one the step might come to another result. If not, say so: cache = { ignore_secrets = true }",
    ),
    "no table": (
        "service = 3\n",
        "1: [service] must be a section: [service.NAME]",
    ),
    "no section of a name": (
        '[service]\nuses = "fake"\n',
        "4: [service] uses: must stand in a section with a name: [service.NAME], then uses = …",
    ),
    "a name that is none": (
        '[service."a b"]\nuses = "fake"\n',
        '3: [service."a b"] a name is made of at most 63 letters, digits, - and _',
    ),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    lab = Lab.make(tmp_path_factory.mktemp("lab"))
    plugins = lab.load(fake=ONE_FILE + SERVER, other="")
    return {"lab": lab, "plugins": plugins}


def load(loaded: dict[str, Any], text: str, path: Path) -> config.Project:
    """The configuration, with the plugins of this module."""
    lab: Lab = loaded["lab"]
    available = {
        name: lab.plugin(name, ONE_FILE + SERVER if name == "fake" else "") for name in ("fake", "other")
    }
    file = path / "penstock.toml"
    head = '[penstock]\nplugins = ["fake", "other"]\n'
    file.write_text(text + head if text.startswith("service =") else head + text)
    sys.path.insert(0, str(lab.site))
    try:
        return config.load(file, available)[0]
    finally:
        sys.path.remove(str(lab.site))


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(loaded: dict[str, Any], tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(loaded, text, tmp_path)

    assert str(refused.value) == f"penstock.toml:{message}"


def test_a_step_waits_for_what_its_service_is_started_from(loaded: dict[str, Any], tmp_path: Path) -> None:
    text = """
    [build.a]
    uses = "fake"
    services = ["db"]
    [build.b]
    uses = "fake"
    [service.db]
    uses = "fake"
    image = "build.b"
    [test.early]
    uses = "fake"
    needs = []
    services = ["db"]
    [test.usual]
    uses = "fake"
    services = ["db"]
    """

    made = plan.make(load(loaded, text, tmp_path), {"fake": "1", "other": "1"})

    assert [need.on for need in made.by_name["build.a"].needs] == ["build.b"]
    assert [need.on for need in made.by_name["test.early"].needs] == ["build.b"]
    assert "build.b" not in [need.on for need in made.by_name["test.usual"].needs]
    assert made.by_name["test.usual"].services == (
        Beside(
            name="db",
            plugin="fake",
            settings={"greeting": "hello", "image": "build.b", "do": "", "undo": ""},
        ),
    )


def test_steps_with_other_services_are_asked_for_their_tools_on_their_own() -> None:
    def step(*services: Beside) -> PlanStep:
        return PlanStep(name="test.a", phase="test", uses="x", services=services)

    steps = [
        step(),
        step(Beside(name="db", plugin="x")),
        step(Beside(name="db", plugin="x", settings={"image": "a"})),
    ]

    assert len({_alike(each) for each in steps}) == 3
    assert len({cachekey.digest_of(parts(each)) for each in steps}) == 3


def parts(step: PlanStep) -> cachekey.Parts:
    return cachekey.parts_of(step, {}, "", {}, (), {}, {}, dirty=False)
