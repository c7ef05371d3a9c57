"""What a service on a host writes: its container's log, and that of whatever takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from penstock import StepFailed

from penstock_docker import containers
from penstock_docker.containers import Found, Place
from penstock_docker.engine import NotFound

_TIME = "%Y-%m-%dT%H:%M:%S"


def lines(place: Place, *, since: float | None, tail: int | None, follow: bool) -> Iterator[str]:
    """The lines of the container that runs, or of the one that ran last; with `follow` for ever."""
    if not follow:
        yield from (text for _, text in _of(place, _newest(place), since=since, tail=tail))
        return
    events = _starts(place)  # asked for first, so that none is missed
    seen, last = "", ""
    while True:
        one = _newest(place)
        again = one.id == seen and bool(last)
        start = _seconds(last) if again else None if seen else since
        begin = last if again else ""
        for stamp, text in _of(place, one, since=start, tail=None if seen else tail, follow=True):
            if stamp > begin:
                last = stamp
                yield text
        seen = one.id
        if next(events, None) is None:
            return


def _newest(place: Place) -> Found:
    found = containers.of_service(place)
    one = containers.current(place, found) or next(iter(found), None)
    if one is None:
        raise StepFailed(f"{place.host} has no container of {place.service}: nothing is deployed there")
    return one


def _starts(place: Place) -> Iterator[Any]:
    """The starts of the service's containers, from now on."""
    labels = [
        f"{containers.SERVICE}={place.service}",
        f"{containers.ENVIRONMENT}={place.step.environment or ''}",
    ]
    found: Iterator[Any] = place.client.api.events(filters={"label": labels, "event": "start"})
    return found


def _of(
    place: Place, one: Found, *, since: float | None, tail: int | None, follow: bool = False
) -> Iterator[tuple[str, str]]:
    """The lines of one container, each with its time."""
    more: dict[str, Any] = {} if since is None else {"since": since}
    rest = b""
    try:
        chunks = place.client.api.logs(
            one.id, stream=True, follow=follow, timestamps=True, tail="all" if tail is None else tail, **more
        )
        for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (_split(line) for line in whole)
    except NotFound:  # removed since it was found
        return
    if rest:
        yield _split(rest)


def _split(line: bytes) -> tuple[str, str]:
    stamp, _, text = line.decode(errors="replace").partition(" ")
    return stamp, text.rstrip("\r")


def _seconds(stamp: str) -> float:
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.strptime(f"{whole}+0000", f"{_TIME}%z").timestamp() + float(f"0.{fraction or 0}")
