"""The `notify` plugin: tells of failure, recovery, waiting for approval, deployed and rolled back."""

from __future__ import annotations

from penstock import Event, Observed, hookimpl

from penstock_notify.settings import Notify

PENSTOCK_API = 1

_TELLING = frozenset(("run.finished", "run.waiting", "step.finished", "change.refused"))


@hookimpl
def penstock_event(settings: Notify, event: Event, observed: Observed) -> None:
    """Tell the section's receiver, where the event is one of those that it wants to hear of."""
    if event.type not in _TELLING:
        return
    from penstock_notify import messages

    for message in messages.about(event, observed):
        if message.kind in settings.on:
            # What speaks to receivers is dear to import, and most events lead to no message.
            from penstock_notify import delivery

            delivery.deliver(settings, message, observed.root, observed.secret)
