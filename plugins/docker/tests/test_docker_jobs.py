"""Jobs before and after the switch, with a real engine: in the release's image, with what the service has."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from penstock import Job, Release, Step, StepFailed
from penstock_docker import Service, labels, penstock_jobs, penstock_reap
from pydantic import ValidationError

from tests.bench import SERVING, Bench

SECRET = "c0rrect horse"


def job_of(bench: Bench, *words: str, **settings: Any) -> tuple[Job, Callable[[], Step]]:
    """A job of a service, and what makes a step for it."""
    command = {"name": "migrate", "command": words, "timeout": settings.pop("timeout", 60)}
    _, step = bench.target(**settings)
    service = Service(hosts=(bench.engine.host,), service="jobs", before=(command,), **settings)
    [made] = penstock_jobs(settings=service, step=step())
    assert (made.id, made.when) == ("migrate", "before")
    return made, step


def left(bench: Bench) -> list[str]:
    return bench.engine.docker("ps", "-aq", "-f", "label=dev.penstock.job").split()


@pytest.fixture
def release(bench: Bench) -> Release:
    return bench.release(bench.build(SERVING, {"www/index.html": "jobs\n"}, builder="classic"))


@pytest.mark.real
def test_a_job_has_what_the_service_has_and_leaves_nothing(
    bench: Bench, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("KEY", SECRET[::-1])
    look = 'cat /www/index.html; test "$MODE" = test; test "$TOKEN" = "c0rrect horse"; echo it is $TOKEN'
    job, make = job_of(
        bench,
        *("sh", "-euc", f"{look}; cat /run/secrets/KEY; echo kept > /data/word"),
        variables={"MODE": "test"},
        service_secrets=("TOKEN",),
        secret_files=("KEY",),
        volumes=("jobsdata:/data",),
        networks=("jobs",),
    )
    step = make()
    job.run(release, step)

    said = bench.make_step.log_of(step)
    assert "jobs\nit is ***\n***" in said
    assert SECRET not in said
    assert (
        bench.engine.docker("run", "--rm", "-v", "jobsdata:/data", "penstock-base", "cat", "/data/word")
        == "kept\n"
    )
    assert left(bench) == []


@pytest.mark.real
def test_a_job_that_fails_says_its_last_lines(bench: Bench, release: Release) -> None:
    job, step = job_of(bench, "sh", "-c", "(echo one; echo no such table) >&2; exit 3")

    with pytest.raises(StepFailed, match=r"the job migrate on unix:\S+ ended with 3: one / no such table$"):
        job.run(release, step())

    assert left(bench) == []


@pytest.mark.real
def test_what_a_job_prints_is_seen_while_it_runs_and_its_time_is_kept(bench: Bench, release: Release) -> None:
    job, make = job_of(bench, "sh", "-c", "echo begun; sleep 600", timeout=4)
    step, failed = make(), []

    def run() -> None:
        with pytest.raises(StepFailed) as error:
            job.run(release, step)
        failed.append(str(error.value))

    thread = threading.Thread(target=run)
    thread.start()
    while "begun\n" not in bench.make_step.log_of(step) and thread.is_alive():
        time.sleep(0.05)
    assert thread.is_alive()
    thread.join()

    assert "took longer than 4 s and was ended: begun" in failed[0]
    assert left(bench) == []


@pytest.mark.real
def test_one_that_was_cut_off_is_ended_before_it_runs_again(bench: Bench, release: Release) -> None:
    job, make = job_of(
        bench,
        "sh",
        "-c",
        "test -e /data/second || { echo > /data/second; sleep 600; }",
        volumes=("cut:/data",),
    )
    step = make()
    child = os.fork()
    if child == 0:
        job.run(release, step)
        os._exit(0)
    while not (bench.engine.docker("ps", "-q", "-f", "label=dev.penstock.job", "-f", "volume=cut")):
        time.sleep(0.05)
    [first] = left(bench)
    while "second" not in bench.engine.docker("exec", first, "ls", "/data"):
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert left(bench) == [first]

    job.run(release, make())

    assert left(bench) == []


@pytest.mark.real
def test_one_that_was_cut_off_is_reaped_on_the_host_that_it_ran_on(
    bench: Bench, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that Penstock runs on has no engine at all."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/docker.sock")
    job, make = job_of(bench, "sh", "-c", "sleep 600")
    step = make()
    child = os.fork()
    if child == 0:
        job.run(release, step)
        os._exit(0)
    while not bench.engine.docker("ps", "-q", "-f", "label=dev.penstock.job"):
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    home = step.project / ".penstock"

    penstock_reap(run=step.number, step_name=step.name, home=home)

    assert left(bench) == []
    assert list(labels.notes(home).iterdir()) == []


@pytest.mark.real
def test_where_a_job_came_to_its_end_no_engine_is_asked_for_what_it_left(
    bench: Bench, release: Release
) -> None:
    job, make = job_of(bench, "true")
    step = make()

    job.run(release, step)

    assert list(labels.notes(step.project / ".penstock").iterdir()) == []


@pytest.mark.real
def test_a_job_whose_program_is_not_there(bench: Bench, release: Release) -> None:
    job, step = job_of(bench, "/no/such/program")

    with pytest.raises(StepFailed, match=r"the job migrate on .* ended with 127: .*/no/such/program"):
        job.run(release, step())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"before": [{"name": "a", "command": []}]}, "at least 1"),
        (
            {"before": [{"name": "a", "command": ["x"], "host": "b"}]},
            'is to run on "b", which is none of hosts',
        ),
        (
            {"before": [{"name": "a", "command": ["x"]}], "after": [{"name": "a", "command": ["y"]}]},
            "one name",
        ),
        ({"service_secrets": ["A"], "secret_files": ["A"]}, "Choose one"),
        ({"tls": {"ca": "a", "cert": "b", "key": "c"}}, "tls is for hosts behind tcp://"),
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Service.model_validate(wrong)
