"""What a statement says about the run that made it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from penstock.inhouse import PluginFile
from penstock.model import Artifact, Revision, Tool
from penstock.parameters import Given


class Circumstances(NamedTuple):
    """What a statement says about the run that made it."""

    pipeline: str
    run: int
    plan: str
    config: str
    version: str
    plugins: Mapping[str, str]
    revision: Revision
    started: float
    finished: float
    files: tuple[PluginFile, ...] = ()
    tools: tuple[Tool, ...] = ()
    services: Mapping[str, tuple[Tool, ...]] = MappingProxyType({})
    parameters: Mapping[str, Given] = MappingProxyType({})
    inside: Artifact | None = None
