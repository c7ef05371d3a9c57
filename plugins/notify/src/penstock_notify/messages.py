"""An event, and the record around it → what there is to tell. Nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from penstock import Event, Observed, Revision

_LOOKED_BACK = 100
"""So many runs are looked through for the one before on the same branch."""
_BAD = ("failed", "refused")
_GOOD = ("passed", "cached")
_LONGEST = 500


@dataclass(frozen=True)
class Message:
    """One thing to tell."""

    id: str
    """The same each time that this is told: a receiver that has seen it can leave it at that."""
    kind: str
    project: str
    run: int | None
    time: float
    title: str
    look: str
    """The command that shows more."""
    ref: str | None = None
    commit: str | None = None
    author: str | None = None
    subject: str | None = None
    environment: str | None = None
    step: str | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """What stands below the title."""
        source = " ".join(part for part in ((self.commit or "")[:7], self.ref) if part)
        lines = {
            "revision": ", ".join(filter(None, (source, self.subject, self.author))),
            "step": self.step,
            "reason": self.reason,
            "look": self.look,
        }
        return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)

    @property
    def as_json(self) -> bytes:
        """The whole of it, for programs."""
        return json.dumps({**asdict(self), "text": self.text}).encode()


def about(event: Event, observed: Observed) -> list[Message]:
    """What this event is worth telling of: nothing, mostly."""
    if event.type == "change.refused":
        return [_refused(event, observed)]
    if event.type == "step.finished" and not str(event.step).startswith("deploy."):
        return []
    events = [each for each in observed.events(event.run) if each.id <= event.id]
    if event.type == "step.finished":
        return _deployment(event, events, observed)
    if event.type == "run.waiting":
        return _waiting(event, events, observed)
    return _end(event, events, observed)


def _end(event: Event, events: Sequence[Event], observed: Observed) -> list[Message]:
    state = event.data.get("state")
    revision = _revision(events)
    if state in _BAD:
        wrong = [each for each in events if _is(each, "step.finished", _BAD)]
        step = wrong[0] if wrong else None
        reason = _first_line(step.data.get("reason") or step.data.get("summary")) if step else None
        where = f" at {step.step}" if step else ""
        return [
            _message(
                "failure",
                f"run {event.run} {state}{where}",
                event,
                revision,
                observed,
                environment=_environment(step.step, events) if step else None,
                step=step.step if step else None,
                reason=reason,
            )
        ]
    if state == "passed" and revision is not None and _recovered(events, revision, observed):
        on = f" on {revision.ref}" if revision.ref else ""
        return [
            _message("recovery", f"run {event.run} passed: it works again{on}", event, revision, observed)
        ]
    return []


def _recovered(events: Sequence[Event], revision: Revision, observed: Observed) -> bool:
    """Whether a run passed what was the last to fail on its branch.

    A run of some steps, or of none that failed, says nothing about the others; one that was cancelled or
    waits, and a rollback, say nothing at all.
    """
    left = _ended(events, _GOOD)
    if _is_rollback(events):
        return False
    for earlier in islice(observed.runs(events[0].run), _LOOKED_BACK):
        same = earlier.revision is not None and earlier.revision.ref == revision.ref
        if not same or earlier.state not in ("passed", *_BAD):
            continue
        theirs = observed.events(earlier.run)
        if _is_rollback(theirs):
            continue
        if earlier.state in _BAD and _ended(theirs, _BAD) & left:
            return True
        left -= _ended(theirs, _GOOD)
        if not left:
            return False
    return False


def _ended(events: Sequence[Event], states: Sequence[str]) -> set[str]:
    """The steps that ended so."""
    return {str(each.step) for each in events if _is(each, "step.finished", states)}


def _is_rollback(events: Sequence[Event]) -> bool:
    return bool(events[0].data.get("release"))


def _environment(step: str | None, events: Sequence[Event]) -> str | None:
    """Where a step works, as far as what it deployed, or else its name, says."""
    for each in events:
        if each.type == "rollout.began" and each.step == step:
            return (each.data.get("release") or {}).get("environment")
    phase, _, name = str(step).partition(".")
    return name.partition("[")[0] if phase in ("approve", "deploy", "verify") else None


def _waiting(event: Event, events: Sequence[Event], observed: Observed) -> list[Message]:
    """A run that waits; one that was taken up and waits for the same as before was told of already."""
    asked: dict[str, None] = {}
    told: list[str] = []
    for each in events:
        if each.type == "approval.requested":
            asked[str(each.step)] = None
        elif each.type in ("step.finished", "approval.given"):
            asked.pop(str(each.step), None)
        elif each.type == "run.waiting" and each.id != event.id:
            told = list(asked)
    if not asked or set(asked) <= set(told):
        return []
    step = next(iter(asked))
    return [
        _message(
            "waiting",
            f"run {event.run} waits for approval: {', '.join(asked)}",
            event,
            _revision(events),
            observed,
            step=step,
            environment=_environment(step, events),
            look=f"penstock approve {event.run}",
        )
    ]


def _deployment(event: Event, events: Sequence[Event], observed: Observed) -> list[Message]:
    own = [each for each in events if each.step == event.step]
    began = next((each for each in reversed(own) if each.type == "rollout.began"), None)
    if began is None:
        return []
    release: dict[str, Any] = began.data.get("release") or {}
    environment = str(release.get("environment") or "")
    revision = _revision(events)
    short = str(release.get("digest", "")).removeprefix("sha256:")[:12]
    if event.data.get("state") == "passed":
        said = "rolled back" if _is_rollback(events) else "deployed"
        title = (
            f"{environment} rolled back to {short}"
            if _is_rollback(events)
            else f"{short} deployed to {environment}"
        )
    elif (back := _restored(own)) and all(back):
        said, title = "rolled back", f"{environment} was put back: deploying {short} failed"
    else:
        return []
    reason = _first_line(event.data.get("reason"))
    more = {"environment": environment, "step": event.step, "reason": reason}
    return [_message(said, f"run {event.run}: {title}", event, revision, observed, **more)]


def _restored(events: Sequence[Event]) -> list[bool]:
    """Of each target that a deployment tried to put back, whether that went well."""
    return [
        bool(each.data.get("ok"))
        for each in events
        if each.type == "rollout.ended" and each.data.get("op") == "restore"
    ]


def _refused(event: Event, observed: Observed) -> Message:
    data = event.data
    commit, ref = str(data.get("commit", "")), str(data.get("ref", ""))
    return _message(
        "failure",
        f"{commit[:7]} of {ref} can't be run",
        event,
        Revision(commit=commit, ref=ref),
        observed,
        reason=_first_line(data.get("reason")),
        look=f"penstock run --rev {commit[:12]}",
    )


def _message(
    kind: str,
    title: str,
    event: Event,
    revision: Revision | None,
    observed: Observed,
    *,
    look: str | None = None,
    **more: Any,
) -> Message:
    revision = revision or Revision()
    return Message(
        id=observed.key(event),
        kind=kind,
        project=observed.project,
        run=event.run or None,
        time=event.time,
        title=f"{observed.project}: {title}",
        look=look or f"penstock show {event.run}",
        ref=revision.ref,
        commit=revision.commit,
        author=revision.author,
        subject=revision.subject,
        **more,
    )


def _revision(events: Sequence[Event]) -> Revision | None:
    """The revision that the run is about, as far as its events say."""
    for each in reversed(events):
        found = each.data.get("revision") if each.type in ("step.finished", "run.started") else None
        found = (
            found or (each.data.get("release") or {}).get("revision") if each.type == "run.started" else found
        )
        if found:
            return Revision.model_validate(found)
    return None


def _is(event: Event, kind: str, states: Sequence[str]) -> bool:
    return event.type == kind and event.data.get("state") in states


def _first_line(text: object) -> str | None:
    line = str(text or "").strip().partition("\n")[0]
    return line[:_LONGEST] or None
