"""`watch`: runs each new commit of some branches, one run at a time, each in a process of its own.

All that it knows is in the journal (`penstock.changes`). A run does not outlive its watch; the next watch
takes it up.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from penstock import changes, revisions
from penstock.changes import Change, Ledger
from penstock.cli.apart import be_child, children_wake, exit_code_of
from penstock.cli.committed import load_at
from penstock.cli.common import Opened, load_plan, open_project, seconds_of, sound, warn
from penstock.cli.run import resume_run, work
from penstock.cli.watching import Voice, result_of
from penstock.configfile import find
from penstock.engine import new_run, working_on
from penstock.errors import ConfigError, PenstockError, PluginError, in_words
from penstock.home import Lock
from penstock.journal import Journal, New
from penstock.model import Revision
from penstock.observers import Observers
from penstock.revisions import Sources
from penstock.signals import interrupts

_SHORTEST = 0.1
_LONGEST_PAUSE = 300.0
"""Seconds between two tries at the most, where the one before failed."""
_TRIES = 10
"""How often a run is taken up that is cut off again each time."""
_RANK = {0: 0, 3: 1, 1: 2, 2: 3, 4: 4, 130: 5}


@click.command()
@click.option(
    "--branch", "branches", multiple=True, metavar="BRANCH", help="A branch, or release/*; again for more."
)
@click.option("--every", default="30s", show_default=True, metavar="TIME", help="How often to look.")
@click.option("--from-now", is_flag=True, help="Pass over what is there already.")
@click.option("--once", is_flag=True, help="Run what is new by now, then end.")
@click.option("--json", "as_json", is_flag=True, help="What happens as JSON Lines.")
def watch(branches: tuple[str, ...], every: str, from_now: bool, once: bool, as_json: bool) -> int:
    """Run each new commit of some branches: by default of the one that is checked out."""
    path = find(Path.cwd())
    project, plugins, plan = load_plan(path)
    warn(project.unusable)
    source = revisions.sources(path.parent, plugins, plan, what="watch", hooks=("penstock_changes",))
    watched = tuple(dict.fromkeys(branches)) or (_checked_out(source),)
    pause = _seconds(every)
    opened = open_project(path)
    lock = opened.home.watch_lock
    if not lock.take():
        raise ConfigError(
            "another `penstock watch` is at work in this checkout, and one is enough: it takes several "
            "--branch. End that one, or let it be"
        )
    sound(opened)
    gc.enable()
    watchers = Observers(
        plugins,
        opened.home,
        0,
        opened.journal.tip()[0],
        in_child=lock.drop,
        sections=plan.observers,
        project=plan.name,
    )
    watchers.start()
    try:
        return Watch(opened, source, watched, pause, Voice(as_json), lock, watchers).work(
            once=once, from_now=from_now
        )
    finally:
        watchers.close()
        lock.drop()


def _checked_out(source: Sources) -> str:
    ref = revisions.find(source, "HEAD").ref
    if ref is None:
        raise ConfigError("no branch is checked out, and none is named. Name those to watch: --branch main")
    return ref


def _seconds(every: str) -> float:
    seconds = seconds_of("--every", every)
    if seconds < _SHORTEST:
        raise ConfigError(f"--every: {every} is less than {_SHORTEST} s. Take longer, such as 30s")
    return seconds


class Watch:
    """One watch, from its start to its end."""

    def __init__(
        self,
        opened: Opened,
        source: Sources,
        branches: tuple[str, ...],
        every: float,
        say: Voice,
        lock: Lock,
        watchers: Observers,
    ) -> None:
        self._opened = opened
        self._source = source
        self._branches = branches
        self._every = every
        self._say = say
        self._lock = lock
        self._watchers = watchers
        self._ledger = Ledger()
        self._wakeup: socket.socket
        self._child: int | None = None
        self._ending: int | None = None
        self._cut: dict[int, int] = {}  # runs that were cut off, and how often each was taken up
        self._code = 0
        self._begun = False
        self._from_now = False

    def work(self, *, once: bool, from_now: bool) -> int:
        """Go on until somebody ends it; with `once`, until nothing is new. The exit code."""
        with interrupts(self._on_signal) as self._wakeup, children_wake():
            self._say.began(self._branches, self._every)
            self._learn()
            self._cut = dict.fromkeys(self._cut_off(), 0)
            self._from_now = from_now
            failures = 0
            while self._ending is None:
                outcome = self._turn()
                failures = failures + 1 if outcome == "failed" else 0
                if outcome == "ran":
                    continue
                if once:
                    break
                self._sleep(min(self._every * 2 ** min(failures, 20), max(self._every, _LONGEST_PAUSE)))
            self._say.end(lambda: self._ending is not None)
        if self._ending is None:
            return self._code
        return 130 if self._ending == signal.SIGINT else 0

    # --- what there is to do ---

    def _look(self) -> list[Change]:
        """What is new."""
        if not self._begun:
            self._begin()
            self._begun = True
        return self._ledger.changes(self._poll(self._branches))

    def _begin(self) -> None:
        """The first look: what is there already, and is not run, goes on record."""
        new = [branch for branch in self._branches if branch not in self._ledger.patterns]
        patterns = [branch for branch in new if changes.is_pattern(branch)]
        known = [branch for branch in self._branches if branch not in patterns]
        found = self._ledger.changes(self._poll(known)) if known else []
        over = found if self._from_now else []
        if patterns:
            met = {change.ref for change in found} | self._ledger.since.keys()
            there = self._ledger.changes(self._poll(patterns))
            over += [change for change in there if self._from_now or change.ref not in met]
        heads = {change.ref: change.commit for change in over}
        if heads or patterns:
            self._record(New(changes.BEGAN, None, {"branches": new, "heads": heads}, time.time()))
        for change in over:
            self._say.seen(change, "is there already, and is not run")
        for branch in known:
            if not changes.is_pattern(branch) and not self._known(branch, found):
                self._say.trouble(f'there is no branch "{branch}" yet')

    def _known(self, branch: str, found: Sequence[Change]) -> bool:
        return branch in self._ledger.since or any(change.ref == branch for change in found)

    def _turn(self) -> str:
        """Do one thing, if there is one: ran, failed, or idle."""
        for run, tries in self._cut.items():
            if not self._opened.home.engine_lock(run).is_held():  # otherwise somebody else is at it
                return self._take_up(run, tries)
        try:
            found = self._look()
        except Exception as error:  # whatever stands between here and the remote
            if isinstance(error, ConfigError) and not self._begun:
                raise
            said = str(error) if isinstance(error, PenstockError) else in_words(error)
            self._say.trouble(f"could not look for changes: {said}")
            self._code = _worse(self._code, 4)
            return "failed"
        self._say.no_trouble()
        for change in found:
            if self._ledger.knows(change):
                why = "the branch is back at a commit that it was at before: it is not run again"
                data = {"ref": change.ref, "commit": change.commit, "reason": why}
                self._record(New(changes.SEEN, None, data, time.time()))
                self._say.seen(change, why)
            elif self._ending is None:
                return self._run(change)
        return "idle"

    def _poll(self, branches: Sequence[str]) -> list[Revision]:
        found = self._source.ask("penstock_changes", branches=branches, since=dict(self._ledger.since))
        for revision in found:
            revisions.checked(self._source, revision, "penstock_changes")
            if not revision.ref:
                raise PluginError(f'the plugin "{self._source.step.uses}" named no branch as `ref`')
        return list(found)

    def _learn(self) -> None:
        """Fold in what the journal has."""
        journal = self._opened.journal
        if self._ledger.last == 0:
            told = [event for kind in changes.KINDS for event in journal.find(kind)]
        else:
            told = journal.since(self._ledger.last)
        for event in sorted(told, key=lambda event: event.id):
            self._ledger.apply(event)
        self._watchers.tell()

    def _record(self, event: New) -> None:
        self._opened.journal.append(changes.NO_RUN, [event])
        self._learn()

    def _cut_off(self) -> list[int]:
        """The runs of an earlier watch that were cut off, the oldest first."""
        journal = self._opened.journal
        return [
            line.run
            for line in reversed(journal.runs(unfinished=True))
            if line.state == "running" and journal.events(line.run)[0].data.get("trigger")
        ]

    # --- runs ---

    def _run(self, change: Change) -> str:
        before = self._ledger.last

        def begun(run: int) -> None:
            self._say.started(change, run)

        code, run = self._in_process(lambda tell: self._work_on(change, tell), begun)
        self._learn()
        if run is None:
            run = self._begun_for(change, before)  # it was ended before it could say so
        if run is None:
            return self._without_a_run(change, code, before)
        return self._after(run, code, change.ref, change.commit, 0)

    def _begun_for(self, change: Change, before: int) -> int | None:
        for event in self._opened.journal.since(before):
            if event.type == "run.started" and event.data.get("trigger") == change.trigger:
                return event.run
        return None

    def _work_on(self, change: Change, tell: Callable[[int], None]) -> int:
        """In a process of its own: the whole run of a change."""
        home = self._opened.home
        opened = Opened(self._opened.path, home, Journal(home.journal))
        more = [New(changes.SUPERSEDED, None, data, time.time()) for data in change.superseded]
        try:
            _, plugins, plan, given = load_at(home, self._source, change.revision)
        except ConfigError as error:
            data = {"ref": change.ref, "commit": change.commit, "reason": str(error)}
            refused = New(changes.REFUSED, None, data, time.time())
            opened.journal.append(changes.NO_RUN, [refused, *more])
            return 2
        given |= {"parameters": plan.parameters, "trigger": change.trigger}
        options = {"selected": None, "approve": [], "dirty": False, **given}
        state, events = new_run(opened.journal, home, plan, options, more)
        tell(state.run)
        return work(opened, plugins, state, first=events)

    def _without_a_run(self, change: Change, code: int, before: int) -> str:
        if self._ending is not None:
            return "idle"
        if self._ledger.knows(change):  # refused: it can't be run as it is
            events = self._opened.journal.since(before)
            reason = next(event.data["reason"] for event in events if event.type == changes.REFUSED)
            self._say.refused(change, reason)
            self._code = _worse(self._code, 2)
            return "ran"
        self._say.trouble(f"{change.ref} {change.revision.short} could not begin (exit code {code})")
        self._code = _worse(self._code, 4)
        return "failed"

    def _take_up(self, run: int, tries: int) -> str:
        trigger = self._opened.journal.events(run)[0].data["trigger"]
        self._say.resumed(run, trigger["ref"], trigger["commit"])

        def go_on(_: Callable[[int], None]) -> int:
            home = self._opened.home
            return resume_run(Opened(self._opened.path, home, Journal(home.journal)), run)

        del self._cut[run]
        code, _ = self._in_process(go_on, lambda _: None, run)
        return self._after(run, code, trigger["ref"], trigger["commit"], tries + 1)

    def _after(self, run: int, code: int, ref: str, commit: str, tries: int) -> str:
        """What became of a run; one that was cut off is taken up soon."""
        if self._opened.journal.run(run).state != "running":
            self._say.finished(run, ref, commit, result_of(self._opened, run))
            self._code = _worse(self._code, code)
            return "ran"
        if self._ending is not None:
            self._say.left(run, ref, commit)
            return "ran"
        if code >= 0 or tries >= _TRIES:  # it gave up by itself, or always ends so
            self._say.trouble(f"run {run} of {ref} stays cut off. See why: penstock resume {run}")
            self._code = _worse(self._code, 4)
            return "failed"
        self._cut[run] = tries
        return "ran"

    # --- processes and signals ---

    def _in_process(
        self, do: Callable[[Callable[[int], None]], int], begun: Callable[[int], None], run: int | None = None
    ) -> tuple[int, int | None]:
        """Have something done in a process; its exit code, and the run that it began."""
        reader, writer = os.pipe()
        watch = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._lock.drop()
            self._watchers.forget()
            be_child(watch)

            def tell(number: int) -> None:
                os.write(writer, b"%d\n" % number)
                os.close(writer)

            os._exit(exit_code_of(lambda: do(tell)))
        os.close(writer)
        self._child = pid
        try:
            if self._ending is not None:
                self._pass_on(self._ending)
            with os.fdopen(reader, "rb", buffering=0) as pipe:
                code, run = self._wait(pid, pipe.fileno(), begun, run)
        finally:
            self._child = None
        if code == -signal.SIGKILL and self._ending is not None and run is not None:
            with contextlib.suppress(ConfigError), working_on(self._opened.home, run, clean=True):
                pass  # what the engine left behind is ended
        return code, run

    def _wait(
        self, pid: int, pipe: int, begun: Callable[[int], None], run: int | None
    ) -> tuple[int, int | None]:
        listening = [pipe] if run is None else []
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            ready, _, _ = select.select([self._wakeup.fileno(), *listening], [], [], 0 if ended else None)
            if pipe in ready:
                listening = []
                if line := os.read(pipe, 64):
                    run = int(line)
                    begun(run)
            if ended:
                return os.waitstatus_to_exitcode(status), run
            self._drain()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._ending is None and (left := until - time.monotonic()) > 0:
            select.select([self._wakeup], [], [], left)
            self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)

    def _on_signal(self, number: int) -> None:
        self._ending = number if self._ending is None or number != signal.SIGINT else self._ending
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        # Ctrl-C is a person's word: the run is cancelled. Else it is cut off, for the next watch to go on.
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGINT if number == signal.SIGINT else signal.SIGKILL)


def _worse(one: int, other: int) -> int:
    return max(one, other, key=lambda code: _RANK.get(code, 4))
