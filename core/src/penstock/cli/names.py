"""The names that a project and its journal know, read as quickly as they can be: for completion only.

The configuration is not checked and no model is built; the journal is opened to read, and never waited for.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.configfile import ConfigFile, find

_PHASES = ("source", "build", "test", "scan", "sign", "publish", "approve", "deploy", "verify")
_IN_ENVIRONMENT = ("approve", "deploy", "verify")
_OWN = ("requires", "plugins")
_RUNS = 20
_EVENTS = 200


class Names:
    """The names in a project, by what they are, each with a few words about it."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def steps(self, run: str | None) -> Mapping[str, str]:
        """The steps of a run, or of the configuration."""
        if run is not None:
            return {step["name"]: step["uses"] or "" for step in self._plan(run)["steps"]}
        found = {f"{phase}.{name}": str(keys.get("uses", "")) for phase, name, keys in self._sections()}
        return found if any(name.startswith("source.") for name in found) else {"source": "", **found}

    def environments(self) -> Mapping[str, str]:
        """The environments, in the order in which they are deployed to."""
        found: dict[str, str] = {}
        for phase, name, keys in sorted(self._sections(), key=lambda section: section[0] != "deploy"):
            if phase in _IN_ENVIRONMENT:
                found.setdefault(str(keys.get("environment", name)), "")
        return found

    def runs(self, states: tuple[str, ...]) -> Mapping[str, str]:
        """The newest runs, those in one of these states where some are given."""
        with self._journal() as journal:
            rows = list(
                journal.execute("SELECT run, state, revision FROM runs ORDER BY run DESC LIMIT ?", (_RUNS,))
            )
        found = {
            str(run): f"{state} {(revision or '')[:7]}".strip()
            for run, state, revision in rows
            if not states or state in states
        }
        last = str(rows[0][0]) if rows else ""
        return {"last": found[last], **found} if last in found else found

    def artifacts(self, run: str) -> Mapping[str, str]:
        """What a run built, by name."""
        which = "(SELECT max(run) FROM runs)" if run == "last" else "?"
        values = () if run == "last" else (int(run),)
        query = f"SELECT data FROM events WHERE run = {which} AND type = 'step.finished' ORDER BY id"  # noqa: S608 - no text of others
        with self._journal() as journal:
            rows = [json.loads(data) for (data,) in journal.execute(query, values)]
        built = [artifact for row in rows for artifact in row.get("artifacts", ())]
        return {entry["name"]: entry["kind"] for entry in built}

    def digests(self, begin: str) -> Mapping[str, str]:
        """The digests of what was built, the newest first; with `sha256:` for who began so."""
        prefix = "sha256:" if begin.startswith("s") else ""
        query = "SELECT data FROM events WHERE type = 'step.finished' ORDER BY id DESC LIMIT ?"
        with self._journal() as journal:
            rows = [json.loads(data) for (data,) in journal.execute(query, (_EVENTS,))]
        built = [artifact for row in rows for artifact in row.get("artifacts", ())]
        return {prefix + entry["digest"].removeprefix("sha256:"): entry["name"] for entry in built}

    def plugins(self) -> Mapping[str, str]:
        """The plugins that are installed; none is imported."""
        from importlib.metadata import entry_points

        return dict.fromkeys(sorted(entry_points(group="penstock").names), "")

    def parameters(self) -> Mapping[str, str]:
        """The parameters, each with what it may be set to where that is known."""
        table = ConfigFile(find(self._place), _OWN).read().get("parameters", {})
        found: dict[str, str] = {}
        for name, entry in table.items():
            whole = entry if isinstance(entry, dict) else {"default": entry}
            either = ["false", "true"] if isinstance(whole.get("default"), bool) else [""]
            for choice in whole.get("choices", either):
                found[f"{name}={choice}"] = str(whole.get("description", ""))
        return found

    def _sections(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        data = ConfigFile(find(self._place), _OWN).read()
        for phase in _PHASES:
            for name, keys in data.get(phase, {}).items():
                yield phase, name, keys

    def _plan(self, run: str) -> Mapping[str, Any]:
        which = "(SELECT max(run) FROM runs)" if run == "last" else "?"
        values = () if run == "last" else (int(run),)
        with self._journal() as journal:
            [(digest,)] = journal.execute(f"SELECT plan FROM runs WHERE run = {which}", values)  # noqa: S608 - no text of others
        digits = digest.removeprefix("sha256:")
        found: Mapping[str, Any] = json.loads(
            (self._home / "artifacts" / digits[:2] / digits[2:]).read_bytes()
        )
        return found

    @property
    def _home(self) -> Path:
        return find(self._place).parent / ".penstock"

    @contextlib.contextmanager
    def _journal(self) -> Iterator[sqlite3.Connection]:
        path = self._home / "journal.db"
        journal = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.1)
        try:
            yield journal
        finally:
            journal.close()
