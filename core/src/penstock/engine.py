"""The loop: asks the scheduler what to do, hands requests to the executor, writes down what happened.

The engine decides nothing about the pipeline. It is the only writer of a run's progress, apart from the
word of a person (`approve`, `reject`, `cancel`) and of a newer run that supersedes a waiting one (`holds`),
which another process appends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from penstock import reaping, scheduler, sealing, summary
from penstock.cache import TICKET, Cache
from penstock.errors import PluginError
from penstock.executor import Done, Executor, Progress
from penstock.facts import Facts
from penstock.holds import Holds
from penstock.home import Home
from penstock.journal import Events
from penstock.keys import Failure
from penstock.labels import lacking
from penstock.model import Event, short
from penstock.moves import WakeAt
from penstock.observers import Observers
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins
from penstock.process import end_marked, user
from penstock.record import Record
from penstock.request import (
    Response,
    approval_of,
    make_request,
    question,
    release_of,
    spared,
)
from penstock.rollouts import Rollouts
from penstock.runs import Statements
from penstock.runs import load_run as load_run
from penstock.runs import new_run as new_run
from penstock.runs import working_on as working_on
from penstock.scheduler import (
    Action,
    Approve,
    AskApproval,
    Attest,
    Conclude,
    Doubt,
    End,
    Finish,
    Judge,
    Operate,
    Regain,
    Start,
    Stop,
    TakeUp,
    Waiting,
)
from penstock.signals import interrupts, wake_socket
from penstock.state import RunState
from penstock.underway import Underway

_PATIENCE_FOR_TOOLS = 60.0
"""Seconds that plugins have to say which tools they run; after that no step is taken from the cache."""

Observer = Callable[[Event | Progress, RunState], None]
_OF_ATTEMPT = ("report", "tests", "summary", "notes")
"""What is kept of an attempt that is followed by another."""


class Display(Protocol):
    """What shows times that move on though nothing happens: the engine wakes for them as for a deadline."""

    def due(self) -> float | None: ...  # noqa: D102 - when it wants to be called, in seconds since 1970
    def tick(self, state: RunState) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102 - may come at any moment, from a signal


@dataclass(eq=False, repr=False)
class Engine:
    """Works on one run until it is over or waits for a person."""

    project: Path
    home: Home
    journal: Events
    plan: Plan
    plugins: Plugins
    state: RunState
    executor: Executor
    observer: Observer
    slots: int
    watchers: Observers
    display: Display | None = None
    told: list[int] = field(default_factory=list)
    """The signals that came before it could hear them."""

    def __post_init__(self) -> None:
        self._facts = Facts(self.journal, self.home, self.state)
        self._record = Record(self.journal, self.state, self._tell)
        self._underway = Underway(self.executor, self._record, reaps=reaping.needed(self.plugins))
        self._holds = Holds(self.home, self.journal, self._record, self.state)
        self._rollouts = Rollouts(self.plan, self.state, self._record, self._underway, self._holds)
        self._cache = Cache(self.home, self.journal, self.plugins, self.plan)
        self._statements = Statements(self.journal, self.home, self.state.run)
        self._asks_for_tools = False
        self._tools_by: float | None = None  # when the answer about tools is waited for no longer
        self._again = False  # whether to decide again before anything is waited for
        self._interrupted = 0
        self.unsealed = ""
        """Why the journal could not be sealed in the end."""

    def work(self) -> RunState:
        """Go on until nothing is left to do. Raises PluginError where the journal can't be written."""
        while self.state.state == "running":
            with interrupts(self._on_interrupt) as wakeup, wake_socket(self.home, self.state.run) as calls:
                while self.told:
                    self._on_interrupt(self.told.pop(0))
                self._holds.begin()
                self._record.catch_up()  # with what was said before anybody could call
                self._asks_for_tools = not self._cache.ready
                while self.state.state == "running":
                    self._turn(wakeup, calls)
            # Whoever called until now was told that the run goes on.
            if self.state.state == "waiting" and self._record.catch_up():
                self._record.write("run.resumed", None, {"steps": []})
                self._record.commit()
        if sealing.is_due(self.state) and sealing.can_sign(self.state):
            self.seal()
        return self.state

    def seal(self) -> None:
        """Have the journal's head signed. The run is over or waits, and stands however that ends."""
        self.unsealed = sealing.seal(self.journal, self._record, self.state, self.executor)

    def _turn(self, wakeup: socket.socket, calls: socket.socket) -> None:
        self._hear(calls)
        wake = self._decide()
        if self._asks_for_tools and self.state.state == "running":
            self._ask_for_tools()
        self._record.commit()
        if self.state.state != "running":
            return
        for news in self.executor.wait(self._patience(wake), (wakeup.fileno(), calls.fileno())):
            self._take(news)
        if self._underway.no_room:
            self._record.commit()
            raise PluginError(f"{self._underway.no_room} Then: penstock resume {self.state.run}")
        if self._tools_by is not None and self._tools_by <= time.time():
            self._tools_by = None
            self.executor.end(TICKET)
        with contextlib.suppress(BlockingIOError):
            wakeup.recv(4096)
        if self.display and (due := self.display.due()) is not None and due <= time.time():
            self.display.tick(self.state)

    def _decide(self) -> float | None:
        """Do what the scheduler says until it has no more to say; when to ask it again at the latest."""
        self._record.stage()
        while True:
            wake, known, self._again = None, self.state.last_event, False
            if self.state.state != "running":
                return None
            busy = self._underway.steps
            slots = max(0, self.slots - len(self._underway))
            taken, lost = self._holds.taken, self._holds.lost
            actions = scheduler.decide(
                self.state, time.time(), busy=busy, slots=slots, taken=taken, lost=lost
            )
            for action in actions:
                if isinstance(action, WakeAt):
                    wake = action.time if wake is None else min(wake, action.time)
                elif isinstance(action, Judge):
                    self._judge(action.step)
                else:
                    self._act(action)
            self._record.stage()
            # What was just written may allow more, or have a deadline.
            if self.state.last_event == known and not self._again:
                return wake

    def _patience(self, wake: float | None) -> float | None:
        """How long to wait for news: until the scheduler, or what is shown, has something to do."""
        due = self.display.due() if self.display else None
        moments = [moment for moment in (wake, due, self._tools_by) if moment is not None]
        return max(0.0, min(moments) - time.time()) if moments else None

    # --- what the scheduler says ---

    def _act(self, action: Action) -> None:
        if isinstance(action, Start | Regain | AskApproval):
            self._enter(action)
        elif isinstance(action, Operate | Doubt | TakeUp | Stop | Attest):
            self._rollouts.act(action)
        elif isinstance(action, Approve):
            self._submit(
                action.step,
                "approve",
                approval=approval_of(self.state, action.step, user(), "--approve", time.time()),
            )
        elif isinstance(action, Finish):
            self._finish(action.step, action.state, action.reason)
        elif isinstance(action, End):
            if not self._underway.end(action):
                self._finish(action.step, action.state, action.reason)
        elif isinstance(action, Conclude):
            kind = "run.waiting" if action.state == "waiting" else "run.finished"
            self._record.write(kind, None, self.state.end(action.state))

    def _enter(self, action: Waiting) -> None:
        """Begin what may have to wait for its turn at an environment."""
        if isinstance(action, Start):
            self._start(action.step)
        elif isinstance(action, Regain):
            self._again = True
            self._holds.regain(self.plan.by_name[action.step])
        else:
            self._ask(action.step, question(self.state, action.step, action.reason))

    def _judge(self, name: str) -> None:
        judged = self._facts.judge(name)
        if judged.holds:
            self._record.write("condition.held", name, judged.data)
        else:
            self._finish(name, "skipped", judged.reason, condition=judged.data)

    def _start(self, name: str) -> None:
        step = self.plan.by_name[name]
        if step.keys.cached is not None and not self.state.steps[name].attempts:
            if not self._cache.ready:
                return  # the answer about tools is on its way, and leads to another turn
            take = not self.state.options.get("no_cache")
            if found := self._cache.look(self.state, name, time.time(), take=take).data:
                self._record.write("step.finished", name, found)
                return
        lacks = [label for label in step.keys.labels if label not in self.executor.labels]
        if lacks:
            self._finish(name, "refused", lacking(lacks, self.executor.labels))
            return
        if not self._holds.enter(step):
            self._again = True
            return
        self._record.write("step.started", name, {"attempt": self.state.steps[name].attempts + 1})
        self._record.stage()
        if step.phase == "deploy":
            self._submit(name, "admit", release=release_of(self.state, name))
        else:
            self._submit(name, "hook")

    def _ask(self, name: str, what: dict[str, Any]) -> None:
        """Have a person's word waited for, unless a newer run has come to the environment."""
        self._again = True
        if self._holds.enter(self.plan.by_name[name]):
            self._record.write("approval.requested", name, what)

    def _finish(self, name: str, state: str, reason: str = "", **data: Any) -> None:
        step, rollout = self.plan.by_name[name], self.state.steps[name].rollout
        if rollout is not None and state != "passed":
            data["stands"] = rollout.left_behind
        if step.phase == "approve":  # a newer run may be faster
            self._record.join()
            if self.state.steps[name].state not in ("pending", "waiting", "running"):
                return
        if step.phase == "approve" and name in self.state.approvals:
            data.setdefault("evidence", self.state.approvals[name].get("evidence", []))
            data.setdefault("summary", summary.approved(self.state.approvals[name]["approval"]))
            reason = "" if state == "passed" else reason
        self._record.write("step.finished", name, {**data, "state": state, "reason": reason})

    # --- what comes back ---

    def _take(self, news: Done | Progress) -> None:
        if isinstance(news, Progress):
            self.observer(news, self.state)
            return
        if news.ticket == TICKET:
            late = self._tools_by is None
            self._tools_by = None
            slow = f"that took longer than {_PATIENCE_FOR_TOOLS:g} s"
            self._cache.learn(Response(outcome="cancelled", reason=slow) if late else news.response)
            return
        back = self._underway.back(news.ticket, news.response)
        if back is None:
            return
        response, operation, end = back.response, back.operation, back.end
        if operation is not None:
            self._record.write("rollout.ended", back.step, back.data)
        elif end is not None:
            ended = Response.model_validate({"outcome": end.state, "reason": end.reason})
            self._settle(back.step, ended, end.failure)
        else:
            self._settle(back.step, response, "error" if response.outcome == "error" else "failed")

    def _settle(self, name: str, response: Response, failure: Failure) -> None:
        step = self.plan.by_name[name]
        if flaky := response.data.pop("flaky", None):
            self._record.write("tests.flaky", name, flaky)
        if step.keys.cached is not None:
            data = self._cache.kept(self.state, name, response)
            response = response.model_copy(update={"data": data})
        if response.outcome == "pending":
            self._ask(name, {"reason": response.reason})
        elif response.outcome == "passed" and "targets" in response.data:
            self._record.write("rollout.began", name, response.data)
        elif response.outcome == "passed" and "approval" in response.data:
            if step.uses is not None:
                self._record.write("approval.requested", name, {"reason": "answered"})
            self._record.write("approval.given", name, response.data)
        elif response.outcome == "passed" and step.phase == "deploy":
            rollout = self.state.steps[name].rollout
            assert rollout is not None
            said = f"{short(rollout.release.digest)}  healthy"
            notes = [*summary.way_of(rollout), *spared(self.state, name)]
            self._finish(name, "passed", summary=said, notes=notes, **response.data)
        elif response.outcome == "passed":
            self._finish(name, "passed", **response.data)
        else:
            self._fail(name, step, response, failure)

    def _fail(self, name: str, step: PlanStep, response: Response, failure: Failure) -> None:
        progress = self.state.steps[name]
        if progress.rollout is not None:  # it went well, and its evidence could not be made: back
            self._record.write("rollout.failed", name, {"reason": response.reason})
            return
        again = None
        if response.outcome in ("failed", "error"):
            again = scheduler.retry(step, progress.attempts, time.time(), failure)
        if again is not None:
            data = {key: response.data[key] for key in _OF_ATTEMPT if key in response.data}
            self._record.write("step.retried", name, {"reason": response.reason, "not_before": again, **data})
            return
        state = {"error": "failed"}.get(response.outcome, response.outcome)
        self._finish(name, state, response.reason, **response.data, fault=response.outcome == "error")

    # --- requests ---

    def _ask_for_tools(self) -> None:
        """What is looked up in the cache depends on them: a worker finds out while the source is fetched.

        It is asked after those who begin what can begin without that.
        """
        self._asks_for_tools = False
        question = self._cache.question(self.state)
        if question is not None:
            self._tools_by = time.time() + _PATIENCE_FOR_TOOLS
            self._record.after_commit(partial(self.executor.submit, TICKET, question))

    def _submit(self, name: str, kind: str, **more: Any) -> None:
        step = self.plan.by_name[name]
        shows = step.phase == "publish" and self.plugins.asks_for(
            step.uses or "", "penstock_publish", "evidence"
        )
        request = make_request(self.plan, self.state, name, kind, shows=shows, **more)
        if request.evidence:
            self._statements.restore()
        self._underway.submit(request)

    # --- what is told ---

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if event.type in ("step.finished", "step.retried"):
                self._holds.let_go(str(event.step))
            self.observer(event, self.state)
        if events:
            self.watchers.tell()

    def _hear(self, calls: socket.socket) -> None:
        """Take in what another process appended."""
        with contextlib.suppress(BlockingIOError):
            while calls.recv(64):
                self._holds.taken.clear()  # somebody may have let go of what this run waits for
                self._record.catch_up()

    def _on_interrupt(self, number: int) -> None:
        if self._interrupted and number == signal.SIGHUP:
            return  # a shell and its terminal both hang up: nobody has asked twice
        self._interrupted += 1
        if self._interrupted > 1:
            try:
                if self.display:
                    self.display.close()
                self.executor.close()
                # It may have been ending something when it was interrupted.
                end_marked(f"{self.home.run(self.state.run)}:", grace=0)
            finally:
                os._exit(130)
        what = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self._record.write("run.cancelled", None, {"reason": f"cancelled by {what}", "by": user()})
