"""What `watch` says: a line for each thing that happens, or an object of JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from penstock.changes import Change
from penstock.cli.common import Opened
from penstock.cli.lines import duration
from penstock.cli.outlet import finish, outlet
from penstock.cli.text import ACTING, clean
from penstock.engine import load_run
from penstock.errors import PenstockError

_SHORT = 7


class Voice:
    """Says what a watch sees and does."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._trouble = ""
        self._stream = outlet(sys.stdout)

    def began(self, branches: Sequence[str], every: float) -> None:
        """What is watched."""
        words = f"Watching {', '.join(branches)}, every {every:g} s. Ctrl-C ends it."
        self._tell("watch.began", words, branches=list(branches))

    def started(self, change: Change, run: int) -> None:
        """A run has begun, and what it supersedes."""
        by = f" ({change.revision.author.partition(' <')[0]})" if change.revision.author else ""
        words = f"{change.revision.subject or 'no message'}{by}: run {run}"
        self._of("change.started", change.ref, change.commit, words, run=run)
        for data in change.superseded:
            words = f"superseded by {change.revision.short}"
            self._of("change.superseded", change.ref, data["commit"], words, by=change.commit, run=run)

    def finished(self, run: int, ref: str, commit: str, result: Mapping[str, Any]) -> None:
        """A run is over, or waits."""
        words = f"{result['state']} in {duration(result['seconds'])}"
        words += f": {result['reason']}" if result["reason"] else ""
        next_ = {"passed": "", "waiting": f". Then: penstock approve {run}"}
        words += next_.get(result["state"], f". See: penstock show {run}")
        self._of("change.finished", ref, commit, words, run=run, **result)

    def resumed(self, run: int, ref: str, commit: str) -> None:
        """A run that was cut off goes on."""
        self._of("change.resumed", ref, commit, f"run {run} goes on", run=run)

    def left(self, run: int, ref: str, commit: str) -> None:
        """The watch ends before its run."""
        words = f"run {run} is cut off; the next watch goes on with it, or: penstock resume {run}"
        self._of("change.left", ref, commit, words, run=run)

    def refused(self, change: Change, reason: str) -> None:
        """No run can begin for this commit."""
        first, _, rest = reason.partition("\n")
        words = f"can't be run: {first}" + (f" (and {rest.count(chr(10)) + 1} more)" if rest else "")
        self._of("change.refused", change.ref, change.commit, words, reason=reason)
        for data in change.superseded:
            words = f"superseded by {change.revision.short}"
            self._of("change.superseded", change.ref, data["commit"], words, by=change.commit)

    def seen(self, change: Change, why: str) -> None:
        """A commit is taken note of, and nothing is done."""
        self._of("change.seen", change.ref, change.commit, why, reason=why)

    def trouble(self, words: str) -> None:
        """What goes wrong with watching itself; said once as long as it stays the same."""
        if words == self._trouble:
            return
        self._trouble = words
        if self._as_json:
            self._tell("watch.trouble", "", reason=words)
        with contextlib.suppress(OSError):
            click.echo(f"penstock: {clean(words)}", err=True)

    def no_trouble(self) -> None:
        """It goes well again: what goes wrong from now on is said anew."""
        self._trouble = ""
        with contextlib.suppress(OSError):
            self._stream.flush()  # what was not read yet

    def _of(self, kind: str, ref: str, commit: str, words: str, **data: Any) -> None:
        self._tell(kind, f"{ref}  {commit[:_SHORT]}  {words}", ref=ref, commit=commit, **data)

    def _tell(self, kind: str, words: str, **data: Any) -> None:
        if not self._as_json:
            self._line(words)
            return
        text = json.dumps({"type": kind, "time": time.time(), **data}, ensure_ascii=False)
        self._out(text if text.isascii() else text.translate(ACTING))

    def _line(self, words: str) -> None:
        self._out(f"{time.strftime('%H:%M:%S')}  {clean(words)}")

    def _out(self, text: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it is gone; the watch goes on
            click.echo(text, file=self._stream)

    def end(self, told: Callable[[], bool]) -> None:
        """Have the last of it read, unless somebody who is `told` to end does not want to wait for that."""
        with contextlib.suppress(OSError):
            finish(self._stream, told)


def result_of(opened: Opened, run: int) -> dict[str, Any]:
    """How a run ended, and why."""
    line = opened.journal.run(run)
    reason = ""
    with contextlib.suppress(PenstockError):
        steps = load_run(opened.journal, opened.home, run).steps.items()
        wrong = [(name, step) for name, step in steps if step.state in ("failed", "refused", "waiting")]
        if wrong:
            name, step = wrong[0]
            said = step.reason.partition("\n")[0] or step.summary
            reason = f"{name}, {said}" if said else name
    return {
        "state": line.state,
        "seconds": round((line.finished or time.time()) - line.started, 3),
        "reason": reason,
    }
