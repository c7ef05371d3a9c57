"""Where requests run: the Executor protocol, and the local pool of worker processes.

The pool forks its workers from a process that has imported the core and the enabled plugins and has no
thread, and keeps them warm. A worker ends with its engine, and a step's processes end with their worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from penstock import process
from penstock.errors import StepCancelled
from penstock.request import Request, Response
from penstock.worker import Worker

LONGEST_ANSWER = 64 * 2**20
"""Bytes of a response; results are for the journal, files belong into the store."""
PATIENCE = 4.0
"""Seconds that a worker has to clean up after it was told to stop."""

_HEAD = struct.Struct("!I")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Done:
    """A request has ended."""

    ticket: str
    response: Response


@dataclass(frozen=True)
class Progress:
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
    seconds, however the step resists. After `close` nothing of any request is left.
    """

    def submit(self, ticket: str, request: Request) -> None: ...  # noqa: D102
    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> list[Done | Progress]: ...  # noqa: D102
    def end(self, ticket: str) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass
class _Process:
    pid: int
    connection: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    ticket: str | None = None
    mark: str = ""
    kill_at: float | None = None


class LocalPool:
    """Workers on this machine, each a forked process that takes one request after another."""

    def __init__(self, make_worker: Callable[[], Worker], *, in_child: Callable[[], None]) -> None:
        self._make_worker = make_worker
        self._in_child = in_child
        self._processes: list[_Process] = []
        process.become_subreaper()

    def submit(self, ticket: str, request: Request) -> None:
        """Hand a request to an idle worker, or to a new one."""
        idle = next((p for p in self._processes if p.ticket is None), None) or self._fork()
        idle.ticket = ticket
        idle.mark = mark_of(request, self._make_worker().home.log(request.info.run, "x", 1).parent)
        idle.kill_at = None
        with contextlib.suppress(OSError):  # it has died: `wait` sees the end of its stream
            _send(idle.connection, request.model_dump_json().encode())

    def wait(self, timeout: float | None, also: tuple[int, ...] = ()) -> list[Done | Progress]:
        """Wait until something is known."""
        deadlines = [p.kill_at for p in self._processes if p.kill_at is not None]
        if deadlines:
            left = max(0.0, min(deadlines) - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        news: list[Done | Progress] = []
        with selectors.DefaultSelector() as selector:
            for worker in self._processes:
                selector.register(worker.connection, selectors.EVENT_READ, worker)
            for descriptor in also:
                selector.register(descriptor, selectors.EVENT_READ, None)
            for key, _ in selector.select(timeout):
                if key.data is not None:
                    news.extend(self._read(key.data))
        for worker in list(self._processes):
            if worker.kill_at is not None and time.monotonic() >= worker.kill_at:
                news.extend(self._killed(worker))
        return news

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
            worker.connection.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)
        self._processes = []

    def _fork(self) -> _Process:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        engine = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for other in self._processes:
                other.connection.close()
            self._in_child()
            _serve(theirs, self._make_worker(), engine)
        theirs.close()
        worker = _Process(pid, ours)
        self._processes.append(worker)
        return worker

    def _read(self, worker: _Process) -> list[Done | Progress]:
        try:
            data = worker.connection.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            return self._lost(worker)
        worker.buffer += data
        return [news for message in _messages(worker.buffer) if (news := self._take(worker, message))]

    def _take(self, worker: _Process, message: dict[str, Any]) -> Done | Progress | None:
        ticket = worker.ticket
        if ticket is None:
            return None
        if "progress" in message:
            return Progress(ticket, *message["progress"])
        worker.ticket, worker.kill_at = None, None
        return Done(ticket, Response.model_validate(message["response"]))

    def _killed(self, worker: _Process) -> list[Done | Progress]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        return self._lost(worker)

    def _lost(self, worker: _Process) -> list[Done | Progress]:
        """A worker is gone: what its step left behind goes too."""
        self._processes.remove(worker)
        worker.connection.close()
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        except ChildProcessError:
            status = 0
        if worker.mark:
            process.end_marked(worker.mark, grace=0.2)
        if worker.ticket is None:
            return []
        told = worker.kill_at is not None
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
        response = Response(
            outcome="cancelled" if told else "error",
            reason="it was told to stop" if told else f"the process of the step {how} before it had a result",
        )
        return [Done(worker.ticket, response)]


def mark_of(request: Request, logs: Path) -> str:
    """What the processes of a request carry in their environment."""
    return f"{logs}:{request.step.name}:{request.info.attempt}"


def _serve(connection: socket.socket, worker: Worker, engine: int) -> NoReturn:
    """The life of a worker process."""
    status = 1
    try:
        _prepare(engine)
        buffer = bytearray()

        def tell(done: int, total: int, what: str) -> None:
            _send(connection, json.dumps({"progress": [done, total, what]}).encode())

        worker.on_progress = tell
        while data := connection.recv(1 << 20):
            buffer += data
            for message in _messages(buffer):
                _send(connection, _answer(worker, Request.model_validate(message)))
        status = 0
    except OSError:
        status = 0  # the engine is gone, and so is what was to be done
    except BaseException:  # nothing may escape into the copy of the engine that this process is
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _prepare(engine: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's to deal with
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != engine:
            os._exit(0)
    process.become_subreaper()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)


def _answer(worker: Worker, request: Request) -> bytes:
    log = worker.home.log(request.info.run, request.step.name, request.info.attempt)
    with _output_to(log), _stoppable():
        try:
            response = worker.handle(request)
        except StepCancelled as error:  # told to stop while it was cleaning up
            process.end_descendants(spare=worker.detached)
            response = Response(outcome="cancelled", reason=str(error))
    text = json.dumps({"response": response.model_dump(mode="json")}).encode()
    if len(text) <= LONGEST_ANSWER:
        return text
    too_long = Response(
        outcome="error",
        reason=f'the plugin "{request.step.uses}" returned {len(text) >> 20} MiB; results may have '
        f"{LONGEST_ANSWER >> 20} MiB. Files belong into the store: step.keep",
    )
    return json.dumps({"response": too_long.model_dump(mode="json")}).encode()


class _output_to:  # noqa: N801 - a context manager, used like a function
    """What a plugin prints goes to its step's log."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        os.close(file)

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()


class _stoppable:  # noqa: N801 - as above
    """While a request is worked on, SIGTERM ends it; between requests it is left to the engine."""

    def __enter__(self) -> None:
        def stop(*_: object) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
            raise StepCancelled("it was told to stop")

        signal.signal(signal.SIGTERM, stop)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(_HEAD.pack(len(data)) + data)


def _messages(buffer: bytearray) -> list[dict[str, Any]]:
    """The whole messages at the beginning of the buffer, which are taken from it."""
    found = []
    while len(buffer) >= _HEAD.size:
        (size,) = _HEAD.unpack_from(buffer)
        if len(buffer) < _HEAD.size + size:
            break
        found.append(json.loads(buffer[_HEAD.size : _HEAD.size + size]))
        del buffer[: _HEAD.size + size]
    return found
