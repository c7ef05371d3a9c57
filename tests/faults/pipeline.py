"""A pipeline of sixty steps that says on the disk what it does, and what must hold of it however it was cut off."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from penstock import processes
from penstock.journal import Journal
from penstock.model import Event

from tests.broken.place import Place

STEPS = 60
TARGETS = 4
_TESTS = 45
_BUILDS = 10
RETRIED = ("test.t07", "test.t23")

PLUGIN = """
def say(step, what):
    # One write of one line: whole, or not there.
    line = f"{step.number} {step.name} {what} {time.time()!r}\\n".encode()
    file = os.open(step.project.parent / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)

class Do(Settings):
    milliseconds: int = 0
    child: bool = False
    fails_first: bool = False

def work(settings, step):
    say(step, "begins")
    if settings.fails_first:
        mark = step.project.parent / f"failed-{step.number}-{step.name}"
        if not mark.exists():
            mark.touch()
            raise StepFailed("the first time")
    step.log("x" * 400)
    (step.tmp / "scratch").write_text("scratch")
    (step.workspace / "made").write_text("made")
    if settings.child:
        step.run(["sh", "-c", "sleep 5 & sleep 0.01"])
    time.sleep(settings.milliseconds / 1000)

@hookimpl
def penstock_source(settings: Do, step):
    work(settings, step)
    for number in range(8):
        (step.workspace / f"source-{number}.txt").write_text("source")
    say(step, "ends")
    return Revision(commit="c0ffee0" + "0" * 33)

@hookimpl
def penstock_build(settings: Do, step):
    work(settings, step)
    box = step.workspace / f"{step.name}.box"
    box.write_bytes(step.name.encode() * 20_000)
    artifact = step.keep(box, "file")
    say(step, "ends")
    return [artifact]

@hookimpl
def penstock_test(settings: Do, step):
    work(settings, step)
    for artifact in step.artifacts[:2]:
        step.fetch(artifact).read_bytes()
    say(step, "ends")
    return PASSED

@hookimpl
def penstock_verify(settings: Do, step):
    work(settings, step)
    say(step, "ends")
    return Verification(checks=(Check(name="there", passed=True),))

class Place(Target):
    def observe(self, step):
        path = Path(self.id)
        return TargetState(release=path.read_text() if path.exists() else None)
    def apply(self, release, step):
        say(step, f"applies:{self.id}")
        path = Path(self.id)
        new = path.with_suffix(".half")
        new.write_text(release.digest)
        time.sleep(0.005)
        new.rename(path)
    def probe(self, step):
        return Health(status="healthy" if Path(self.id).exists() else "unhealthy")
    def restore(self, state, step):
        say(step, f"restores:{self.id}")
        raise AssertionError("nothing is wrong with it")

class Places(Settings):
    places: tuple[str, ...]

@hookimpl
def penstock_targets(settings: Places, step):
    return [Place(id=place) for place in settings.places]
"""


class Effect(NamedTuple):
    """What a step said that it does."""

    run: int
    step: str
    what: str
    time: float


class Sixty:
    """The project."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.plugin("sixty", PLUGIN)
        place.toml(self._config(), ("sixty", "sigstore"))
        self.targets = [place.base / f"target-{number}" for number in range(TARGETS)]

    @property
    def home(self) -> Path:
        return self.place.root / ".penstock"

    def _config(self) -> str:
        parts = ['[source.it]\nuses = "sixty"\n', '[sign.release]\nuses = "sigstore"\n']
        parts += [f'[build.b{n:02}]\nuses = "sixty"\nmilliseconds = {n % 4}\n' for n in range(_BUILDS)]
        for n in range(_TESTS):
            name = f"t{n:02}"
            lines = [f"[test.{name}]", 'uses = "sixty"', f"milliseconds = {n % 7}"]
            lines += ["child = true"] if n % 9 == 4 else []
            lines += ["fails_first = true", "retries = 1"] if f"test.{name}" in RETRIED else []
            parts.append("\n".join(lines) + "\n")
        places = json.dumps([f"{{here}}/target-{n}" for n in range(TARGETS)])
        rollout = 'rollout = { strategy = "rolling", batch = 1 }\n'
        parts.append(f'[deploy.live]\nuses = "sixty"\nplaces = {places}\n{rollout}')
        parts += [f'[verify.{name}]\nuses = "sixty"\nenvironment = "live"\n' for name in ("live", "again")]
        return "\n".join(parts)

    def events(self, run: int) -> list[Event]:
        journal = Journal(self.home / "journal.db")
        try:
            return journal.events(run)
        finally:
            journal.close()

    def newest(self) -> int:
        """The number of the newest run on record; 0 where there is none."""
        if not (self.home / "journal.db").exists():
            return 0
        # Not `mode=ro`: whoever only reads can't take in what a killed process has left in the log beside it.
        with closing(sqlite3.connect(f"file:{self.home}/journal.db?mode=rw", uri=True)) as database:
            if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'runs'").fetchone():
                return 0  # killed before it had a table
            return int(database.execute("SELECT coalesce(max(run), 0) FROM runs").fetchone()[0])

    def effects(self, run: int) -> list[Effect]:
        path = self.place.base / "effects"
        lines = [line.split(" ") for line in path.read_text().splitlines()] if path.exists() else []
        found = [Effect(int(number), step, what, float(when)) for number, step, what, when in lines]
        return [effect for effect in found if effect.run == run]

    # --- what must hold ---

    def check_run(self, run: int) -> None:
        """Each step finished once and was not begun again after that; what it did is there."""
        events = self.events(run)
        finished = {str(event.step): event for event in events if event.type == "step.finished"}
        count = Counter(str(event.step) for event in events if event.type == "step.finished")
        assert len(finished) == STEPS, sorted(finished)
        assert set(count.values()) == {1}
        assert {event.data["state"] for event in finished.values()} == {"passed"}
        assert [event.data["state"] for event in events if event.type == "run.finished"] == ["passed"]
        begun = Counter(
            str(event.step) for event in events if event.type in ("step.started", "step.repeated")
        )
        begins: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        for effect in self.effects(run):
            assert effect.time < finished[effect.step].time, f"begun again after it was finished: {effect}"
            begins[effect.step] += effect.what == "begins"
            ends[effect.step] += effect.what == "ends"
        silent = {"sign.release", "deploy.live"}
        assert set(ends) - silent == set(finished) - silent
        assert all(begins[step] <= begun[step] for step in begins), "each begin is on record before it begins"
        retried = Counter(str(event.step) for event in events if event.type == "step.retried")
        assert set(retried) <= set(RETRIED)
        assert all(number == 1 for number in retried.values())
        self._check_rollout(run, events, finished["deploy.live"])
        assert any(event.type == "journal.sealed" for event in events)

    def _check_rollout(self, run: int, events: list[Event], finished: Event) -> None:
        release = next(event.data["release"]["digest"] for event in events if event.type == "rollout.began")
        assert [target.read_text() for target in self.targets] == [release] * TARGETS
        assert not any(effect.what.startswith("restores") for effect in self.effects(run))
        applied: dict[str, Any] = {}
        for event in events:
            if event.type == "rollout.ended" and event.data["op"] == "apply":
                assert event.data["ok"], event.data
                assert event.data["target"] not in applied, "changed twice"
                applied[event.data["target"]] = event.time
        assert list(applied) == [str(target) for target in self.targets], "one after another"
        for effect in self.effects(run):
            if effect.what.startswith("applies:"):
                assert effect.time < applied[effect.what.partition(":")[2]], "changed again after it was done"
        assert finished.time >= max(applied.values())

    def check_nothing_is_left(self) -> None:
        """No process, no lock, no file of somebody who is gone."""
        assert processes.marked(f"{self.home}/") == []
        for lock in self.home.rglob("*.lock"):
            assert is_free(lock), lock
        for place in (self.home / "workspaces").iterdir():
            assert is_free(place / "lock"), place
            assert {entry.name for entry in place.iterdir()} <= {".git", "files", "lock", "note.json", "tmp"}
            assert not (place / "tmp").exists() or not list((place / "tmp").iterdir())
        assert list((self.home / "artifacts" / "incoming").iterdir()) == []
        assert list(self.home.rglob("*.new")) == []
        assert list((self.home / "runs").glob("*/wake")) == []
        assert list((self.place.base / "tmp").iterdir()) == []

    def check_journal(self) -> None:
        """The chain holds."""
        journal = Journal(self.home / "journal.db")
        try:
            assert journal.check()[2] is None
        finally:
            journal.close()


def is_free(lock: Path) -> bool:
    file = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
