"""What a plugin itself prints, led to its step's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock import process
from penstock.step import Step


@contextmanager
def printing(step: Step, end_others: Callable[[], None]) -> Iterator[None]:
    """While a plugin works: what it prints itself has the step's secrets masked, too."""
    if not step.has_secrets:
        yield
        return
    show, show_rest = step.masked_log()
    with process.printed_to(show, end_others=end_others):
        yield
    show_rest()
