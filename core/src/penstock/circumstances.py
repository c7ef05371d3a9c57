"""What a statement says about the run that made it. Pure."""

from penstock.inhouse import PluginFile
from penstock.model import Artifact, Model, Revision, Tool
from penstock.parameters import Given


class Circumstances(Model):
    """What a statement says about the run that made it."""

    pipeline: str
    run: int
    plan: str
    config: str
    version: str
    plugins: dict[str, str]
    files: tuple[PluginFile, ...] = ()
    tools: tuple[Tool, ...] = ()
    services: dict[str, tuple[Tool, ...]] = {}
    parameters: dict[str, Given] = {}
    revision: Revision
    started: float
    finished: float
    inside: Artifact | None = None
