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
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TextIO

from penstock import labels, process, processes, wire
from penstock.home import open_log
from penstock.outcomes import Stopped, begun_badly, without_result
from penstock.request import Request, Response

if TYPE_CHECKING:
    from penstock.worker import Worker

PATIENCE = 3.5
"""Seconds that a worker has to clean up after it was told to stop."""

_GARBAGE = 10_000
"""Objects that come to be before garbage is looked for: a step makes hundreds, and hardly a circle."""
_LAST_MOMENT = 2.5
"""Seconds after which a worker that was told to stop and can't ends itself, with all that it started."""


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

    `submit` hands over a request under a ticket that is not in use; it must not block. `wait` returns
    what has become known, at the latest after `timeout` seconds or when one of the engine's own file
    descriptors has something to read. `end` asks for a request to be ended; its `Done` follows within
    seconds, however the step resists. After `close` nothing of any request is left. `labels` is what it
    offers to steps that ask for some.
    """

    labels: frozenset[str]

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

    def submit(self, ticket: str, request: Request) -> None:
        """Hand a request to the worker that was busy last, or to a new one where none is idle."""
        data = request.model_dump_json().encode()
        while True:
            idle = (p for p in reversed(self._processes) if p.ticket is None)
            worker = next(idle, None) or self._fork()
            try:
                wire.send(worker.connection, data)
            except OSError:  # it died while it had nothing to do: another takes its place
                self._lost(worker)
                continue
            worker.ticket, worker.kill_at = ticket, None
            worker.mark = worker.mark or f"{self._home.run(request.info.run)}:{worker.pid}:"
            return

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
                _serve(theirs, self._make_worker(), engine)
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


def _serve(connection: socket.socket, worker: Worker, engine: int) -> NoReturn:
    """The life of a worker process."""
    from penstock.answers import get_ready  # whatever works with no worker does without

    status = 1
    speaking = threading.Lock()  # a plugin's threads may tell of progress

    def say(kind: str, what: str, *, last: bool = False) -> None:
        data = f'{{"{kind}": {what}, "last": {json.dumps(last)}}}'.encode()
        with speaking:
            wire.send(connection, data)

    try:
        _prepare(engine)
        worker.on_progress = lambda *progress: say("progress", json.dumps(progress))
        worker.on_detach = lambda pid: say("detached", str(pid))
        buffer = bytearray()
        while data := connection.recv(wire.CHUNK):
            buffer += data
            for message in wire.messages(buffer):
                answer = _answer(worker, Request.model_validate_json(message))
                say("response", answer, last=threading.active_count() > 1)
            get_ready()
        status = 0
    except OSError:
        status = 0  # the engine is gone, and so is what was to be done
    except BaseException:  # nothing may escape into the copy of the engine that this process is
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _nothing(*_: object) -> None:
    """Handles a signal by doing nothing. What a step runs does not inherit that, as it would SIG_IGN."""


def _prepare(engine: int) -> None:
    signal.signal(signal.SIGINT, _nothing)  # Ctrl-C is the engine's to deal with
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _nothing)  # what the engine makes of it is what counts
    signal.signal(signal.SIGWINCH, signal.SIG_DFL)  # it shows nothing
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
    process.signal_at_death_of(engine, signal.SIGTERM)
    process.become_subreaper()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # Line by line, so that it stands in the log where it belongs, whatever these were to the engine.
    sys.stdout = _line_by_line(1)
    sys.stderr = _line_by_line(2)


def _line_by_line(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)


def _answer(worker: Worker, request: Request) -> str:
    log = worker.home.log(request.info.run, request.step.name, request.info.attempt)
    try:
        with _output_to(log), _stoppable(worker):
            response = worker.handle(request)
    except Stopped:  # while it was cleaning up
        process.end_descendants(spare=worker.detached)
        response = Response(outcome="cancelled", reason="it was told to stop", untidy=True)
    except OSError as error:  # there is no place for its log
        response = begun_badly(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    text = response.model_dump_json()
    size = len(text.encode())
    if size <= wire.LONGEST_ANSWER:
        return text
    reason = (
        f'the plugin "{request.step.uses}" returned {size >> 20} MiB; results may have '
        f"{wire.LONGEST_ANSWER >> 20} MiB. Files belong into the store: step.keep"
    )
    return Response(outcome="error", reason=reason).model_dump_json()


class _output_to:  # noqa: N801 - a context manager, used like a function
    """What a plugin prints goes to its step's log."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> None:
        file = open_log(self._log)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        os.close(file)

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()


class _stoppable:  # noqa: N801 - as above
    """While a request is worked on, SIGTERM ends it; one that comes too early waits for it to begin."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        def stop(*_: object) -> None:
            signal.signal(signal.SIGTERM, _nothing)  # once is enough
            signal.signal(signal.SIGALRM, leave)
            signal.setitimer(signal.ITIMER_REAL, _LAST_MOMENT)
            raise Stopped

        def leave(*_: object) -> None:
            process.end_descendants(spare=self._worker.detached, grace=0)
            os._exit(1)

        signal.signal(signal.SIGTERM, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
