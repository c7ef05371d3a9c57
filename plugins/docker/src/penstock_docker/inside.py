"""A step's programs in containers of the very image that was built: one container for each, and none left.

The workspace is mounted at its own path where the engine sees this machine's files, and copied in and out
where it does not. Variables go through the engine's API: they are in no command line.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import PurePosixPath
from queue import Empty, SimpleQueue
from typing import Any

from docker.errors import APIError
from docker.types import LogConfig, Mount
from docker.utils.socket import STDERR, frames_iter
from penstock import Artifact, Command, Inside, Launcher, NoSuchProgram, Step, StepFailed, StepRefused

from penstock_docker import archive, copying, engine, labels
from penstock_docker.engine import DockerClient, ImageNotFound, NotFound

DIRECTORY = "PENSTOCK_INSIDE_DIRECTORY"
"""What tells programs the image's own working directory: theirs is the workspace."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE = 1
"""Seconds between asking a container to end and ending it: whoever cancels does not wait for long."""
_BEING_MADE, _PAUSE = 0.5, 0.05
"""Seconds that an engine may go on making a container that nobody waits for, and between two looks."""
_KILLED = 137
_NOT_FOUND = 127
_GOING = ("removing", "dead")
_NO_INIT = "docker-init"

Output = SimpleQueue[tuple[int, bytes] | int | Exception]
"""What a program prints on either stream; at last its status, or why that is not known."""


class _OutOfTimeError(Exception):
    """The program takes longer than it may."""


class Containers(Launcher):
    """Runs each program in a container of its own."""

    def __init__(self, artifact: Artifact, limits: Inside, step: Step) -> None:
        self._artifact = artifact
        self._limits = limits
        self._step = step
        self._where = engine.address(limits.host)
        self._opened = ExitStack()
        self._client: DockerClient | None = None
        self._image = ""
        self._config: dict[str, Any] = {}
        self._user = ""
        self._name = ""
        """Of the container at hand."""
        self._mounts: bool | None = None
        """Whether the engine sees this machine's files; None: not known yet."""
        self._init = True
        self._networks: list[str] = []

    def run(self, command: Command, out: Any, err: Any, timeout: float | None) -> int:
        """See `Launcher`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            with engine.speaking(self._where):
                return self._ran(command, out, err, deadline)
        except _OutOfTimeError:
            raise TimeoutError from None

    def _ran(self, command: Command, out: Any, err: Any, deadline: float | None) -> int:
        client = self._connected()
        try:
            with self._container(client, command) as container:
                output = self._started(client, container, command)
                status = _followed(output, out, err, deadline)
                status = self._judged(client, container, command, status)
                if not self._mounts:
                    copying.take_back(client, container, command.places[:2])
                return status
        except ImageNotFound:
            raise
        except NotFound:
            raise self._was_removed(command) from None
        except APIError as error:
            if not (self._init and _NO_INIT in str(error)):
                raise
        self._init = False  # the engine comes without: its programs have to do without one above them
        return self._ran(command, out, err, deadline)

    def close(self) -> None:
        """See `Launcher`."""
        self._opened.close()
        if not self._step.services and not self._step.untidy:  # otherwise there is more to come
            labels.forget(self._step, self._limits.host)

    def _connected(self) -> DockerClient:
        if self._client is None:
            client = self._opened.enter_context(engine.connected(self._limits.host))
            self._networks = self._found_networks(client)
            self._image = archive.load(client, self._artifact, self._step)
            self._config = client.images.get(self._image).attrs.get("Config") or {}
            self._user = _user(client.info())
            self._client = client
        return self._client

    def _found_networks(self, client: DockerClient) -> list[str]:
        """Those of the step's services, which run by now, and one with a way out where that is asked for."""
        for name, service in self._step.services.items():
            if service.network and not client.api.networks(names=[service.network]):
                raise StepFailed(
                    f"service {name} is on another engine than the step's programs, which are at "
                    f"{self._where}: they can't be on one network. Say the same host of both"
                )
        served = dict.fromkeys(each.network for each in self._step.services.values() if each.network)
        return [*served, *(("bridge",) if self._limits.network else ())]

    # --- one container ---

    @contextmanager
    def _container(self, client: DockerClient, command: Command) -> Iterator[str]:
        """A container that has all that the command needs, and is gone afterwards."""
        for place in command.places:
            place.mkdir(parents=True, exist_ok=True)
        # It is known before it is there: whoever is told to stop in between has something to remove.
        self._name = f"penstock-{secrets.token_hex(8)}"
        container = None
        try:
            container = self._mounted(client, command) if self._mounts is not False else None
            if container is None:
                container = self._made(client, command, [])
                copying.bring(client, container, (*command.places, *command.brought), self._user)
            self._check(client, container)
            yield container
        except BaseException:
            with suppress(Exception):
                client.api.stop(self._name, timeout=_GRACE)
            raise
        finally:
            self._remove(client, made=container is not None)

    def _mounted(self, client: DockerClient, command: Command) -> str | None:
        """One with the command's places mounted; None where the engine does not see these files."""
        if self._mounts is None and not self._where.startswith("unix://"):
            self._mounts = False
            return None
        mounts = [Mount(str(place), str(place), "bind") for place in command.places]
        mounts += [Mount(str(path), str(path), "bind", read_only=True) for path in command.brought]
        try:
            container = self._made(client, command, mounts)
        except APIError as error:
            if self._mounts is None and "bind source path does not exist" in str(error):
                self._mounts = False
                return None
            raise
        if self._mounts is None:
            self._mounts = self._is_seen(client, container)
        if self._mounts:
            return container
        self._remove(client)
        return None

    def _is_seen(self, client: DockerClient, container: str) -> bool:
        """Whether the engine has mounted our own directory, and not another machine's of that name."""
        token = self._step.tmp / f".penstock-{secrets.token_hex(8)}"
        token.touch()
        try:
            return _exists(client, container, str(token))
        finally:
            token.unlink()

    def _made(self, client: DockerClient, command: Command, mounts: list[Mount]) -> str:
        limits = self._limits
        host = client.api.create_host_config(
            mounts=mounts,
            init=self._init,
            network_mode=self._networks[0] if self._networks else "none",
            mem_limit=limits.memory,
            memswap_limit=limits.memory,
            nano_cpus=round(limits.cpus * 1e9) if limits.cpus else None,
            # What a program prints may be secret until it is masked: the engine is not to keep it.
            log_config=LogConfig(type="none"),
        )
        env = {DIRECTORY: self._config.get("WorkingDir") or "/", **command.env}
        if not self._user.startswith("0:"):  # nobody in its /etc/passwd, and so without a home
            env.setdefault("HOME", str(self._step.tmp))
        made = client.api.create_container(
            self._image,
            name=self._name,
            entrypoint=[command.argv[0]],
            command=list(command.argv[1:]),
            environment=env,
            working_dir=str(command.cwd),
            user=self._user,
            labels=labels.of(self._step, limits.host),
            healthcheck={"test": ["NONE"]},
            host_config=host,
        )
        for network in self._networks[1:]:
            client.api.connect_container_to_network(made["Id"], network)
        return str(made["Id"])

    def _check(self, client: DockerClient, container: str) -> None:
        found = client.api.inspect_container(container)["Image"]
        if found != archive.engine_digest(self._artifact):
            raise StepRefused(
                f"a container of {self._artifact.name} was asked for, which is "
                f"{archive.engine_digest(self._artifact)}, and the engine made one of {found}"
            )

    def _started(self, client: DockerClient, container: str, command: Command) -> Output:
        """Start it; what it prints, from the first byte on."""
        output: Output = SimpleQueue()
        printed = client.api.attach_socket(container, {"stdout": 1, "stderr": 1, "stream": 1})
        threading.Thread(target=_read, args=(client, container, printed, output), daemon=True).start()
        try:
            client.api.start(container)
        except APIError:
            self._say_what_is_missing(client, container, command)
            raise
        return output

    def _judged(self, client: DockerClient, container: str, command: Command, status: int) -> int:
        """The status, where it is the program's own. Raises StepFailed where it is not."""
        state = client.api.inspect_container(container)["State"]
        if state.get("Status") in _GOING:
            raise self._was_removed(command)
        if state.get("OOMKilled"):
            most = f"{self._limits.memory:,} bytes (inside.memory)" if self._limits.memory else "all there is"
            if status == _KILLED:
                raise StepFailed(
                    f"{command.argv[0]} was ended for want of memory: inside {self._artifact.name} it may "
                    f"have {most}. Give it more, or find what takes so much"
                )
            self._step.log(f"A process of it was ended for want of memory: it may have {most}")
        if status == _NOT_FOUND:
            self._say_what_is_missing(client, container, command)
        return status

    def _was_removed(self, command: Command) -> StepFailed:
        return StepFailed(
            f"the container of {command.argv[0]} was removed from {self._where} before its end. Somebody did "
            "that, or something that cleans up there"
        )

    def _say_what_is_missing(self, client: DockerClient, container: str, command: Command) -> None:
        program = command.argv[0]
        env = client.api.inspect_container(container)["Config"].get("Env") or ()
        path = next((entry.partition("=")[2] for entry in env if entry.startswith("PATH=")), _PATH)
        places = [str(command.cwd)] if "/" in program else path.split(":")
        found = (_exists(client, container, str(PurePosixPath(place, program))) for place in places if place)
        if any(found):
            return
        cure = "Install it in the image"
        if program in ("sh", "/bin/sh"):
            cure = (
                "Add a shell to it, or write the command as a list of words that begins with a program of it"
            )
        raise NoSuchProgram(f"there is no {program} in {self._artifact.name} ({self._image}). {cure}")

    def _remove(self, client: DockerClient, *, made: bool = True) -> None:
        """Remove it, running or not, with all that runs in it; also one that may still be in the making."""
        deadline = time.monotonic() + (0 if made else _BEING_MADE)
        while True:
            try:
                client.api.remove_container(self._name, force=True, v=True)
                return
            except NotFound:
                if time.monotonic() >= deadline:
                    return
                time.sleep(_PAUSE)
            except Exception as error:
                if made:
                    self._step.log(
                        f"The container {self._name} on {self._where} may be left: {error}. Remove it: "
                        f"docker rm -f {self._name}"
                    )
                self._step.untidy = True
                return


def _followed(output: Output, out: Any, err: Any, deadline: float | None) -> int:
    """Hand on what it prints until it has ended; its status. Raises _OutOfTimeError at the deadline."""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            found = output.get(timeout=left)
        except Empty:
            raise _OutOfTimeError from None
        if isinstance(found, Exception):
            raise found
        if isinstance(found, int):
            return found
        stream, data = found
        (err if stream == STDERR else out)(data)


def _read(client: DockerClient, container: str, printed: Any, output: Output) -> None:
    """In a thread: whoever waits for the output also waits for the end of its time."""
    try:
        for stream, data in frames_iter(printed, False):  # type: ignore[no-untyped-call]
            output.put((stream, data))
        output.put(int(client.api.wait(container)["StatusCode"]))
    except Exception as error:
        output.put(error)
    finally:
        with suppress(Exception):
            connection = getattr(printed, "_sock", printed)  # what a stream over a socket stands on
            printed.close()
            connection.close()


def _exists(client: DockerClient, container: str, path: str) -> bool:
    try:
        stream, _ = client.api.get_archive(container, path)
    except NotFound:
        return False
    stream.close()
    return True


def _user(info: dict[str, Any]) -> str:
    """Whom programs run as, so that what they write is ours: a rootless engine's root is whoever runs it."""
    if any("rootless" in option for option in info.get("SecurityOptions") or ()):
        return "0:0"
    return f"{os.getuid()}:{os.getgid()}"
