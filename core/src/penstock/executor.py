"""Where requests run: the Executor protocol, and the local pool of worker processes.

The pool forks its workers from a process that has imported the core and the enabled plugins and has no
thread, and keeps them warm. A worker ends with its engine, and a step's processes end with their worker.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from penstock import labels, process, processes, wire
from penstock.outcomes import without_result
from penstock.request import Request, Response
from penstock.workerprocess import BEGIN, serve

if TYPE_CHECKING:
    from penstock.worker import Worker

PATIENCE = 3.5
"""Seconds that a worker has to clean up after it was told to stop."""

_GARBAGE = 10_000
"""Objects that come to be before garbage is looked for: a step makes hundreds, and hardly a circle."""


class Done(NamedTuple):
    """A request has ended."""

    ticket: str
    response: Response


class Progress(NamedTuple):
    """A request tells how far it is."""

    ticket: str
    done: int
    total: int
    what: str


class Executor(Protocol):
    """What the engine asks of whatever runs its requests.

    `submit` hands over a request under a ticket that is not in use; it must not block. `prepare` says that
    the same is likely to follow at once: whoever will work on it may get ready, and does nothing of it yet.
    `wait` returns what has become known, at the latest after `timeout` seconds or when one of the engine's
    own file descriptors has something to read. `end` asks for a request to be ended; its `Done` follows
    within seconds, however the step resists. After `close` nothing of any request is left. `labels` is what
    it offers to steps that ask for some.
    """

    labels: frozenset[str]

    def prepare(self, ticket: str, request: Request) -> None: ...  # noqa: D102
    def submit(self, ticket: str, request: Request) -> None: ...  # noqa: D102
    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> list[Done | Progress]: ...  # noqa: D102
    def end(self, ticket: str) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(eq=False, repr=False)
class _Process:
    pid: int
    connection: socket.socket
    other_end: int
    """The inode of the worker's end: what the worker has forked has it open, too."""
    pidfd: int | None
    buffer: bytearray = field(default_factory=bytearray)
    ticket: str | None = None
    mark: str = ""
    detached: set[int] = field(default_factory=set)
    kill_at: float | None = None


class LocalPool:
    """Workers on this machine, each a forked process that takes one request after another."""

    def __init__(self, make_worker: Callable[[], Worker], *, in_child: Callable[[], None]) -> None:
        self._make_worker = make_worker
        self._in_child = in_child
        self._processes: list[_Process] = []
        self._home = make_worker().home
        self.labels = labels.local()
        process.become_subreaper()
        Response.model_rebuild()  # its validator is made once, and not in each worker

    def prepare(self, ticket: str, request: Request) -> None:
        """Let the worker that was busy last get ready, where one is idle."""
        if worker := self._idle():
            self._hand(worker, ticket, request)

    def submit(self, ticket: str, request: Request) -> None:
        """Let the worker that is ready for it begin; otherwise one that is idle, or a new one."""
        worker = next((p for p in self._processes if p.ticket == ticket), None)
        while worker is None or not _sent(worker, BEGIN):
            if worker is not None:  # it died while it had nothing to do: another takes its place
                worker.ticket = None
                self._lost(worker)
            worker = self._idle() or self._fork()
            self._hand(worker, ticket, request)

    def _idle(self) -> _Process | None:
        return next((p for p in reversed(self._processes) if p.ticket is None), None)

    def _hand(self, worker: _Process, ticket: str, request: Request) -> None:
        _sent(worker, request.model_dump_json().encode())
        worker.ticket, worker.kill_at = ticket, None
        worker.mark = worker.mark or f"{self._home.run(request.info.run)}:{worker.pid}:"

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> list[Done | Progress]:
        """Wait until something is known."""
        deadlines = [p.kill_at for p in self._processes if p.kill_at is not None]
        if deadlines:
            left = max(0.0, min(deadlines) - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        news: list[Done | Progress] = []
        for worker, spoke in self._ready(timeout, also):
            news.extend(self._read(worker) if spoke else self._lost(worker))
        now = time.monotonic()
        due = [worker for worker in self._processes if worker.kill_at is not None and now >= worker.kill_at]
        return [*news, *(self._killed(*due) if due else ())]

    def end(self, ticket: str) -> None:
        """Tell the worker to stop; if it does not, it is killed."""
        for worker in self._processes:
            if worker.ticket == ticket and worker.kill_at is None:
                worker.kill_at = time.monotonic() + PATIENCE
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGTERM)

    def close(self) -> None:
        """End all workers, and what they were doing."""
        for worker in self._processes:
            if worker.ticket is not None:
                self.end(worker.ticket)
        while any(worker.ticket is not None for worker in self._processes):
            self.wait(None)
        for worker in self._processes:
            worker.connection.close()  # of all before the first is waited for: they end side by side
        for worker in list(self._processes):
            self._retire(worker)

    def _fork(self) -> _Process:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        engine = os.getpid()
        if not gc.isenabled():  # as the command line leaves it while it begins
            gc.freeze()  # what is there by now stays: nobody looks through it, or copies its memory, again
            gc.set_threshold(_GARBAGE)
            gc.enable()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it is for requests
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            try:
                ours.close()
                for other in self._processes:
                    other.connection.close()
                self._in_child()
                serve(theirs, self._make_worker(), engine)
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        worker = _Process(pid, ours, os.fstat(theirs.fileno()).st_ino, process.watch(pid))
        theirs.close()
        self._processes.append(worker)
        return worker

    def _ready(self, timeout: float | None, also: tuple[int, ...]) -> list[tuple[_Process, bool]]:
        """The workers that have said something, or (False) have ended without a further word."""
        poll = select.poll()
        for descriptor in also:
            poll.register(descriptor, select.POLLIN)
        for worker in self._processes:
            poll.register(worker.connection, select.POLLIN)
            if worker.pidfd is not None:  # a child that it has forked may keep its connection open
                poll.register(worker.pidfd, select.POLLIN)
        ready = {number for number, _ in poll.poll(None if timeout is None else math.ceil(timeout * 1000))}
        return [
            (worker, worker.connection.fileno() in ready)
            for worker in self._processes
            if not ready.isdisjoint((worker.connection.fileno(), worker.pidfd))
        ]

    def _read(self, worker: _Process) -> list[Done | Progress]:
        try:
            data = worker.connection.recv(wire.CHUNK)
        except OSError:
            data = b""
        if not data:
            return self._lost(worker)
        worker.buffer += data
        news = []
        try:
            for message in wire.messages(worker.buffer):
                found = self._take(worker, json.loads(message))
                if found is not None:
                    news.append(found)
        except (ValueError, TypeError, LookupError, AttributeError):  # whoever wrote this was no worker
            return [*news, *self._killed(worker)]
        return news

    def _take(self, worker: _Process, message: dict[str, Any]) -> Done | Progress | None:
        if "detached" in message:
            worker.detached.add(int(message["detached"]))
            return None
        ticket = worker.ticket
        if ticket is None:
            return None
        if "progress" in message:
            return Progress(ticket, *message["progress"])
        done = Done(ticket, Response.model_validate(message["response"]))
        worker.ticket = None
        if worker.kill_at is not None or message.get("last"):
            self._retire(worker)  # a signal may still be on its way to it, or a thread be left in it
        else:
            self._processes.remove(worker)
            self._processes.append(worker)
        return done

    def _killed(self, *workers: _Process) -> list[Done | Progress]:
        """End workers and all that they started: together, or the last of many would be ended late."""
        below = [pid for w in workers for pid in processes.descendants(w.pid, spare=w.detached)]
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        process.end(lambda: [pid for pid in below if processes.alive(pid)], grace=0)
        return self._lost(*workers, ours=True)

    def _retire(self, worker: _Process) -> int:
        """Let go of a worker that has nothing to do, or is gone; its exit status."""
        self._processes.remove(worker)
        worker.connection.close()
        if worker.pidfd is not None:
            os.close(worker.pidfd)
        return process.ended(worker.pid, patience=0.5 if worker.ticket else 0)

    def _lost(self, *workers: _Process, ours: bool = False) -> list[Done | Progress]:
        """Workers are gone, ended by us or otherwise: what their steps left behind goes too."""
        statuses = [self._retire(worker) for worker in workers]
        marks, sockets = [w.mark for w in workers if w.mark], {w.other_end for w in workers}

        def rest() -> list[int]:
            return [*processes.marked(*marks), *processes.holders_of_sockets(sockets)]

        if marks:
            process.end(rest, grace=0.2)
        return [
            Done(worker.ticket, without_result(status, told=worker.kill_at is not None, ours=ours))
            for worker, status in zip(workers, statuses, strict=True)
            if worker.ticket is not None
        ]


def _sent(worker: _Process, message: bytes) -> bool:
    """Tell a worker something; False where it is gone."""
    try:
        wire.send(worker.connection, message)
    except OSError:
        return False
    return True
