"""What is run as it is committed at a revision, and not as it lies here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penstock import revisions
from penstock.cli.common import load_plan
from penstock.config import Project
from penstock.home import Home
from penstock.model import Revision
from penstock.plan import Plan
from penstock.plugins import Plugins
from penstock.revisions import Sources

Configured = tuple[Project, Plugins, Plan, dict[str, Any]]
"""A configuration and its plan, with what the run that it is for has to record."""


def load_named(path: Path, name: str, words: Iterable[str]) -> Configured:
    """The configuration of the revision that a name means. Raises ConfigError where it means none."""
    _, plugins, plan = load_plan(path)
    source = revisions.sources(path.parent, plugins, plan, what="--rev")
    return load_at(Home.of(path.parent), source, revisions.find(source, name), words)


def load_at(home: Home, source: Sources, revision: Revision, words: Iterable[str] = ()) -> Configured:
    """The configuration of a revision."""
    path = revisions.configuration(home, source, revision)
    project, plugins, plan = load_plan(path, words, root=source.root)
    recorded = {"revision": revision.model_dump(mode="json"), "configuration": path.parent.name}
    return project, plugins, plan, recorded
