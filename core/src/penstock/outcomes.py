"""What it means for its step that a plugin raised an exception, or that its process is gone."""

from __future__ import annotations

import contextlib
import errno
import signal
from typing import Any

from penstock import process
from penstock.errors import (
    PenstockError,
    PluginError,
    StepCancelled,
    StepFailed,
    StepRefused,
    in_words,
    of_file,
    sentence,
)
from penstock.request import Request, Response
from penstock.secrets import plain
from penstock.step import Step

LONGEST_REASON = 4000
_OUTCOMES: tuple[tuple[type[PenstockError], Any], ...] = (
    (StepCancelled, "cancelled"),
    (StepRefused, "refused"),
    (StepFailed, "failed"),
    (PluginError, "error"),
    (PenstockError, "failed"),
)
_MACHINE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file grew larger than the system allows",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk can't be read or written",
}
"""What is nobody's fault but the machine's."""
_NO_ROOM = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room",
    errno.EMFILE: "Allow more: ulimit -n",
    errno.ENFILE: "Close some, or allow more",
}
"""What goes well later, once somebody has done this."""


class Stopped(BaseException):
    """Raised in a worker that is told to stop. No plugin that catches every Exception keeps it."""


def response_to(error: BaseException, request: Request, step: Step | None) -> Response:
    """The response that an exception leads to; what is no error of ours goes to the log, whole."""
    if isinstance(error, Stopped):
        return Response(outcome="cancelled", reason="it was told to stop")
    cure = cure_for(error)
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return _curable(outcome, plain(str(error)), cure)
    if step:
        import traceback  # most steps have nothing to tell of

        with contextlib.suppress(Exception):  # the disk is full, or the exception can't be shown
            step.log("".join(traceback.format_exception(error)))
    what = of_machine(error) or f'the plugin "{request.step.uses}" failed: {_what(error)}'
    # It is cut once it is masked: half a secret is found by no mask.
    story = f". The whole story: penstock logs {request.info.run} {request.step.name}"
    return _curable("error", plain(what) + story, cure)


def begun_badly(error: OSError) -> Response:
    """The response where a step has not even a log."""
    return _curable("error", f"the step can't begin: {of_file(error)}", cure_for(error))


def cure_for(error: BaseException | None) -> str:
    """What to do where a full disk, or too many files or processes, is what it comes from; or nothing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, process.TooManyProcesses):
            return "Allow more processes: ulimit -u"
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return _NO_ROOM[error.errno]
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return ""


def _curable(outcome: Any, reason: str, cure: str) -> Response:
    if not cure:
        return Response(outcome=outcome, reason=reason)
    return Response(outcome=outcome, reason=f"{sentence(reason)} {cure}", cause="machine")


def of_machine(error: BaseException) -> str:
    """What the machine refused, if that is what an exception says; otherwise nothing."""
    if not isinstance(error, OSError) or error.errno not in _MACHINE:
        return ""
    where = f" ({error.filename})" if error.filename else ""
    return f"{_MACHINE[error.errno]}{where}"


def _what(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process: sys.exit({error.code!r})"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}" + (f": {error.filename}" if error.filename else "")
    return in_words(error)


def without_result(status: int, *, told: bool, ours: bool) -> Response:
    """What became of a request whose worker ended so; `ours`: by a signal of ours."""
    how = f"was killed by {process.name_of_signal(-status)}" if status < 0 else f"exited with {status}"
    if status == -signal.SIGKILL:
        how += " (by somebody, or for want of memory)"
    return Response(
        outcome="cancelled" if told else "error",
        reason="it was told to stop" if told else f"the process of the step {how} before it had a result",
        cause="lost" if status == -signal.SIGKILL and not (told or ours) else "",
        untidy=True,
    )
