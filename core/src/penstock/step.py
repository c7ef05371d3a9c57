"""What a hook is handed as `step`: a private workspace, a way to run programs, and a way to keep results."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from penstock import process, stepinfo
from penstock.artifacts import Store, remove
from penstock.errors import CommandFailed, ConfigError, PluginError, StepFailed
from penstock.home import open_log
from penstock.model import Artifact, Revision, Service
from penstock.secrets import Masker, as_bytes
from penstock.stepinfo import StepInfo


class Completed(NamedTuple):
    """How a program ended."""

    returncode: int
    stdout: str
    """What it printed on standard output, where `capture` asked for it; otherwise empty."""
    seconds: float


class Places(NamedTuple):
    """Where a step may write."""

    workspace: Path
    tmp: Path
    cache: Path
    log: Path
    inbox: Path
    project: Path


class Step:
    """One attempt at one step, as its plugin sees it."""

    def __init__(
        self,
        info: StepInfo,
        places: Places,
        store: Store,
        *,
        find_secret: Callable[[str], str],
        on_progress: Callable[[int, int, str], None] = lambda *_: None,
        on_detach: Callable[[int], None] = lambda _: None,
        environment: Callable[[], Mapping[str, str]] = lambda: os.environ,
        hides: Iterable[str] = (),
    ) -> None:
        self._info = info
        self._places = places
        self._store = store
        self._on_progress = on_progress
        self._on_detach = on_detach
        self._inherited = environment
        self._asked_for_revision = False
        self._secrets = {name: find_secret(reference) for name, reference in info.secrets.items()}
        others = [find_secret(reference) for reference in hides if reference not in info.secrets.values()]
        self._masker = Masker([*self._secrets.values(), *others])
        self._has_secrets = bool(self._secrets or others)
        self._services: dict[str, Service] = {}
        self._log: IO[bytes] = os.fdopen(open_log(places.log), "ab", buffering=0)

    # --- what the step is about ---

    @property
    def name(self) -> str:
        """The step's full name, such as `test.unit`."""
        return self._info.name

    @property
    def phase(self) -> str:
        """The phase, such as `test`."""
        return self._info.phase

    @property
    def plan(self) -> str:
        """The digest of the plan: with the artifacts and the environment, what an approval is for."""
        return self._info.plan

    @property
    def number(self) -> int:
        """The number of the run."""
        return self._info.run

    @property
    def environment(self) -> str | None:
        """The environment that the step belongs to, if any."""
        return self._info.environment

    @property
    def revision(self) -> Revision:
        """The source that the run is about.

        Where a step asks for it, its result is taken from the cache for this very revision only.
        """
        self._asked_for_revision = True
        return self._info.revision

    @property
    def stamp(self) -> Revision:
        """The same for what only dates or names a result, which may then be taken over by another."""
        return self._info.revision

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What the steps before this one have built, oldest first."""
        return self._info.artifacts

    def built(self, name: str) -> tuple[Artifact, ...]:
        """Of these, what the build step of that name has built, which one of its services is started from."""
        digests = self._info.builds.get(name, ())
        return tuple(artifact for artifact in self._info.artifacts if artifact.digest in digests)

    @property
    def services(self) -> Mapping[str, Service]:
        """What runs beside it, by name: where its programs, and not the plugin itself, reach each of them."""
        return MappingProxyType(self._services)

    def serve(self, service: Service) -> None:
        """Say that a service runs beside the step, as the core does."""
        self._services[service.name] = service

    @property
    def workspace(self) -> Path:
        """A private directory with the revision's files and nothing else. Gone after the step."""
        return self._places.workspace

    @property
    def tmp(self) -> Path:
        """A private empty directory, also TMPDIR of what `run` starts. Gone after the step."""
        return self._places.tmp

    @property
    def cache(self) -> Path:
        """A directory of this plugin and project that stays. Other steps may use it at the same time."""
        self._places.cache.mkdir(parents=True, exist_ok=True)
        return self._places.cache

    @property
    def project(self) -> Path:
        """The directory of `penstock.toml`, with what is not committed: read with care, don't write."""
        return self._places.project

    @property
    def mark(self) -> str:
        """What the processes of this attempt carry in their environment."""
        return f"{self._places.log.parent}:{os.getpid()}:{self.name}:{self._info.attempt}"

    # --- what it can do ---

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        check: bool = True,
        capture: bool = False,
        quiet: bool = False,
        timeout: float | None = None,
    ) -> Completed:
        """Run a program to its end, in the workspace, with its output going to the step's log, masked.

        `env` adds to the step's environment; None takes out what the machine says of a variable, and not
        what the section does. `capture` returns standard output instead of logging it; `quiet` leaves the
        command line itself out of the log. `timeout` is in seconds.

        Raises CommandFailed if `check` and it ended with another status than 0; StepFailed if it is not
        there or took too long. A secret on the command line is refused with PluginError.
        """
        words = [str(word) for word in argv]
        self._refuse_secrets(words)
        if not quiet:
            self.log("$ " + " ".join(words))
        started = time.monotonic()
        child = self._start(words, cwd, self.variables(env), capture)
        try:
            output = self._follow(child, capture, None if timeout is None else started + timeout)
        except BaseException as error:
            process.end_group(child)
            if isinstance(error, TimeoutError):
                raise StepFailed(f"{words[0]} took longer than its time and was ended") from None
            raise
        finally:
            for stream in (child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        seconds = time.monotonic() - started
        if check and child.returncode != 0:
            raise CommandFailed(
                f"{words[0]} ended with {process.status_of(child.returncode)}", child.returncode
            )
        return Completed(child.returncode, output, seconds)

    def detach(self, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None) -> int:
        """Start a program that outlives the step and the run: a deployed service. Its process id.

        It is in a session of its own, writes to the file `log`, and has the step's environment without
        the step's secrets and mark. It stays in that session: what leaves it ends with the step, as all
        other processes do. Raises StepFailed where it can't be started.
        """
        words = [str(word) for word in argv]
        self._refuse_secrets(words)
        with log.open("ab") as output:
            try:
                child = subprocess.Popen(
                    words,
                    cwd="/",
                    env=self.variables(env, lasting=True),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise StepFailed(f"{words[0]} can't be started: {process.why(error)}") from None
        self._on_detach(child.pid)
        child.returncode = 0  # it is not waited for here: otherwise Popen would warn of that
        return child.pid

    def log(self, text: str) -> None:
        """Write a line to the step's log, masked."""
        _write(self._log, as_bytes(self.mask(text)) + b"\n")

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Say how far the step is; shown to whoever watches, and not recorded."""
        self._on_progress(done, total, self.mask(what))

    def secret(self, name: str) -> str:
        """The value of a secret that the section declares under `secrets`. Raises ConfigError for another."""
        if name not in self._secrets:
            raise ConfigError(
                f'[{self.name}] declares no secret "{name}". Add: secrets = {{ {name} = "env:{name}" }}'
            )
        return self._secrets[name]

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The names of all that the section declares under `secrets`."""
        return tuple(self._secrets)

    def keep(self, path: Path, kind: str, *, name: str | None = None) -> Artifact:
        """Put a file or directory into the store. The artifact is known by its digest from then on.

        Raises StepFailed where it is not there.
        """
        path = self.workspace / path
        if not path.exists():
            raise StepFailed(f"{path.name} can't be kept: it is not there")
        return self._store.keep(path, kind, name=name)

    def fetch(self, artifact: Artifact) -> Path:
        """The artifact's bytes as a file or directory of its own name, checked against its digest.

        Raises StepRefused where the bytes in the store are not those any more.
        """
        place = self._places.inbox / artifact.digest.removeprefix("sha256:")
        target = place / _file_name(artifact.name)
        if target.exists():
            return target
        # Under its own name it is complete, and its digest right.
        incoming = place / ".incoming"
        remove(incoming)
        incoming.mkdir(parents=True)
        if artifact.kind == "directory" or self._store.is_tree(artifact.digest):
            self._store.write_tree(artifact.digest, incoming / "it")
        else:
            self._store.write_to(artifact.digest, incoming / "it")
        (incoming / "it").rename(target)
        return target

    def mask(self, text: str) -> str:
        """A text without the step's secrets."""
        return self._masker.text(text)

    def masked_log(self) -> tuple[Callable[[bytes], None], Callable[[], None]]:
        """Two functions that write to the log, masked also where a secret is cut: some bytes; the rest."""
        mask = self._masker.again()
        return lambda data: _write(self._log, mask.feed(data)), lambda: _write(self._log, mask.close())

    @property
    def asked_for_revision(self) -> bool:
        """Whether anybody asked which revision it is."""
        return self._asked_for_revision

    @property
    def has_secrets(self) -> bool:
        """Whether what it prints has to be masked."""
        return self._has_secrets

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def variables(
        self, extra: Mapping[str, str | None] | None = None, *, lasting: bool = False
    ) -> dict[str, str]:
        """The environment of what `run` starts; with `lasting`, of what `detach` does."""
        extra = extra or {}
        added = {name: value for name, value in extra.items() if value is not None}
        env = stepinfo.surroundings(
            self._info, self._inherited(), self.workspace, without=extra.keys() - added.keys()
        )
        if lasting:
            own = {*self._secrets, *stepinfo.secret_variables(self._info)}
            kept = {name: value for name, value in env.items() if name not in own}
            return {**kept, **self._info.env, **added}
        env |= stepinfo.of_attempt(self._info, self.tmp, self.mark)
        served = {key: value for each in self._services.values() for key, value in each.environment.items()}
        return {**env, **served, **self._info.env, **self._secrets, **added}

    # --- how ---

    def _start(
        self, words: list[str], cwd: Path | None, env: dict[str, str], capture: bool
    ) -> subprocess.Popen[bytes]:
        through_us = self._has_secrets
        output: int | IO[bytes] = subprocess.PIPE if through_us else self._log
        try:
            return subprocess.Popen(
                words,
                cwd=cwd or self.workspace,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else output,
                stderr=output if capture else subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise StepFailed(process.why_not(words[0], cwd or self.workspace, error)) from None

    def _follow(self, child: subprocess.Popen[bytes], capture: bool, deadline: float | None) -> str:
        if child.stdout is None and child.stderr is None:
            process.follow(child, {}, deadline)
            return ""
        captured = bytearray()
        show, show_rest = self.masked_log()
        sinks: dict[IO[bytes], Callable[[bytes], object]] = {}
        if child.stdout is not None:
            sinks[child.stdout] = captured.extend if capture else show
        if child.stderr is not None:
            sinks[child.stderr] = show
        try:
            process.follow(child, sinks, deadline)
        finally:
            show_rest()
        return captured.decode(errors="replace")

    def _refuse_secrets(self, words: list[str]) -> None:
        if any(self.mask(word) != word for word in words):
            raise PluginError(
                f"{self.name}: a secret stands on the command line of {words[0]}, where every user of the "
                "machine can read it. Hand it over in the environment"
            )


def _write(log: IO[bytes], data: bytes) -> None:
    """Write all of it: an unbuffered file may take less at a time."""
    while data:
        data = data[log.write(data) :]


def _file_name(name: str) -> str:
    """An artifact's name as that of a file right there: images have slashes in theirs."""
    flat = name.replace("/", "_").replace("\0", "_")
    return flat if flat not in ("", ".", "..", ".incoming") else f"_{flat}"
