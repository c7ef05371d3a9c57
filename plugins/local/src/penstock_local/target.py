"""One instance of what a directory serves: the four methods that a rollout calls."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock import Health, Release, Step, StepFailed, Target, TargetState
from pydantic import JsonValue

from penstock_local import control, health, layout, processes, releases, written
from penstock_local.control import Service
from penstock_local.layout import Instance
from penstock_local.releases import Made
from penstock_local.settings import Local, argv_of, default_python

_LOOK_EVERY = 0.1
_NAMED_DRIFT = 5
_ENDING = 2.0
"""Seconds for which a port may be served by nobody: a process that ends shows no files, and has them yet."""


class Directory(Target):
    """A directory of releases and, where the section says what to run, one instance of the service."""

    root: str
    number: int
    settings: Local

    def observe(self, step: Step) -> TargetState:
        """Which release is the current one, whether it runs, and what has changed behind our back."""
        del step
        instance = self._instance()
        made = releases.find(instance.root, instance.place())
        if made is None:
            return TargetState(data=_dangling(instance))
        service, live = _service_of(instance, made), control.running(instance)
        return TargetState(
            release=made.digest,
            data={
                "place": made.path.name,
                "service": service.model_dump(mode="json") if service else None,
                "wanted": service is not None and not instance.stopped.exists(),
                "healthy": live is not None and health.look(instance).status == "healthy",
                "url": service.url if service else None,
                "pid": live.status.pid if live else None,
                "started": live.status.since if live else None,
                "drift": _drift(instance, made, service),
            },
        )

    def apply(self, release: Release, step: Step) -> None:
        """Make the release, switch to it and start it; what runs already as it should is left alone."""
        instance = self._instance()
        layout.prepare(instance)
        with layout.changing(instance.root, lambda: _waiting(instance, step)):
            python = self._python()
            made = releases.ensure(instance.root, release, self.settings.artifact, python, step)
            self._switch(instance, made, self._service(made, python, step), step)
            self._prune(instance, step)
            _name_strays(instance, self.settings.instances, step)

    def probe(self, step: Step) -> Health:
        """Whether the service is well or, where nothing is run, the files are there as they were made."""
        del step
        instance = self._instance()
        if self.settings.run is not None:
            return health.look(instance)
        made = releases.find(instance.root, instance.place())
        if made is None:
            return Health(status="unhealthy", detail=f"{instance.link} does not point to a complete release")
        drift = made.drift()
        if drift:
            return Health(status="unhealthy", detail=f"changed since it was deployed: {_some(drift)}")
        return Health(status="healthy", detail=made.path.name)

    def restore(self, state: TargetState, step: Step) -> None:
        """Go back to the release that was there, and start it if it was meant to run."""
        instance = self._instance()
        if state.release is None and not instance.lock.exists():
            return
        layout.prepare(instance)
        with layout.changing(instance.root, lambda: _waiting(instance, step)):
            if state.release is None:
                control.stop(instance, self.settings.stop_grace)
                layout.unpoint(instance)
                instance.stopped.unlink(missing_ok=True)
                return
            made = _find_again(instance, state)
            service = _service_in(state)
            if service is not None and made.path.name != service.place:
                raise StepFailed(f"the release {service.place} is not there any more, so it can't be started")
            if service is None or state.data.get("wanted"):
                self._switch(instance, made, service, step)
            else:
                control.stop(instance, service.stop_grace)
                instance.stopped.touch()
                _note(instance, made, service)
                layout.point(instance, made.path.name)
        if service is not None and state.data.get("healthy"):
            _await_health(instance, service)

    # --- how ---

    def logs(self, step: Step, *, since: float | None, tail: int | None, follow: bool) -> Iterator[str]:
        """What the service has written, and writes."""
        del step
        return written.lines(self._instance().log, since=since, tail=tail, follow=follow)

    def _instance(self) -> Instance:
        return Instance(Path(self.root), self.number)

    def _prune(self, instance: Instance, step: Step) -> None:
        try:
            releases.prune(instance.root, self.settings.keep, layout.instances(instance.root), step)
        except OSError as error:  # the release is deployed all the same
            step.log(f"An old release could not be removed: {error.strerror}: {error.filename}")

    def _python(self) -> str:
        name = self.settings.python or default_python()
        found = shutil.which(name)
        if found is None:
            raise StepFailed(f'python = "{name}": there is no such program. Name one that is on PATH')
        return found

    def _service(self, made: Made, python: str, step: Step) -> Service | None:
        settings, number = self.settings, self.number
        if settings.run is None:
            return None
        venv = made.environment
        port = settings.port_of(number)
        env = _section_env(step)
        if venv:
            env["VIRTUAL_ENV"] = str(venv)
        if port:
            env["PORT"] = str(port)
        argv = argv_of(
            settings.run,
            port=port,
            release=str(made.path),
            python=str(venv / "bin" / "python") if venv else python,
        )
        if step.mask("\n".join(argv)) != "\n".join(argv):
            raise StepFailed(
                "a secret stands in run, where every user of the machine can read it. Hand it over with "
                "service_secrets"
            )
        return Service(
            release=made.digest,
            place=made.path.name,
            argv=tuple(argv),
            cwd=str(made.path),
            env=env,
            secrets=settings.service_secrets,
            port=port,
            url=settings.url_of(number),
            health=settings.health_of(number),
            stop_grace=settings.stop_grace,
            start_timeout=settings.start_timeout,
            settle=settings.settle,
            restart=settings.restart,
        )

    def _switch(self, instance: Instance, made: Made, service: Service | None, step: Step) -> None:
        """Have this release be the current one and, with a service, have exactly that run."""
        handed = _handed(service, step) if service else {}
        if service and instance.place() == service.place and _is_up(instance, service, handed):
            step.log(f"{service.place} runs already")
            _note(instance, made, service)
            return
        if service:
            _check_program(service, handed)
            _check_port(instance, service)
        live = control.running(instance)
        control.stop(instance, live.service.stop_grace if live else self.settings.stop_grace)
        _note(instance, made, service)
        layout.point(instance, made.path.name)
        if service is None:
            return
        if service.port and not processes.is_free(service.port):
            raise _port_taken(service.port)
        control.start(instance, service, handed, step)


def _section_env(step: Step) -> dict[str, str]:
    # A change of the section's `env` must start the service anew; the step does not show it yet.
    return dict(step._info.env)


def _handed(service: Service, step: Step) -> dict[str, str]:
    """What the service's environment has beside that of the step. Never in a file."""
    found = service.env.get("PATH", os.environ.get("PATH", os.defpath))
    if "VIRTUAL_ENV" in service.env:
        found = os.pathsep.join([str(Path(service.env["VIRTUAL_ENV"]) / "bin"), found])
    return {**service.env, "PATH": found, **{name: step.secret(name) for name in service.secrets}}


def _is_up(instance: Instance, service: Service, handed: Mapping[str, str]) -> bool:
    live = control.running(instance)
    if live is None or live.service != service:
        return False
    has = processes.variables(live.supervisor)
    if any(has.get(name) != handed[name] for name in service.secrets):
        return False
    return health.look(instance).status != "unhealthy"


def _check_program(service: Service, handed: Mapping[str, str]) -> None:
    program = service.argv[0]
    where = str(Path(service.cwd) / program) if "/" in program else program
    if shutil.which(where, path=handed["PATH"]) is None:
        raise StepFailed(
            f"{program} can't be run: there is no such program in the release's environment or on PATH"
        )


def _check_port(instance: Instance, service: Service) -> None:
    """Refuse a port that somebody else serves on, before what runs now is stopped."""
    deadline = time.monotonic() + _ENDING
    while service.port is not None and processes.is_served(service.port):
        # First who listens, and then who is ours: one of ours may begin to at this very moment.
        found = processes.listeners(service.port)
        live = control.running(instance)
        own = health.own_processes(instance, live) if live else set(processes.marked(instance.mark))
        if own.intersection(found) or (not found and live and live.service.port == service.port):
            return
        if found == processes.listeners(service.port) and (found or time.monotonic() > deadline):
            raise _port_taken(service.port)
        time.sleep(0.005)


def _port_taken(port: int) -> StepFailed:
    return StepFailed(
        f"port {port} is in use by {health.port_owner(port)}, which is not this service. End it, or choose "
        "another port"
    )


def _find_again(instance: Instance, state: TargetState) -> Made:
    place = state.data.get("place")
    made = releases.find(instance.root, place) if isinstance(place, str) else None
    if made is not None and made.digest == state.release:
        return made
    for made in releases.complete(instance.root):
        if made.digest == state.release:
            return made
    raise StepFailed(f"the release {state.release} is not in {instance.root} any more")


def _service_in(state: TargetState) -> Service | None:
    found = state.data.get("service")
    try:
        return Service.model_validate(found) if found else None
    except ValueError:
        raise StepFailed(
            "how the release was run was noted by another version of this plugin; deploy the release anew"
        ) from None


def _service_file(made: Made, instance: Instance) -> Path:
    return made.path / f".penstock-service-{instance.number}.json"


def _note(instance: Instance, made: Made, service: Service | None) -> None:
    """Keep with the release how it is run, before the switch to it."""
    path = _service_file(made, instance)
    if service is None:
        path.unlink(missing_ok=True)
    else:
        layout.replace_text(path, json.dumps(service.model_dump(mode="json")))


def _service_of(instance: Instance, made: Made) -> Service | None:
    try:
        return Service.model_validate_json(_service_file(made, instance).read_text())
    except (OSError, ValueError):
        return None


def _drift(instance: Instance, made: Made, service: Service | None) -> list[JsonValue]:
    found = [f"changed: {name}" for name in made.drift()]
    if len(found) > _NAMED_DRIFT:
        found = [*found[:_NAMED_DRIFT], f"and {len(found) - _NAMED_DRIFT} more files"]
    live = control.running(instance)
    if live and live.service.place != made.path.name:
        found.append(f"another release runs: {live.service.place}")
    if service and live is None:
        found.append("not running: it was stopped" if instance.stopped.exists() else "not running")
    return list(found)


def _dangling(instance: Instance) -> dict[str, JsonValue]:
    place = instance.place()
    if place is None:
        return {}
    return {"drift": [f"{instance.link.name} points to {place}, which is not a complete release"]}


def _await_health(instance: Instance, service: Service) -> None:
    deadline = time.monotonic() + service.start_timeout + service.settle
    while (seen := health.look(instance)).status != "healthy":
        if seen.status == "unhealthy" or time.monotonic() > deadline:
            raise StepFailed(
                f"{service.place} was started again and was healthy before, but is not now: {seen.detail}"
            )
        time.sleep(_LOOK_EVERY)  # how a service feels can only be asked


def _name_strays(instance: Instance, count: int, step: Step) -> None:
    for other in layout.instances(instance.root):
        if other.number > count and instance.number == 1 and control.running(other):
            step.log(
                f"Instance {other.number} still runs, but the section asks for {count}. "
                f"`penstock local stop {instance.root}` ends all of them"
            )


def _waiting(instance: Instance, step: Step) -> None:
    step.log(f"Waiting for another step that is changing {instance.root}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
