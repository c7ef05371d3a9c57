"""What a deployed service writes, with a real engine: so many lines, since when, and whatever takes its place."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from penstock import StepFailed

from tests.bench import SERVING, Bench

pytestmark = pytest.mark.real


def test_what_a_service_writes_also_when_another_takes_its_place(bench: Bench) -> None:
    release = bench.release(bench.build(SERVING, {"www/index.html": "logs\n"}, builder="classic"))
    # It ends by itself once, and is started again.
    script = (
        "echo begun; test -e /tmp/again || { echo > /tmp/again; echo over; exit 1; }; echo serves; sleep 600"
    )
    target, step = bench.target(service="logs", settle=0, stop_grace=1, command=("sh", "-c", script))
    with pytest.raises(StepFailed, match="has no container of logs: nothing is deployed there"):
        list(target.logs(step(), since=None, tail=None, follow=False))
    target.apply(release, step())

    seen: queue.Queue[str] = queue.Queue()

    def follow() -> None:
        for line in target.logs(step(), since=None, tail=None, follow=True):
            seen.put(line)

    threading.Thread(target=follow, daemon=True).start()
    assert [seen.get(timeout=60) for _ in range(4)] == ["begun", "over", "begun", "serves"]
    all_of_it = list(target.logs(step(), since=None, tail=None, follow=False))
    assert all_of_it == ["begun", "over", "begun", "serves"]
    assert list(target.logs(step(), since=None, tail=1, follow=False)) == ["serves"]
    assert list(target.logs(step(), since=time.time() + 60, tail=None, follow=False)) == []
    assert list(target.logs(step(), since=time.time() - 3600, tail=None, follow=False)) == all_of_it

    other, _ = bench.target(
        service="logs", settle=0, stop_grace=1, command=("sh", "-c", "echo next; sleep 600")
    )
    other.apply(release, step())
    assert seen.get(timeout=60) == "next"
