"""The cache: finds a result that may be taken over instead of running a step, and says what it depends on.

There is no second record of results: an entry is the `step.finished` of the run that made it, read from
the chained journal, and all that it names is compared with its digest before it is used.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue

from penstock import __version__, cachekey
from penstock.cachekey import Files, Parts, Unusable
from penstock.errors import PluginError, StepRefused
from penstock.home import Home
from penstock.journal import Events
from penstock.keys import Cache as Wanted
from penstock.model import Artifact, Event, Revision, Tool
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins
from penstock.proof import check_bytes
from penstock.request import Request, Response, hidden_variables, make_request
from penstock.state import LETS_ON, RunState

TICKET = "\0tools"
"""Of the request for tools: no step's name looks like that."""
_DAY = 86400.0
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


class Known(NamedTuple):
    """What the result of one step depends on."""

    parts: Parts
    key: str
    """Of results that are good for any revision."""
    bound: str
    """Of results that are good for this revision only."""
    files: Files
    tools: str
    """The digest of its tools."""
    revision: Revision


class Looked(NamedTuple):
    """What a look into the cache led to."""

    known: Known | None
    data: dict[str, Any] | None = None
    """What `step.finished` says where a result is taken over."""
    notes: tuple[str, ...] = ()
    """Why none is, where that is worth a line."""


class Cache:
    """Looks for results on behalf of one run, or of whoever asks what a run would do."""

    def __init__(self, home: Home, journal: Events, plugins: Plugins, plan: Plan) -> None:
        self._home = home
        self._journal = journal
        self._plugins = plugins
        self._plan = plan
        self._asked: dict[str, PlanStep] = {}
        self._tools: dict[str, tuple[Tool, ...] | str] | None = None
        self._looked: dict[str, Looked] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._machine: dict[str, str] = {}
        self._entries: tuple[str, list[dict[str, str | int]]] | None = None
        self._files: dict[tuple[str, tuple[str, ...] | None], Files | Unusable] = {}
        self._parts: dict[int, tuple[tuple[Artifact, ...], dict[str, JsonValue]]] = {}
        self._whole: set[str] = set()

    # --- what tools there are ---

    @property
    def ready(self) -> bool:
        """Whether the tools are known."""
        return self._tools is not None

    def question(self, state: RunState) -> Request | None:
        """What a worker is to be asked before anything can be looked up; None: nothing."""
        self._asked = steps = self._distinct(state)
        if not steps:
            return None
        about = tuple(steps.values())
        # What a step is handed is worked out once, and of these it is not there yet: of the first step it is.
        request = make_request(self._plan, state, self._plan.steps[0].name, "tools", about=about)
        asker = PlanStep(name="cache", phase="test", uses=None)
        info = request.info.model_copy(update={"name": asker.name, "attempt": 1, "secrets": {}, "env": {}})
        return request.model_copy(update={"step": asker, "info": info})

    def learn(self, response: Response) -> None:
        """Take in the worker's answer; without one no step is taken from the cache."""
        told = response.data.get("tools", ()) if response.outcome == "passed" else ()
        if len(told) != len(self._asked):
            told = [response.reason or "nobody answered"] * len(self._asked)
        self._tools = {
            name: answer if isinstance(answer, str) else tuple(Tool.model_validate(tool) for tool in answer)
            for name, answer in zip(self._asked, told, strict=True)
        }

    def _distinct(self, state: RunState) -> dict[str, PlanStep]:
        """One step for each plugin and settings, of those that may still be looked for."""
        found: dict[str, PlanStep] = {}
        for step in self._plan.steps:
            if step.keys.cached is not None and state.steps[step.name].state in ("pending", "running"):
                found.setdefault(_alike(step), step)
        return found

    # --- what is there ---

    def look(
        self, state: RunState, name: str, now: float, *, take: bool = True, keep: bool = False
    ) -> Looked:
        """Look for a result of a step that is ready; with `take=False` only what it would depend on.

        One that can't be used is found no more, unless `keep` says that nothing is to be written.
        """
        step = self._plan.by_name[name]
        known = self._known(state, step)
        if isinstance(known, Unusable):
            looked = Looked(None, notes=(f"! not cached: {known.why}",))
        elif not take:
            looked = Looked(known)
        else:
            looked = self._found(state, step, known, now, keep=keep)
        if looked.data is None:
            self._looked[name] = looked
        return looked

    def _found(self, state: RunState, step: PlanStep, known: Known, now: float, *, keep: bool) -> Looked:
        if self._signs(state):
            return Looked(known, notes=("not taken from the cache: it comes after the sign step",))
        notes = []
        for number, event in self._journal.results((known.key, known.bound)):
            fault = (
                "its record in the journal was changed" if event is None else self._fault(step, known, event)
            )
            if event is not None and fault is None:
                if too_old := _too_old(step, event, now):
                    notes.append(f"not taken from the cache: the result of run {event.run} is {too_old}")
                    break
                return Looked(known, _taken_over(event))
            if not keep:
                self._journal.forget(number)
            run = f"of run {event.run} " if event else ""
            notes.append(f"! not taken from the cache: the result {run}can't be used: {fault}")
        return Looked(known, notes=tuple(notes))

    def _fault(self, step: PlanStep, known: Known, event: Event) -> str | None:
        """What speaks against using an entry; None: nothing."""
        cache, data = event.data.get("cache"), event.data
        if (event.type, event.step, data.get("state")) != ("step.finished", step.name, "passed"):
            return "it is no result of this step"
        if not isinstance(cache, dict) or cache.get("key") not in (known.key, known.bound):
            return "it is on record under another key"
        try:
            for artifact in data.get("artifacts", ()):
                self._check(Artifact.model_validate(artifact))
            digests = [entry["statement"] for entry in data.get("evidence", ())]
            for digest in (*digests, *([data["report"]] if data.get("report") else ())):
                if digest not in self._whole:
                    self._home.store.verify(digest)
                    self._whole.add(digest)
        except StepRefused as error:
            return str(error)
        return None

    def _check(self, artifact: Artifact) -> None:
        if artifact.digest not in self._whole:
            check_bytes(self._home, artifact)
            self._whole.add(artifact.digest)

    def _signs(self, state: RunState) -> bool:
        """Whether the sign step is done: nobody would sign the evidence that is taken over."""
        signer = self._plan.signer
        return signer is not None and state.steps[signer.name].state in LETS_ON

    # --- what is kept ---

    def kept(self, state: RunState, name: str, response: Response) -> dict[str, Any]:
        """The data of a step's response as they go on record: with its key, if it may be taken over."""
        data = dict(response.data)
        seen = data.pop("observed", None)
        looked = self._looked.pop(name, None) or Looked(None)
        if response.outcome != "passed":
            return data
        notes = list(looked.notes)
        tests = data.get("tests") or {}
        if state.steps[name].attempts > 1 or tests.get("flaky"):
            notes.append("not kept for the cache: it did not pass at once")
        elif tests.get("quarantined"):  # until a day that the key knows nothing of
            notes.append("not kept for the cache: a test failed, in quarantine")
        elif data.get("exempted"):  # the same
            notes.append("not kept for the cache: a finding passes until a day only")
        elif looked.known is not None and seen is not None:
            if seen["tools"] == looked.known.tools:
                entry = self._entry(state, looked.known, bound=bool(seen["revision"]))
                data["cache"] = {**entry, "notes": data.get("notes", [])}
            else:
                notes.append("! not kept for the cache: a tool was replaced while the step ran")
        return {**data, "notes": [*data.get("notes", ()), *notes]} if notes else data

    def _entry(self, state: RunState, known: Known, *, bound: bool) -> dict[str, Any]:
        revision = state.revision or Revision()
        if known.files.listing is not None and not self._home.store.has(known.files.digest):
            with suppress(PluginError):  # what is needed in order to say what changed, and for nothing else
                self._home.store.add_bytes(known.files.listing)
        parts = cachekey.with_revision(known.parts, revision) if bound else known.parts
        return {
            "key": known.bound if bound else known.key,
            "parts": cachekey.recorded(parts),
            "project": self._plan.name,
            "ref": revision.ref,
            "commit": revision.commit,
        }

    # --- what a result depends on ---

    def _known(self, state: RunState, step: PlanStep) -> Known | Unusable:
        wanted = step.keys.cached
        assert wanted is not None
        revision = state.revision
        if revision is None or revision.snapshot is None:
            return Unusable("there is no snapshot of the source")
        tools = (self._tools or {}).get(_alike(step), "nobody asked for them")
        if isinstance(tools, str):
            return Unusable(f"its tools can't be told: {tools}")
        artifacts = state.artifacts_for(step.name)
        try:
            files = self._chosen(revision.snapshot, wanted)
        except StepRefused as error:
            return Unusable(str(error))
        if isinstance(files, Unusable):
            return files
        if wanted.inputs == () and not artifacts:
            return Unusable("it has no inputs: no file counts, and no artifact comes before")
        env = {name: self._value(name, step, revision) for name in wanted.env}
        parts = cachekey.parts_of(
            step,
            self._handed(artifacts),
            files.digest,
            env,
            tools,
            self._codes_of(step),
            self._where(),
            dirty=revision.dirty,
            parameters=dict(self._plan.parameters),
        )
        if cachekey.speaks_of_revision(step):
            parts = cachekey.with_revision(parts, revision)
        bound = cachekey.digest_of(cachekey.with_revision(parts, revision))
        return Known(parts, cachekey.digest_of(parts), bound, files, cachekey.of_tools(tools), revision)

    def _handed(self, artifacts: tuple[Artifact, ...]) -> dict[str, JsonValue]:
        """What a step is handed, as it counts: steps behind one barrier share one tuple, which stays."""
        if id(artifacts) not in self._parts:
            self._parts[id(artifacts)] = artifacts, cachekey.artifacts_part(artifacts)
        return self._parts[id(artifacts)][1]

    def _chosen(self, snapshot: str, wanted: Wanted) -> Files | Unusable:
        key = snapshot, wanted.inputs
        if key not in self._files:
            self._files[key] = (
                Files(snapshot, None)
                if wanted.inputs is None
                else cachekey.files_of(self._manifest(snapshot), wanted.inputs)
            )
        return self._files[key]

    def _manifest(self, snapshot: str) -> list[dict[str, str | int]]:
        if self._entries is None or self._entries[0] != snapshot:
            self._entries = snapshot, self._home.store.tree(snapshot)
        return self._entries[1]

    def _value(self, name: str, step: PlanStep, revision: Revision) -> str | None:
        """An environment variable as the step sees it."""
        if name in step.keys.env:
            return step.keys.env[name]
        if name == "PENSTOCK_REVISION":
            return revision.commit or ""
        if name in hidden_variables(self._plan, step):
            return None
        if name == "SOURCE_DATE_EPOCH" and name not in os.environ:
            return None if revision.time is None else str(revision.time)
        return os.environ.get(name)

    def _codes_of(self, step: PlanStep) -> dict[str, str]:
        """Which plugin, and which others start its services."""
        found = self._code(step.uses or "")
        for other in {service.plugin for service in step.services} - {step.uses}:
            code = self._code(other)
            found = {**found, other: code[other], f"code of {other}": code["code"]}
        return found

    def _code(self, name: str) -> dict[str, str]:
        """A plugin: its version, and its code, which may change without one."""
        if name not in self._codes:
            module = self._plugins.modules.get(name)
            file = self._plugins.files.get(name)
            self._codes[name] = (
                {name: file.path, "code": file.digest}  # its version is its digest
                if file
                else {
                    name: self._plan.plugins.get(name, ""),
                    "code": _code_of(getattr(module, "__file__", None)),
                }
            )
        return self._codes[name]

    def _where(self) -> dict[str, str]:
        if not self._machine:
            self._machine = machine()
        return self._machine


def machine() -> dict[str, str]:
    """What the results of all steps depend on: this Penstock, its Python, this kind of machine."""
    import platform

    try:
        release = platform.freedesktop_os_release()
        system = f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()
    except OSError:
        system = platform.mac_ver()[0]
    name = os.uname()
    return {
        "penstock": __version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "at": sys.prefix,
        "system": f"{name.sysname} {name.machine} {system}",
    }


def _code_of(file: str | None) -> str:
    """The digest of a plugin's own Python files."""
    if file is None:
        return ""
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    hasher = hashlib.sha256()
    for each in files:
        try:
            data = each.read_bytes()
        except OSError:  # what can't be read, such as a link to nothing, can't be executed either
            continue
        hasher.update(
            f"{each.relative_to(path.parent)}\0{len(data)}\0".encode(errors="surrogateescape") + data
        )
    return "sha256:" + hasher.hexdigest()


def _alike(step: PlanStep) -> str:
    served = (service.model_dump(mode="json") for service in step.services)
    return cachekey.digest_of([step.uses, step.settings, step.keys.inside is None, *served])


def _too_old(step: PlanStep, event: Event, now: float) -> str | None:
    wanted = step.keys.cached
    assert wanted is not None
    limit = wanted.expires if wanted.expires is not None or step.phase != "scan" else _DAY
    if limit is None or event.time <= now < event.time + limit:
        return None
    return f"older than {_in_words(limit)}" if now >= event.time else "of a time that is still to come"


def _in_words(seconds: float) -> str:
    for unit, word in _UNITS:
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {word}"
    return f"{seconds:g} s"


def _taken_over(event: Event) -> dict[str, Any]:
    """A result as another run takes it over. Its evidence is signed with all that this run has on record."""
    evidence = [{**entry, "bundles": [], "signers": []} for entry in event.data.get("evidence", ())]
    origin = {
        "run": event.run,
        "event": event.id,
        "why": "nothing that it depends on has changed",
        **{name: event.data["cache"][name] for name in ("project", "ref", "commit")},
    }
    # What that run had to say of its own look into the cache is not repeated.
    notes = event.data["cache"]["notes"]
    return {**event.data, "notes": notes, "evidence": evidence, "state": "cached", "origin": origin}
