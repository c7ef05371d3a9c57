"""What an exception that a plugin raised means for its step."""

from __future__ import annotations

import contextlib
import errno
import traceback
from typing import Any

from penstock.errors import (
    PenstockError,
    PluginError,
    StepCancelled,
    StepFailed,
    StepRefused,
    in_words,
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
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
"""What goes well once somebody has made room."""


class Stopped(BaseException):
    """Raised in a worker that is told to stop. No plugin that catches every Exception keeps it."""


def response_to(error: BaseException, request: Request, step: Step | None) -> Response:
    """The response that an exception leads to; what is no error of ours goes to the log, whole."""
    if isinstance(error, Stopped):
        return Response(outcome="cancelled", reason="it was told to stop")
    cause = "machine" if for_want_of_room(error) else ""
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return Response(outcome=outcome, reason=plain(str(error)), cause=cause)  # type: ignore[arg-type]  # one of them
    if step:
        with contextlib.suppress(Exception):  # the disk is full, or the exception can't be shown
            step.log("".join(traceback.format_exception(error)))
    what = of_machine(error) or f'the plugin "{request.step.uses}" failed: {_what(error)}'
    return Response(
        outcome="error",
        reason=plain(what[:LONGEST_REASON])
        + f". The whole story: penstock logs {request.info.run} {request.step.name}",
        cause=cause,  # type: ignore[arg-type]  # as above
    )


def for_want_of_room(error: BaseException | None) -> bool:
    """Whether a full disk, or too many open files, is what an exception comes from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


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
