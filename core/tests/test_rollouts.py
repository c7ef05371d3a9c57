"""Rollouts through the command line: waves, traffic, jobs, judges and people, with targets that are files."""

from __future__ import annotations

import json
import signal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from core.tests.lab import Lab, until

SPOTS = """
import json
from penstock import Check, Job, Verification

class Where(Settings):
    root: str
    spots: int = 3
    sick: str = ""

def write(root, *words):
    with (Path(root) / "log").open("a") as log:
        log.write(" ".join(words) + "\\n")

def flag(root, name):
    path = Path(root) / name
    return path.read_text() if path.exists() else ""

class Spot(Target):
    root: str
    sick: str

    @property
    def shifts(self):
        return bool(flag(self.root, "shifts"))

    def shift(self, share, step):
        write(self.root, f"shift {share:g}", self.id)

    @property
    def path(self):
        return Path(self.root) / self.id

    def observe(self, step):
        return TargetState(release=self.path.read_text() or None if self.path.exists() else None)

    def apply(self, release, step):
        write(self.root, "apply", self.id)
        self.path.write_text(release.digest)

    def probe(self, step):
        sick = self.id == self.sick and self.path.read_text() == flag(self.root, "sick")
        return Health(status="unhealthy" if sick else "healthy")

    def restore(self, state, step):
        write(self.root, "restore", self.id)
        self.path.write_text(state.release or "")

class Note(Job):
    root: str

    def run(self, release, step):
        write(self.root, "job", self.id)
        while flag(self.root, "hang") == self.id:
            time.sleep(0.01)
        if flag(self.root, "bad") == self.id:
            raise StepFailed("no such table")

@hookimpl
def penstock_targets(settings: Where, step):
    return [Spot(id=f"spot-{n}", root=settings.root, sick=settings.sick) for n in range(settings.spots)]

@hookimpl
def penstock_jobs(settings: Where, step):
    return [Note(id="migrate", root=settings.root), Note(id="warm", when="after", root=settings.root)]

class Look(Settings):
    root: str

@hookimpl
def penstock_verify(settings: Look, step):
    write(settings.root, "look")
    said = flag(settings.root, "said")
    if said == "nothing":
        raise RuntimeError("no data")
    return Verification(checks=(Check(name="errors", passed=said != "bad", detail="5%"),))

@hookimpl
def penstock_source(settings: Settings, step):
    (step.workspace / "a.txt").write_text(os.environ.get("CONTENT", "source"))
    return Revision()

@hookimpl
def penstock_build(settings: Settings, step):
    return [step.keep(step.workspace / "a.txt", "file")]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "spots"
    place.mkdir()
    return place


def made(lab: Lab, place: Path, rollout: str, more: str = "", **settings: Any) -> None:
    lab.plugin("spots", SPOTS)
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    lab.toml(
        f"""
[build.it]
uses = "spots"
[deploy.live]
uses = "spots"
root = "{place}"
rollout = {{ {rollout}, interval = "10ms" }}
{keys}
[verify.live]
uses = "spots"
root = "{place}"
{more}
""",
        ("spots",),
    )


def told(place: Path) -> list[str]:
    """What was done, in its order; what is done to several targets together, by their names."""
    path = place / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    groups = [list(group) for _, group in groupby(lines, key=lambda line: line.partition(" ")[0])]
    return [line for group in groups for line in (sorted(group) if group[0].startswith("apply") else group)]


CANARY = 'strategy = "canary", waves = [1, "100%"], judge = ["verify.live"]'


def test_jobs_come_once_before_and_after_and_traffic_in_between(lab: Lab, place: Path) -> None:
    (place / "shifts").write_text("yes")
    made(lab, place, 'strategy = "rolling"', spots=2)

    code, said = lab.run("run")

    assert code == 0, said
    assert told(place) == [
        "job migrate",
        *(f"{what} spot-{n}" for n in range(2) for what in ("shift 0", "apply", "shift 1")),
        "job warm",
        "look",
    ]


def test_a_job_that_fails_before_leaves_all_as_it_was(lab: Lab, place: Path) -> None:
    (place / "bad").write_text("migrate")
    made(lab, place, 'strategy = "rolling"')

    code, said = lab.run("run")

    assert code == 1
    assert told(place) == ["job migrate"]
    assert "the job migrate failed: no such table" in said
    assert "nothing was changed" in said


def test_a_job_that_fails_after_puts_all_back(lab: Lab, place: Path) -> None:
    (place / "bad").write_text("warm")
    made(lab, place, 'strategy = "rolling"', spots=2)

    code, _ = lab.run("run")

    assert code == 1
    assert told(place)[3:] == ["job warm", "restore spot-1", "restore spot-0"]
    assert (place / "spot-0").read_text() == ""


def test_a_job_that_was_cut_off_is_run_again(lab: Lab, place: Path) -> None:
    (place / "hang").write_text("migrate")
    made(lab, place, 'strategy = "rolling"', spots=1)
    child = lab.start("run")
    until(lambda: told(place) == ["job migrate"], within=30)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (place / "hang").unlink()

    code, said = lab.run("resume")

    assert code == 0, said
    assert told(place) == ["job migrate", "job migrate", "apply spot-0", "job warm", "look"]


def test_a_canary_that_is_judged_bad_is_put_back(lab: Lab, place: Path) -> None:
    (place / "said").write_text("bad")
    made(lab, place, CANARY)

    code, said = lab.run("run")

    assert code == 1
    assert told(place) == ["job migrate", "apply spot-0", "look", "restore spot-0"]
    assert "verify.live failed: " in said
    assert "put back to what ran before" in said


def held(lab: Lab, place: Path, rollout: str = CANARY, more: str = "") -> None:
    """A run whose canary nobody could judge."""
    (place / "said").write_text("nothing")
    made(lab, place, rollout, more)

    code, said = lab.run("run")

    assert code == 3, said
    assert "verify.live can't judge: " in said
    assert "no data" in said
    assert "penstock approve" in said
    assert told(place) == ["job migrate", "apply spot-0", "look"]
    assert lab.leftovers() == []


def test_a_canary_that_can_not_be_judged_waits_for_a_person(lab: Lab, place: Path) -> None:
    held(lab, place)

    code, said = lab.run("show", "--json")
    shown = json.loads(said)
    assert shown["state"] == "waiting"
    assert {step["name"]: step["state"] for step in shown["steps"]}["deploy.live"] == "waiting"
    (place / "said").write_text("good")
    code, said = lab.run("approve", "live", "--why", "looked myself")

    assert code == 0, said
    assert "canary in 2 waves, judged by verify.live, let on by " in said
    assert told(place)[3:] == ["apply spot-1", "apply spot-2", "job warm", "look"]
    approvals = [event for event in lab.events() if event.type == "approval.given"]
    assert [event.step for event in approvals] == ["deploy.live"]


def test_a_canary_that_can_not_be_judged_is_put_back_when_it_is_rejected(lab: Lab, place: Path) -> None:
    held(lab, place)

    code, said = lab.run("reject", "live", "--why", "too slow")

    assert code == 1, said
    assert "rejected by " in said
    assert "too slow" in said
    assert told(place)[3:] == ["restore spot-0"]


def test_a_canary_that_could_not_be_judged_is_judged_again_when_it_is_resumed(lab: Lab, place: Path) -> None:
    held(lab, place)

    assert lab.run("resume")[0] == 3
    assert told(place)[3:] == ["look"]
    (place / "said").write_text("good")
    code, said = lab.run("resume")

    assert code == 0, said
    assert told(place)[4:] == ["look", "apply spot-1", "apply spot-2", "job warm", "look"]


def test_a_canary_that_waits_is_put_back_when_the_run_is_cancelled(lab: Lab, place: Path) -> None:
    held(lab, place)

    lab.run("cancel")

    assert lab.states()["deploy.live"] == "failed"
    assert told(place)[3:] == ["restore spot-0"]


def test_a_canary_that_waits_is_not_rolled_back_but_rejected(lab: Lab, place: Path) -> None:
    made(lab, place, CANARY)
    assert lab.run("run", CONTENT="one")[0] == 0
    (place / "log").unlink()
    held(lab, place)

    code, said = lab.run("rollback", "live")

    assert code == 2
    assert "waits for a person to say whether it goes on" in said
    assert "penstock reject 2 live" in said


def test_a_canary_that_waits_gives_way_to_a_newer_release(lab: Lab, place: Path) -> None:
    held(lab, place)
    (place / "said").write_text("good")
    assert lab.run("run", CONTENT="two")[0] == 0
    newest = (place / "spot-2").read_text()

    code, said = lab.run("approve", "1", "live")

    assert code == 130, said
    assert "superseded by run 2, which deployed to live after this rollout was cut off" in said
    assert {(place / f"spot-{n}").read_text() for n in range(3)} == {newest}


def test_what_was_approved_before_does_not_let_a_canary_on(lab: Lab, place: Path) -> None:
    (place / "said").write_text("nothing")
    made(lab, place, CANARY, "[approve.live]\n")

    assert lab.run("run", "--approve", "live")[0] == 3
    assert told(place) == ["job migrate", "apply spot-0", "look"]
    code, said = lab.run("approve", "live")

    assert code == 4, said  # the step that judged is asked again in the end, as every verify step is
    assert told(place)[3:] == ["apply spot-1", "apply spot-2", "job warm", "look"]


def test_a_rollback_comes_in_waves_without_pause_judge_or_job(lab: Lab, place: Path) -> None:
    made(lab, place, CANARY + ', pause = "20ms"')
    assert lab.run("run", CONTENT="one")[0] == 0
    assert lab.run("run", CONTENT="two")[0] == 0
    (place / "log").unlink()
    (place / "said").write_text("nothing")

    lab.run("rollback", "live")

    assert told(place) == ["apply spot-0", "apply spot-1", "apply spot-2", "look"]


def test_status_names_what_drifted_and_what_is_on_its_way(lab: Lab, place: Path) -> None:
    made(lab, place, CANARY)
    assert lab.run("run", CONTENT="one")[0] == 0
    assert lab.run("status", "live")[0] == 0
    first = (place / "spot-0").read_text()
    (place / "spot-1").write_text("sha256:" + "d" * 64)

    code, said = lab.run("status", "live")
    assert code == 1
    assert f"dddd…dddd  healthy  DRIFTED: {first[7:11]}…{first[-4:]} was deployed last" in said
    assert said.count("DRIFTED") == 1
    found = json.loads(lab.run("status", "live", "--json")[1])
    assert found["drifted"] is True
    assert [target["drifted"] for target in found["targets"]] == [False, True, False]
    assert {target["expected"] for target in found["targets"]} == {first}

    (place / "spot-1").write_text(first)
    (place / "said").write_text("nothing")
    assert lab.run("run", CONTENT="two")[0] == 3
    code, said = lab.run("status", "live")
    assert code == 0, said  # a canary is where it was brought
    assert "run 2 brings " in said


def test_status_tells_of_the_others_where_one_can_not_be_asked(lab: Lab, place: Path) -> None:
    made(lab, place, CANARY)
    assert lab.run("run")[0] == 0
    lab.plugin(
        "spots", SPOTS.replace("def observe(self, step):", "def observe(self, step):\n        gone(self)")
    )
    site = next(lab.site.glob("penstock_spots_*.py"))
    assert site
    newest = max(lab.site.glob("penstock_spots_*.py"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_text(newest.read_text() + GONE)

    code, said = lab.run("status", "live", "--json")

    assert code == 1
    found = json.loads(said)["targets"]
    assert [target["drifted"] for target in found] == [False, None, False]
    assert found[1]["detail"] == "no route to host"
    assert [target["health"] for target in found] == ["healthy", "unknown", "healthy"]


GONE = """
def gone(spot):
    if spot.id == "spot-1":
        raise StepFailed("no route to host")
"""


def test_plan_tells_what_would_go_where_and_touches_nothing(lab: Lab, place: Path) -> None:
    made(lab, place, CANARY)
    assert lab.run("run")[0] == 0
    first = (place / "spot-0").read_text()
    (place / "spot-1").unlink()
    before = {path: path.read_text() for path in place.iterdir()}

    code, said = lab.run("plan", "--effects")

    assert code == 0
    short = f"{first[7:11]}…{first[-4:]}"
    assert said.partition("\n\n")[2].splitlines() == [
        "live  by deploy.live, canary",
        "  job migrate, before anything is changed",
        f"  wave 1  spot-0  {short} → what build.it builds",
        "  wave 2  spot-1  nothing → what build.it builds",
        f"  wave 2  spot-2  {short} → what build.it builds",
        "  job warm, when all are healthy",
    ]
    assert {path: path.read_text() for path in place.iterdir()} == before
    (effect,) = json.loads(lab.run("plan", "--effects", "--json")[1])["effects"]
    assert [target["from"] for target in effect["targets"]] == [first, None, first]


def test_plan_knows_what_comes_out_of_the_cache(lab: Lab, place: Path) -> None:
    made(lab, place, CANARY)
    path = lab.root / "penstock.toml"
    path.write_text(path.read_text().replace("[build.it]\n", "[build.it]\ncache = true\n"))
    assert lab.run("run", CONTENT="one")[0] == 0
    first = (place / "spot-0").read_text()
    (place / "spot-1").write_text("sha256:" + "d" * 64)

    _, said = lab.run("plan", "--effects", CONTENT="one")

    short = f"{first[7:11]}…{first[-4:]}"
    assert f"spot-0  {short}, as it is" in said
    assert f"spot-1  dddd…dddd → {short}" in said
    assert "cached: from run 1" in said
