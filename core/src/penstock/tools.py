"""The programs that a step's plugin runs, as the plugin names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import JsonValue

from penstock.beside import TOOLS_HOOK
from penstock.errors import PenstockError, PluginError, in_words
from penstock.model import Tool
from penstock.plan import PlanStep
from penstock.plugins import Plugins

_HOOK = "penstock_tools"


def of(plugins: Plugins, step: PlanStep) -> tuple[Tool, ...]:
    """The tools of a step. Raises what the plugin raises.

    Inside of an artifact other programs run than this machine's: that artifact's digest speaks for them.
    """
    if step.keys.inside is not None:
        return ()
    return _named(plugins, step.uses, _HOOK, step.settings)


def of_services(plugins: Plugins, step: PlanStep) -> tuple[Tool, ...]:
    """What the services of a step would be started from. Raises what a plugin raises."""
    return tuple(
        tool
        for service in step.services
        for tool in _named(plugins, service.plugin, TOOLS_HOOK, service.settings)
    )


def _named(
    plugins: Plugins, name: str | None, hook: str, settings: Mapping[str, JsonValue]
) -> tuple[Tool, ...]:
    if name is None or not plugins.has(name, hook):
        return ()
    found = plugins.call(name, hook, settings=plugins.settings(name, hook, settings)) or ()
    if not all(isinstance(tool, Tool) for tool in found):
        raise PluginError(f'the plugin "{name}" returned from {hook} what is no list of Tool')
    return tuple(found)


def tell(plugins: Plugins, steps: Iterable[PlanStep]) -> list[Any]:
    """For each step its tools, or in words why they can't be told: the step itself fails of that."""
    told: list[Any] = []
    for step in steps:
        try:
            found = (*of(plugins, step), *of_services(plugins, step))
            told.append([tool.model_dump(mode="json") for tool in found])
        except Exception as error:
            told.append(str(error) if isinstance(error, PenstockError) else in_words(error))
    return told
