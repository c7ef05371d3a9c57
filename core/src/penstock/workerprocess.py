"""The life of a worker process: it takes its engine's requests, one after another, until that is gone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from penstock import process, wire
from penstock.home import open_log
from penstock.outcomes import Stopped, begun_badly
from penstock.request import Request, Response

if TYPE_CHECKING:
    from penstock.worker import Worker

BEGIN = b"begin"
"""Stands behind a request, once its beginning is on record."""
_LAST_MOMENT = 2.5
"""Seconds after which a worker that was told to stop and can't ends itself, with all that it started."""


class _Leave:
    """The engine's word that a request may begin, which comes behind it once its beginning is on record."""

    def __init__(self, incoming: Iterator[bytes]) -> None:
        self._incoming = incoming
        self._given = False

    def __call__(self) -> None:
        """Wait for it. Raises Stopped where it does not come: the engine is gone."""
        self._given = self._given or next(self._incoming, None) == BEGIN
        if not self._given:
            raise Stopped


def serve(connection: socket.socket, worker: Worker, engine: int) -> NoReturn:
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
        incoming = wire.incoming(connection)
        for message in incoming:
            worker.may_begin = _Leave(incoming)
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
    _open_streams()


def _open_streams() -> None:
    """Both streams, whatever these were to the engine, or a plugin has made of them."""
    sys.stdout, sys.stderr = _line_by_line(1), _line_by_line(2)


def _line_by_line(descriptor: int) -> TextIO:
    """So that what is printed stands in the log where it belongs."""
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
    if response.outcome != "cancelled":
        with contextlib.suppress(Stopped):
            worker.may_begin()  # where it could not: nothing is said of what is not on record
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
        if file <= 2:  # a plugin has closed a standard stream, whose place it took
            file = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        os.close(file)
        _open_streams()

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
