"""Containers on Docker hosts, each a target of the rollout: known by label, changed by digest."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from docker.models.containers import Container
from docker.types import LogConfig
from penstock import (
    Artifact,
    ConfigError,
    Health,
    Release,
    Step,
    StepFailed,
    StepRefused,
    Target,
    TargetState,
)

from penstock_docker import archive, engine
from penstock_docker.engine import DockerClient, NotFound
from penstock_docker.settings import Service

LABEL = "dev.penstock."
_SERVICE, _ENVIRONMENT = f"{LABEL}service", f"{LABEL}environment"
_RELEASE, _CONFIG = f"{LABEL}release", f"{LABEL}configuration"
_ANSWER_WITHIN = 5.0


def targets(settings: Service, step: Step) -> list[Target]:
    """One target a host, for the image that the section means."""
    for name in settings.service_secrets:
        step.secret(name)
    service = settings.service or f"{(step.environment or step.name).replace('.', '-')}"
    return [
        DockerHost(id=f"docker:{host}#{service}", host=host, service=service, settings=settings)
        for host in settings.hosts
    ]


class DockerHost(Target):
    """One service on one engine."""

    host: str
    service: str
    settings: Service

    def observe(self, step: Step) -> TargetState:
        """The container that runs, and what is needed to have it again."""
        with self._engine() as client:
            current = self._current(client, step)
            if current is None:
                return TargetState()
            return TargetState(
                release=current.labels.get(_RELEASE) or None,
                data={"container": str(current.id), "image": str(current.attrs["Image"])},
            )

    def apply(self, release: Release, step: Step) -> None:
        """Bring the image to the host, compare it by digest, and start its container in the other's place."""
        artifact = self._image(release)
        with self._engine() as client:
            image_id = self._bring(client, artifact, step)
            name = self._name(release, step)
            wanted = self._wanted(release, image_id, step)
            found = self._named(client, name)
            if found is not None and not self._is(found, wanted, image_id):
                found.remove(force=True, v=True)
                found = None
            made = found or self._create(client, name, wanted, image_id, step)
            self._switch(client, made, step)

    def probe(self, step: Step) -> Health:
        """Whether the container that runs is well."""
        with self._engine() as client:
            current = self._current(client, step)
            if current is None:
                return Health(status="unhealthy", detail="no container runs")
            return self._health(current)

    def restore(self, state: TargetState, step: Step) -> None:
        """Start the container again that ran before, which is kept until its successor is well."""
        with self._engine() as client:
            before = state.data.get("container")
            if before is None:
                for container in self._all(client, step):
                    container.remove(force=True, v=True)
                return
            try:
                container = client.containers.get(str(before))
            except NotFound:
                raise StepFailed(
                    f"the container that ran on {self.host} before, {str(before)[:12]}, is gone. Deploy "
                    "again: "
                    "penstock run"
                ) from None
            self._switch(client, container, step)

    # --- the host ---

    def _engine(self) -> AbstractContextManager[DockerClient]:
        return engine.connected(self.host)

    def _bring(self, client: DockerClient, artifact: Artifact, step: Step) -> str:
        wanted = archive.engine_digest(artifact)
        repository = self.settings.repository
        if repository is None or archive.has(client, wanted):
            return archive.load(client, artifact, step)
        step.log(f"{self.host} pulls {repository}@{artifact.digest}")
        for event in list(client.api.pull(repository, tag=artifact.digest, stream=True, decode=True)):
            if "error" in event:
                raise StepFailed(f"{self.host} can't pull {repository}@{artifact.digest}: {event['error']}")
        if not archive.has(client, wanted):
            raise StepRefused(
                f"{self.host} has pulled {repository}@{artifact.digest}, and it is not the image {wanted} "
                "that was "
                "tested"
            )
        return wanted

    def _image(self, release: Release) -> Artifact:
        images = [a for a in release.artifacts if a.kind == "image"]
        found = [a for a in images if fnmatch.fnmatchcase(a.name, self.settings.image)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(a.name for a in found or images) or "none"
        how = "several images match" if found else "no image of the release matches"
        raise ConfigError(f'{how} image = "{self.settings.image}": {names}')

    # --- containers ---

    def _name(self, release: Release, step: Step) -> str:
        # What is configured is part of the name: the same release with other settings is another container.
        told = json.dumps([self.settings.model_dump(mode="json"), sorted(self._secrets(step).items())])
        return f"{self.service}-{release.digest[7:15]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def _secrets(self, step: Step) -> dict[str, str]:
        return {name: step.secret(name) for name in self.settings.service_secrets}

    def _wanted(self, release: Release, image_id: str, step: Step) -> dict[str, str]:
        """The labels that the container is known by."""
        return {
            **self.settings.container_labels,
            _SERVICE: self.service,
            _ENVIRONMENT: step.environment or "",
            _RELEASE: release.digest,
            _CONFIG: image_id,
        }

    def _is(self, container: Container, labels: dict[str, str], image_id: str) -> bool:
        return container.attrs["Image"] == image_id and labels.items() <= container.labels.items()

    def _named(self, client: DockerClient, name: str) -> Container | None:
        try:
            return client.containers.get(name)
        except NotFound:
            return None

    def _all(self, client: DockerClient, step: Step) -> list[Container]:
        labels = [f"{_SERVICE}={self.service}", f"{_ENVIRONMENT}={step.environment or ''}"]
        found: list[Container] = client.containers.list(all=True, filters={"label": labels})
        return found

    def _current(self, client: DockerClient, step: Step) -> Container | None:
        """The container that serves, or that was meant to when its host went down."""
        found = self._all(client, step)
        running = [container for container in found if container.status in ("running", "restarting")]
        return max(running, key=lambda one: str(one.attrs["State"]["StartedAt"]), default=None)

    def _create(
        self, client: DockerClient, name: str, labels: dict[str, str], image_id: str, step: Step
    ) -> Container:
        settings = self.settings
        networks = [self._network(client, network) for network in settings.networks]
        made = client.containers.create(
            image_id,
            list(settings.command) if settings.command else None,
            name=name,
            labels=labels,
            environment={**settings.variables, **self._secrets(step)},
            ports=ports(settings),
            volumes=list(settings.volumes),
            network=networks[0] if networks else None,
            restart_policy={"Name": "unless-stopped"},  # type: ignore[arg-type]  # the stubs want a count, which is for "on-failure"
            mem_limit=int(settings.memory) if settings.memory else None,
            nano_cpus=int(settings.cpus * 1e9) if settings.cpus else None,
            init=True,
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "3"}),
            stop_signal=None,
        )
        for network in networks[1:]:
            client.networks.get(network).connect(made)
        step.log(f"Made {name} on {self.host}")
        return made

    def _network(self, client: DockerClient, name: str) -> str:
        if not client.networks.list(names=[name]):
            client.networks.create(name, check_duplicate=True, labels={_SERVICE: self.service})
        return name

    def _switch(self, client: DockerClient, chosen: Container, step: Step) -> None:
        """Stop what runs, start what is chosen; keep one stopped container to return to."""
        grace = max(1, round(self.settings.stop_grace))
        others = [one for one in self._all(client, step) if one.id != chosen.id]
        for container in others:
            if container.status in ("running", "restarting"):
                step.log(f"Stopping {container.name} on {self.host}")
                container.stop(timeout=grace)
                container.reload()
        chosen.reload()
        if chosen.status != "running":
            chosen.start()
            step.log(f"Started {chosen.name} on {self.host}")
        # Until the rollout is over the one that ran before may be needed; older ones are not.
        stopped = sorted(others, key=lambda one: str(one.attrs["State"]["FinishedAt"]), reverse=True)
        for container in stopped[_KEPT:]:
            with suppress(NotFound):
                container.remove(force=True, v=True)

    # --- health ---

    def _health(self, container: Container) -> Health:
        state = container.attrs["State"]
        early = _seconds_since(state.get("StartedAt", "")) < self.settings.start_timeout
        if state.get("Status") != "running" or container.attrs.get("RestartCount", 0) > _FLAPS:
            said = f"it is {state.get('Status')}, ended {container.attrs.get('RestartCount', 0)} times"
            return Health(status="unhealthy", detail=f"{said}: {_last_line(container)}")
        if self.settings.health:
            return self._asked(early)
        own = state.get("Health", {}).get("Status")
        if own in ("healthy", "unhealthy"):
            return Health(status=own, detail="the image's own check")
        if own == "starting":
            return Health(
                status="unknown" if early else "unhealthy", detail="the image's own check is still starting"
            )
        settled = _seconds_since(state.get("StartedAt", "")) >= self.settings.settle
        return Health(status="healthy" if settled else "unknown", detail=f"it runs, as {container.short_id}")

    def _asked(self, early: bool) -> Health:
        url = self.health_url()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
        try:
            with opener.open(url, timeout=_ANSWER_WITHIN) as answer:
                if answer.status == 200:
                    return Health(status="healthy", detail=f"{url} answered 200")
                said = str(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                said = str(error.code)
        except (OSError, ValueError) as error:
            said = f"nothing ({getattr(error, 'reason', error)})"
        detail = f"{url} answered {said}; 200 is needed"
        return Health(status="unknown" if early else "unhealthy", detail=detail)

    def health_url(self) -> str:
        """Where the host is asked whether the service is well."""
        health = self.settings.health or "/"
        name = _host_name(self.host)
        if not health.startswith("/"):
            return health.replace("{host}", name)
        return f"http://{name}:{self.settings.ports[0].split(':')[-2]}{health}"


_KEPT = 1
_FLAPS = 3


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer, and not the right one."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ports(settings: Service) -> dict[str, Any]:
    """The published ports as the engine's API has them."""
    found: dict[str, Any] = {}
    for port in settings.ports:
        number, _, protocol = port.partition("/")
        *address, host, inner = number.split(":")
        found[f"{inner}/{protocol or 'tcp'}"] = (address[0], int(host)) if address else int(host)
    return found


def _host_name(host: str) -> str:
    """Where a host's published ports answer."""
    found = urlsplit(engine.address(host))
    return found.hostname or "127.0.0.1"


def _seconds_since(text: str) -> float:
    """Docker writes times as RFC 3339 with nanoseconds."""
    try:
        then = datetime.fromisoformat(text[:19] + "+00:00")
    except ValueError:
        return 0.0
    return time.time() - then.timestamp()


def _last_line(container: Container) -> str:
    lines = container.logs(tail=1).decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it printed nothing"
