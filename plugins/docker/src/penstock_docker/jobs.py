"""Commands that run once a rollout, in the release's own image, with what the service has but its ports."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from docker.errors import APIError
from penstock import Job, Release, Step, StepFailed

from penstock_docker import complaints, containers, engine, labels, pulling
from penstock_docker.containers import Found, Place
from penstock_docker.settings import Command, Service
from penstock_docker.targets import name_of

_JOB = f"{containers.LABEL}job"
_KILL = 30.0
"""Seconds to have one ended."""
_LAST_LINES = 5
_LAST_WORDS = 2000


def jobs(settings: Service, step: Step) -> list[Job]:
    """What `before` and `after` name, in their order."""
    found: list[Job] = []
    whens: tuple[Literal["before", "after"], ...] = ("before", "after")
    for when in whens:
        for command in getattr(settings, when):
            found.append(  # noqa: PERF401 - a comprehension of two loops says less
                ContainerJob(
                    id=command.name,
                    when=when,
                    host=command.host or settings.hosts[0],
                    service=name_of(settings, step),
                    command=command,
                    settings=settings,
                )
            )
    return found


class ContainerJob(Job):
    """One command in a container of its own."""

    host: str
    service: str
    command: Command
    settings: Service

    def run(self, release: Release, step: Step) -> None:
        """Run it to its end, with its output in the step's log. Raises StepFailed where it ends badly."""
        artifact = pulling.image_of(release, self.settings.image)
        patience = self.settings.answer_within
        with engine.connected(self.host, tls=self.settings.tls, patience=patience) as client:
            place = Place(client, self.host, self.service, self.settings, step)
            image = pulling.bring(place, artifact)
            with self._container(place, image) as made:
                # What it prints may be long in coming; past its time it is ended by somebody else.
                client.api.timeout = self.command.timeout + patience  # type: ignore[assignment]  # the stubs want whole seconds
                with self._limited(made) as over:
                    status, said = _followed(place, made)
                self._judge(status, said, in_time=not over.is_set())
        step.log(f"{self.id} is done")

    @contextmanager
    def _container(self, place: Place, image: str) -> Iterator[Found]:
        """A container that runs, and is removed whatever comes; before it, those that a crash has left."""
        mark = f"{self.service}/{place.step.environment or ''}/{self.id}"
        for left in place.client.api.containers(all=True, filters={"label": f"{_JOB}={mark}"}):
            containers.remove_one(place, left["Id"])
        name = f"{self.service}-{self.id}-{secrets.token_hex(4)}"
        joined = containers.networks(place)
        words = list(self.command.command)
        try:
            made = place.client.containers.create(
                image,
                words,
                name=name,
                labels={**labels.of(place.step, self.host, self.settings.tls), _JOB: mark},
                network=joined[0] if joined else None,
                healthcheck={"test": ["NONE"]},
                **containers.options(place),
            )
        except APIError as error:
            raise StepFailed(self._said(f"can't be made: {complaints.of_error(error)}")) from None
        found = Found(str(made.id), name, image, "created", {})
        try:
            containers.complete(place, found)
            place.step.log(f"{self.id} on {self.host}: {' '.join(words)}")
            try:
                place.client.api.start(found.id)
            except APIError as error:
                raise StepFailed(self._said(f"can't be started: {complaints.of_error(error)}")) from None
            yield found
        finally:
            containers.remove_one(place, found.id)
            labels.forget(place.step, self.host)

    @contextmanager
    def _limited(self, made: Found) -> Iterator[threading.Event]:
        """While it runs: past its time it is killed, and the event is set."""
        over = threading.Event()
        timer = threading.Timer(self.command.timeout, self._kill, (made, over))
        timer.daemon = True
        timer.start()
        try:
            yield over
        finally:
            timer.cancel()
            timer.join()

    def _kill(self, made: Found, over: threading.Event) -> None:
        over.set()
        tls = self.settings.tls
        with suppress(StepFailed), engine.connected(self.host, tls=tls, patience=_KILL) as other:
            other.api.kill(made.id)

    def _judge(self, status: int, said: str, *, in_time: bool) -> None:
        if status == 0 and in_time:
            return
        how = (
            f"ended with {status}"
            if in_time
            else f"took longer than {self.command.timeout:g} s and was ended"
        )
        lines = [line for line in said.splitlines() if line.strip()][-_LAST_LINES:]
        raise StepFailed(self._said(f"{how}: {' / '.join(lines) or 'it printed nothing'}"))

    def _said(self, what: str) -> str:
        return f"the job {self.id} on {self.host} {what}"


def _followed(place: Place, made: Found) -> tuple[int, str]:
    """Show what it prints, as it comes, until its end; how it ended, and its last words."""
    show, show_rest = place.step.masked_log()
    last = b""
    for chunk in place.client.api.logs(made.id, stream=True, follow=True):
        show(chunk)
        last = (last + chunk)[-_LAST_WORDS:]
    status = int(place.client.api.wait(made.id)["StatusCode"])
    # An engine that is asked to follow may let go before the last of it.
    rest = place.client.api.logs(made.id, tail=_LAST_LINES)
    missed = rest[_overlap(last, rest) :]
    show(missed)
    show_rest()
    return status, (last + missed).decode(errors="replace")


def _overlap(shown: bytes, last: bytes) -> int:
    """How many of the last bytes were shown already."""
    return next((size for size in range(len(last), 0, -1) if shown.endswith(last[:size])), 0)
