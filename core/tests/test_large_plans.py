"""What is decided about a plan of four times as many steps takes four times as much, and not sixteen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from penstock import plan, scheduler
from penstock.cli.forecast import Unknown
from penstock.config import Keys, Project, Section
from penstock.model import Event
from penstock.request import evidence_so_far, make_request
from penstock.scheduler import Conclude, Start
from penstock.state import RunState

DIGEST = "sha256:" + "b" * 64
SLOTS = 4
Shape = Callable[[int], dict[str, tuple[str, ...] | None]]


def chain(size: int) -> dict[str, tuple[str, ...] | None]:
    return {f"test.s{n}": (f"test.s{n - 1}",) if n else None for n in range(size)}


def wide(size: int) -> dict[str, tuple[str, ...] | None]:
    return {f"test.s{n}": None for n in range(size - 1)} | {"sign.it": None}


def stages(size: int) -> dict[str, tuple[str, ...] | None]:
    """Each of the second half waits for all of the first, without a word about it."""
    half = size // 2
    return {f"build.s{n}": None for n in range(half)} | {f"test.s{n}": None for n in range(half)}


def layers(size: int) -> dict[str, tuple[str, ...] | None]:
    above = [tuple(f"test.l{layer - 1}n{n}" for n in range(5)) for layer in range(size // 5)]
    return {f"test.l{n // 5}n{n % 5}": above[n // 5] if n >= 5 else None for n in range(size)}


def run_through(shape: Shape, size: int) -> None:
    """Plan it, and decide and fold a whole run of it."""
    sections = [
        Section(
            name=name,
            phase=name.partition(".")[0],
            keys=Keys(uses="shell", needs=needs),
            plugin="shell",
            settings={},
            environment=None,
        )
        for name, needs in shape(size).items()
    ]
    made = plan.make(
        Project(name="shop", root="/", digest=DIGEST, plugins=("shell",), sections=tuple(sections)),
        {"shell": "1"},
    )
    state = RunState(made, 1)
    number = 0
    busy: list[str] = []

    def tell(kind: str, step: str | None = None, **data: Any) -> None:
        nonlocal number
        number += 1
        state.apply(Event(id=number, run=1, time=number, type=kind, step=step, data=data))

    tell("run.started")
    unknown = Unknown(state)
    assert {unknown.behind(step) for step in made.steps} <= {None, "build.s0"}
    while state.state == "running":
        for action in scheduler.decide(state, number, busy=set(busy), slots=SLOTS - len(busy)):
            if isinstance(action, Conclude):
                tell("run.finished", state=action.state)
            elif isinstance(action, Start):
                tell("step.started", action.step, attempt=1)
                make_request(made, state, action.step, "hook")
                busy.append(action.step)
        if busy:
            name = busy.pop(0)
            evidence = [{"step": name, "predicate_type": "t", "statement": DIGEST}]
            tell("step.finished", name, state="passed", evidence=evidence)
    evidence_so_far(made, state)
    assert state.state == "passed"
    assert len(state.steps) >= size


def lines_of(shape: Shape, size: int) -> int:
    """How many lines of Penstock's own are executed meanwhile: what takes long takes many of them."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "penstock" not in str(frame.f_globals.get("__name__")):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run_through(shape, size)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("shape", [chain, wide, stages, layers])
def test_each_further_step_takes_what_the_others_took(shape: Shape) -> None:
    run_through(shape, 20)  # what is made once

    small, large = lines_of(shape, 80), lines_of(shape, 320)

    assert small > 1000
    assert large < small * 4.4


def test_a_plan_may_be_deeper_than_python_s_stack() -> None:
    run_through(chain, 2 * sys.getrecursionlimit())
