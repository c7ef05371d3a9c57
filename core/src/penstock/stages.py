"""Sections → the stage of each step, by its phase, its environment and its needs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from penstock.errors import ConfigError, nearest
from penstock.keys import Section
from penstock.matrix import base_of

if TYPE_CHECKING:
    from penstock.terms import Node

_STAGE = {"source": 0, "build": 1, "test": 2, "scan": 2, "sign": 3, "publish": 4}
_FIRST_ENVIRONMENT = 5
_IN_ENVIRONMENT = {"approve": 0, "deploy": 1, "verify": 2, "test": 3, "scan": 3}
_SLOTS = 4
_TESTS = ("test", "scan")


def meant_by(sections: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """By name the steps that it means: itself, or all variants of a section."""
    variants: dict[str, list[str]] = {}
    for name in sections:
        variants.setdefault(base_of(name), []).append(name)
    return {name: (name,) for name in sections} | {name: tuple(found) for name, found in variants.items()}


def check_needs(sections: Mapping[str, Section], meant: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a need that names no step. Raises ConfigError."""
    for section in sections.values():
        for need in section.keys.needs or ():
            if section.name in meant.get(need, ()):
                message = "the step names itself. Leave it out"
                raise ConfigError(message, section=section.place("needs"), key="needs")
            if need not in meant:
                message = f'there is no step "{need}"{nearest(need, meant, "steps")}'
                raise ConfigError(message, section=section.place("needs"), key="needs")


def check_judges(sections: Mapping[str, Section], meant: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a judge of a rollout that can't judge it. Raises ConfigError."""
    for section in sections.values():
        for name in section.keys.rollout.judge:
            found = meant.get(name, ())
            judge = sections[found[0]] if len(found) == 1 else None
            if not found:
                verify = [other for other in sections if other.startswith("verify.")]
                message = f'there is no step "{name}"{nearest(name, verify, "verify steps")}'
            elif judge is None:
                message = f"{name} is {len(found)} steps, one of each variant. Name one, such as {found[0]}"
            elif judge.phase != "verify":
                message = f"{name} is no verify step, and only those judge"
            elif judge.environment != section.environment:
                message = (
                    f"{name} is about {judge.environment}, and not {section.environment}. Say there: "
                    f'environment = "{section.environment}"'
                )
            else:
                continue
            raise ConfigError(message, section=section.place("rollout"), key="rollout.judge")


def check_inside(sections: Mapping[str, Section], meant: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse to run inside of what is no build step, or not one. Raises ConfigError."""
    for section in sections.values():
        if section.keys.inside is None:
            continue
        name = section.keys.inside.step
        if name not in meant:
            builds = [other for other in meant if other.startswith("build.")]
            message = f'there is no step "{name}"{nearest(name, builds, "build steps")}'
        elif section.name in meant[name]:
            message = "the step names itself, and runs before there is what it makes. Name another"
        elif meant[name] != (name,):
            several = f"{name} is {len(meant[name])} steps, one of each variant"
            message = f"{several}. Name one of them, such as {meant[name][0]}"
        elif sections[name].phase != "build":
            message = f"{name} is no build step: it makes nothing that a program could run inside of"
        else:
            continue
        raise ConfigError(message, section=section.place("inside"), key="inside")


def check_results(
    section: Section,
    condition: Node,
    meant: Mapping[str, tuple[str, ...]],
    behind: Callable[[], Collection[str]],
) -> None:
    """Refuse a condition that asks for the result of a step that is not over by then. Raises ConfigError.

    `behind` gives all nodes that the step waits for, and itself.
    """
    from penstock.terms import Result, asked

    for name in (entry.step for entry in asked(condition) if isinstance(entry, Result)):
        if name not in meant:
            message = f'there is no step "{name}"{nearest(name, meant, "steps")}'
        elif meant[name] != (name,):
            several = f"{name} is {len(meant[name])} steps, one of each variant"
            message = f"{several}. Name one of them, such as {meant[name][0]}"
        elif name == section.name or name not in behind():
            why = (
                "is the step itself" if name == section.name else f"is nothing that {section.name} waits for"
            )
            message = f"{name} {why}, so there is no result of it by then. Add it to needs, or take it out"
        else:
            continue
        raise ConfigError(message, section=section.place("when"), key="when")


def stages_of(
    sections: Mapping[str, Section], environments: tuple[str, ...], meant: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    """The stage of each step: its own, or that of the latest step that it needs, if that is later.

    Raises ConfigError where steps wait for each other.
    """
    stages: dict[str, int] = {}
    places = {environment: place for place, environment in enumerate(environments)}
    needs = {
        name: [
            *(step for need in section.keys.needs or () for step in meant[need]),
            *([section.keys.inside.step] if section.keys.inside else ()),
        ]
        for name, section in sections.items()
    }
    for start in sections:
        path: dict[str, None] = {}
        queue: list[tuple[str, bool]] = [(start, False)]
        while queue:
            name, done = queue.pop()
            if done:
                del path[name]
                stages[name] = _stage(sections[name], needs[name], stages, places)
            elif name not in stages:
                if name in path:
                    way = list(path)
                    circle = [*way[way.index(name) :], name]
                    message = (
                        f"these steps wait for each other: {' → '.join(circle)}. Take one of the needs out"
                    )
                    key = "needs" if sections[circle[0]].keys.needs else "inside"
                    raise ConfigError(message, section=sections[circle[0]].place(key), key=key)
                path[name] = None
                queue.append((name, True))
                queue.extend((need, False) for need in needs[name])
    return stages


def check_cached(sections: Mapping[str, Section], stages: Mapping[str, int]) -> None:
    """Refuse to take over the result of a step that comes after a deployment. Raises ConfigError."""
    for name, section in sections.items():
        if section.keys.cached is not None and stages[name] >= _FIRST_ENVIRONMENT:
            message = (
                "the step comes after a deployment: what runs there may have changed though no input of this "
                "step has. Leave it out"
            )
            raise ConfigError(message, section=base_of(name), key="cache")


def _stage(
    section: Section, needs: Iterable[str], stages: Mapping[str, int], places: Mapping[str, int]
) -> int:
    own = _STAGE.get(section.phase, 0)
    if section.environment and section.phase in _IN_ENVIRONMENT:
        own = _FIRST_ENVIRONMENT + _SLOTS * places[section.environment] + _IN_ENVIRONMENT[section.phase]
    latest = max((stages[need] for need in needs), default=0)
    if latest <= own:
        return own
    if section.phase in _TESTS and latest >= _FIRST_ENVIRONMENT:
        # A test of what was deployed: nothing that deploys there waits for it, what comes after does.
        place = (latest - _FIRST_ENVIRONMENT) // _SLOTS
        return _FIRST_ENVIRONMENT + _SLOTS * place + _IN_ENVIRONMENT[section.phase]
    return latest
