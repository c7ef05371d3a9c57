"""`penstock logs ENV`: what deployed services write, all targets at once."""

from __future__ import annotations

import pytest

from tests.projects import Project

PLUGIN = """
from collections.abc import Iterator
from penstock import Health, Release, Settings, Step, StepFailed, Target, TargetState, hookimpl


class Places(Settings):
    places: tuple[str, ...]
    speaks: bool = True


class Mute(Target):
    def observe(self, step: Step) -> TargetState:
        if self.id == "away":
            raise StepFailed("nobody answers")
        return TargetState()

    def apply(self, release: Release, step: Step) -> None: ...

    def probe(self, step: Step) -> Health:
        return Health(status="healthy")

    def restore(self, state: TargetState, step: Step) -> None: ...


class Place(Mute):
    def logs(self, step: Step, *, since: float | None, tail: int | None, follow: bool) -> Iterator[str]:
        if self.id == "away":
            raise StepFailed("nobody answers")
        yield f"{self.id} {since is not None} {tail} {follow}"
        yield f"the token is {step.secret('TOKEN')}"


@hookimpl
def penstock_targets(settings: Places, step: Step) -> list[Target]:
    return [(Place if settings.speaks else Mute)(id=place) for place in settings.places]
"""
CONFIG = """\
[penstock]
plugins = ["git", "shell", "./places.py"]

[build.all]
uses = "shell"
run = "echo built > it"
artifacts = ["it"]

[deploy.staging]
uses = "places"
places = ["web-1", "web-20"]
secrets = { TOKEN = "env:TOKEN" }

[deploy.production]
uses = "places"
places = ["web-1", "away"]
secrets = { TOKEN = "env:TOKEN" }

[deploy.elsewhere]
uses = "places"
places = ["x"]
speaks = false
"""


@pytest.fixture
def places(project: Project) -> Project:
    project.env["TOKEN"] = "c0rrect horse"
    project.commit({"places.py": PLUGIN, "penstock.toml": CONFIG})
    return project


def test_all_targets_speak_each_with_its_name_before_it_and_without_secrets(places: Project) -> None:
    done = places.passes("logs", "staging")

    assert sorted(done.out.splitlines()) == [
        "web-1  | the token is ***",
        "web-1  | web-1 False 100 False",
        "web-20 | the token is ***",
        "web-20 | web-20 False 100 False",
    ]
    assert "web-1  | web-1 True None True" in places.passes("logs", "staging", "-f", "--since", "10m").out
    assert "web-1  | web-1 False 3 False" in places.passes("logs", "staging", "--tail", "3").out


def test_one_that_cannot_be_asked_hides_none_of_the_others(places: Project) -> None:
    done = places.run("logs", "production")

    assert done.code == 1
    assert "web-1 | the token is ***" in done.out
    assert "penstock: away: nobody answers" in done.err
    targets = places.json("status", "production")["targets"]
    assert [(target["target"], target["health"], target["detail"]) for target in targets] == [
        ("web-1", "healthy", ""),
        ("away", "unknown", "nobody answers"),
    ]


def test_what_it_cannot_show_it_says(places: Project) -> None:
    for words, code, said in [
        (("elsewhere",), 1, "penstock: x: its plugin can't tell what it writes"),
        (("staging", "--since", "soon"), 2, '--since: "soon" is not a duration'),
        (("stagin",), 2, "no run yet"),
        (("last", "--tail", "3"), 2, "are for what a service writes: penstock logs ENV"),
    ]:
        done = places.run("logs", *words)
        assert (done.code, said in done.err) == (code, True), done.said
