"""Containers on Docker hosts, each a target of the rollout: known by label, changed by digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from penstock import Health, Release, Step, StepFailed, Target, TargetState

from penstock_docker import containers, engine, health, pulling, traffic, written
from penstock_docker.containers import Place
from penstock_docker.settings import Service


def targets(settings: Service, step: Step) -> list[Target]:
    """One target a host, for the image that the section means."""
    for name in (*settings.service_secrets, *settings.secret_files):
        step.secret(name)
    service = name_of(settings, step)
    if settings.proxy is not None:
        traffic.check_names(settings.proxy, settings.hosts)
    return [
        DockerHost(
            id=f"docker:{host}#{service}", host=host, service=service, settings=settings, number=number
        )
        for number, host in enumerate(settings.hosts, start=1)
    ]


def name_of(settings: Service, step: Step) -> str:
    """What the service is called on each host, by default so that no other is called the same."""
    if settings.service:
        return settings.service
    own = step.name.partition(".")[2]
    words = [(settings.repository or "").rpartition("/")[2], own, step.environment or ""]
    tidy = [re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words]
    return "-".join(dict.fromkeys(word for word in tidy if word)) or "service"


class DockerHost(Target):
    """One service on one engine."""

    host: str
    service: str
    settings: Service
    number: int = 1
    """Its place among the hosts."""

    @property
    def shifts(self) -> bool:
        """Whether a proxy sends it its requests, and can be told not to."""
        return self.settings.proxy is not None

    def shift(self, share: float, step: Step) -> None:
        """Have the proxy send it this share of its requests."""
        proxy = self.settings.proxy
        assert proxy is not None
        traffic.shift(proxy, traffic.server(proxy, self.host, self.number), share, step)

    def observe(self, step: Step) -> TargetState:
        """The container that runs, and what is needed to have it again."""
        with self._place(step) as place:
            current = containers.current(place, containers.of_service(place))
            if current is None:
                return TargetState()
            return TargetState(
                release=current.release, data={"container": current.id, "image": current.image}
            )

    def apply(self, release: Release, step: Step) -> None:
        """Bring the image to the host, compare it by digest, and start its container in the other's place."""
        artifact = pulling.image_of(release, self.settings.image)
        with self._place(step) as place:
            image = pulling.bring(place, artifact)
            found = containers.of_service(place)
            containers.refuse_taken_ports(place, found)
            chosen = containers.ready(place, release, image, found)
            containers.switch(place, chosen, found)
            # Asked once more: an engine may have made by now what a call asked for that was killed.
            containers.remove_older(place, chosen, containers.of_service(place))

    def probe(self, step: Step) -> Health:
        """Whether the container that runs is well."""
        with self._place(step) as place:
            current = containers.current(place, containers.of_service(place))
            if current is None:
                return Health(status="unhealthy", detail="no container runs")
            return health.look(place.client, current.id, self.host, self.settings)

    def restore(self, state: TargetState, step: Step) -> None:
        """Start the container again that ran before, which is kept until its successor is well."""
        before = state.data.get("container")
        with self._place(step) as place:
            found = containers.of_service(place)
            if before is None:
                containers.log_last_lines(place, found)
                containers.remove(place, found, grace=True)
                return
            chosen = next((one for one in found if one.id == before), None)
            if chosen is None:
                raise StepFailed(
                    f"the container that ran on {self.host} before, {str(before)[:12]}, is gone. Deploy "
                    "again: penstock run"
                )
            containers.switch(place, chosen, found)
            others = [one for one in containers.of_service(place) if one.id != before]  # once more, as above
            containers.log_last_lines(place, others)
            containers.remove(place, others)

    def logs(self, step: Step, *, since: float | None, tail: int | None, follow: bool) -> Iterator[str]:
        """What its containers write, one after another."""
        with self._place(step, waits=follow) as place:
            yield from written.lines(place, since=since, tail=tail, follow=follow)

    @contextmanager
    def _place(self, step: Step, *, waits: bool = False) -> Iterator[Place]:
        settings = self.settings
        patience = None if waits else settings.answer_within
        with engine.connected(self.host, tls=settings.tls, patience=patience) as client:
            yield Place(client, self.host, self.service, settings, step)
