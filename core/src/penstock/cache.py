"""The cache: finds a result that may be taken over instead of running a step, and says what it depends on.

There is no second record of results: an entry is the `step.finished` of the run that made it, read from
the chained journal, and all that it names is compared with its digest before it is used.
"""

import os
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import JsonValue

from penstock import cachekey
from penstock.cachekey import Files, Parts, Unusable
from penstock.codes import Codes
from penstock.errors import PluginError, StepRefused
from penstock.home import Home
from penstock.journal import Events
from penstock.keys import Cache as Wanted
from penstock.model import Artifact, Event, Revision, Tool
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins
from penstock.proof import check_bytes, texts_of
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
    revision: Revision


class _Alike:
    """What all steps of one plugin with the same settings have in common: worked out once."""

    def __init__(self, step: PlanStep) -> None:
        self.step = step
        self.tools: tuple[Tool, ...] | str = "nobody asked for them"
        self.of_tools = ""
        """The digest of the tools."""
        self.speaks_of_revision = cachekey.speaks_of_revision(step)
        self.recorded: dict[str, str] = {}
        """Their common parts, as they go on record."""

    def learn(self, answer: Any) -> None:
        """Take in which tools they run, or in words why that can't be told."""
        if isinstance(answer, str):
            self.tools = answer
        else:
            self.tools = tuple(Tool.model_validate(tool) for tool in answer)
            self.of_tools = cachekey.of_tools(self.tools)


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
        self._codes = Codes(plugins, plan)
        self._plan = plan
        self._alike: dict[str, _Alike] = {}
        self._alike_to: dict[str, _Alike] = {}  # by step
        self._asked: tuple[_Alike, ...] = ()
        self.ready = False
        """Whether the tools are known."""
        self._looked: dict[str, Looked] = {}
        self._entries: tuple[str, list[dict[str, str | int]]] | None = None
        self._files: dict[tuple[str, tuple[str, ...] | None], Files | Unusable] = {}
        self._parts: dict[int, tuple[tuple[Artifact, ...], dict[str, JsonValue]]] = {}
        self._whole: set[str] = set()

    # --- what tools there are ---

    def question(self, state: RunState) -> Request | None:
        """What a worker is to be asked before anything can be looked up; None: nothing."""
        self._asked = self._distinct(state)
        if not self._asked:
            return None
        about = tuple(alike.step for alike in self._asked)
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
        for alike, answer in zip(self._asked, told, strict=True):
            alike.learn(answer)
        # While workers fetch the source, and not when the first of these steps is due.
        self._codes.look_at(alike.step for alike in self._asked)
        self.ready = True

    def _distinct(self, state: RunState) -> tuple[_Alike, ...]:
        """Those that may still be looked for, by their plugin and settings."""
        found: dict[_Alike, None] = {}
        for step in self._plan.steps:
            if step.keys.cached is not None and state.steps[step.name].state in ("pending", "running"):
                found[self._like(step)] = None
        return tuple(found)

    def _like(self, step: PlanStep) -> _Alike:
        if step.name not in self._alike_to:
            digest = _alike(step)
            if digest not in self._alike:
                self._alike[digest] = _Alike(step)
            self._alike_to[step.name] = self._alike[digest]
        return self._alike_to[step.name]

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
            for digest in texts_of(data):
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
        alike = self._like(self._plan.by_name[name])
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
            if seen["tools"] == alike.of_tools:
                entry = self._entry(state, alike, looked.known, bound=bool(seen["revision"]))
                data["cache"] = {**entry, "notes": data.get("notes", [])}
            else:
                notes.append("! not kept for the cache: a tool was replaced while the step ran")
        return {**data, "notes": [*data.get("notes", ()), *notes]} if notes else data

    def _entry(self, state: RunState, alike: _Alike, known: Known, *, bound: bool) -> dict[str, Any]:
        revision = state.revision or Revision()
        if known.files.listing is not None and not self._home.store.has(known.files.digest):
            with suppress(PluginError):  # what is needed in order to say what changed, and for nothing else
                self._home.store.add_bytes(known.files.listing)
        common, own = cachekey.divided(
            cachekey.with_revision(known.parts, revision) if bound else known.parts
        )
        if not alike.recorded:
            alike.recorded = cachekey.recorded(common)
        return {
            "key": known.bound if bound else known.key,
            "parts": {**alike.recorded, **cachekey.recorded(own)},
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
        alike = self._like(step)
        if isinstance(alike.tools, str):
            return Unusable(f"its tools can't be told: {alike.tools}")
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
            alike.tools,
            self._codes.of(step),
            self._codes.machine(),
            dirty=revision.dirty,
            parameters=dict(self._plan.parameters),
        )
        if alike.speaks_of_revision:
            parts = cachekey.with_revision(parts, revision)
        bound = cachekey.digest_of(cachekey.with_revision(parts, revision))
        return Known(parts, cachekey.digest_of(parts), bound, files, revision)

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
