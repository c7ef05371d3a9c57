"""The programs that a step's plugin runs, as the plugin names them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.errors import PluginError, in_words
from penstock.model import Tool
from penstock.plan import PlanStep
from penstock.plugins import Plugins

_HOOK = "penstock_tools"


def of(plugins: Plugins, step: PlanStep) -> tuple[Tool, ...]:
    """The tools of a step. Raises what the plugin raises.

    Inside of an artifact other programs run than this machine's: that artifact's digest speaks for them.
    """
    name = step.uses
    if step.keys.inside is not None or name is None or not plugins.has(name, _HOOK):
        return ()
    found = plugins.call(name, _HOOK, settings=plugins.settings(name, _HOOK, step.settings)) or ()
    if not all(isinstance(tool, Tool) for tool in found):
        raise PluginError(f'the plugin "{name}" returned from {_HOOK} what is no list of Tool')
    return tuple(found)


def tell(plugins: Plugins, steps: Iterable[PlanStep]) -> list[Any]:
    """For each step its tools, or in words why they can't be told: the step itself fails of that."""
    told: list[Any] = []
    for step in steps:
        try:
            told.append([tool.model_dump(mode="json") for tool in of(plugins, step)])
        except Exception as error:
            told.append(in_words(error))
    return told
