"""What a hook is handed as `step`: a private workspace, a way to run programs, and a way to keep results."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from penstock import process, stepinfo
from penstock.artifacts import Store, file_name, remove
from penstock.errors import CommandFailed, ConfigError, PluginError, StepFailed, in_words
from penstock.home import open_log
from penstock.launching import Command, Launched, run_here, run_inside
from penstock.model import Artifact, Revision, Service
from penstock.secrets import Masker, as_bytes
from penstock.stepinfo import Places as Places
from penstock.stepinfo import StepInfo


class Completed(NamedTuple):
    """How a program ended."""

    returncode: int
    stdout: str
    """What it printed on standard output, where `capture` asked for it; otherwise empty."""
    seconds: float


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
        find_launcher: Callable[[Step], Launched] | None = None,
    ) -> None:
        self._info = info
        self._places = places
        self._store = store
        self._on_progress = on_progress
        self._on_detach = on_detach
        self._inherited = environment
        self._asked_for_revision = False
        self._find_launcher = find_launcher
        self._brought: dict[Path, None] = {}
        self._ran_inside: Artifact | None = None
        self._secrets = {name: find_secret(reference) for name, reference in info.secrets.items()}
        others = [find_secret(reference) for reference in hides if reference not in info.secrets.values()]
        self._masker = Masker([*self._secrets.values(), *others])
        self._has_secrets = bool(self._secrets or others)
        self._services: dict[str, Service] = {}
        self.untidy = False  # whether something of it may be left outside its processes, to be reaped
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
        """Of these, what that build step has built, which one of its services is started from."""
        return tuple(each for each in self._info.artifacts if each.digest in self._info.builds.get(name, ()))

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
    def inside(self) -> Artifact | None:
        """The artifact inside of which `run` starts programs; None: they run on this machine."""
        return self.launched.artifact if self._info.inside is not None else None

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
        outside: bool = False,
    ) -> Completed:
        """Run a program to its end, in the workspace, with its output going to the step's log, masked.

        Where the section says `inside`, it runs inside of that artifact, with the same workspace and of the
        variables those of the artifact and the step; with `outside` on this machine in spite of that, for
        what prepares the step.

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
        inside = self._info.inside is not None and not outside
        command = self.command(words, self.variables(env, inside=inside), cwd)
        captured = bytearray()
        started = time.monotonic()
        deadline = None if timeout is None else started + timeout
        with self._shown(2 if inside else 1) as shown:
            out, err = captured.extend if capture else shown[0], shown[-1]
            try:
                if inside:
                    status = run_inside(self.launched, command, out, err, deadline)
                    self._ran_inside = self.launched.artifact
                else:
                    straight = None if self._has_secrets else self._log
                    status = run_here(command, out, err, deadline, log=straight, capture=capture)
            except TimeoutError:
                raise StepFailed(f"{words[0]} took longer than its time and was ended") from None
        if check and status != 0:
            raise CommandFailed(f"{words[0]} ended with {process.status_of(status)}", status)
        return Completed(status, captured.decode(errors="replace"), time.monotonic() - started)

    def bring(self, path: Path) -> Path:
        """Have a file or directory of this machine at the same path, read only, where `run` starts programs.

        That is for what a program needs and the artifact that it runs inside of lacks. On this machine it is
        there anyway.
        """
        self._brought[path] = None
        return path

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
                why = f"{words[0]} can't be started: {process.why(error)}"
                raise StepFailed(why) from process.cause_of(error)
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
        target = place / file_name(artifact.name)
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
    def ran_inside(self) -> Artifact | None:
        """The artifact inside of which a program has run; None: none has."""
        return self._ran_inside

    @property
    def has_secrets(self) -> bool:
        """Whether what it prints has to be masked."""
        return self._has_secrets

    def leave(self) -> None:
        """Remove what programs have left that ran inside of an artifact."""
        launched = self.__dict__.pop("launched", None)
        if launched is not None:
            try:
                launched.launcher.close()
            except Exception as error:
                self.log(f"what ran inside {launched.artifact.name} was not removed: {in_words(error)}")
            # Where who started them is gone (an engine that was killed), they may be on this machine still.
            process.end_marked(self.mark, grace=0)

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def variables(
        self, extra: Mapping[str, str | None] | None = None, *, lasting: bool = False, inside: bool = False
    ) -> dict[str, str]:
        """The environment of what `run` starts; with `lasting`, of what `detach` does.

        With `inside`, what is added to the artifact's own: nothing of this machine's.
        """
        extra = extra or {}
        added = {name: value for name, value in extra.items() if value is not None}
        if inside:
            env = stepinfo.surroundings(self._info, {}, self.workspace)
            del env["PATH"]
        else:
            without = extra.keys() - added.keys()
            env = stepinfo.surroundings(self._info, self._inherited(), self.workspace, without=without)
        if lasting:
            own = {*self._secrets, *stepinfo.secret_variables(self._info)}
            kept = {name: value for name, value in env.items() if name not in own}
            return {**kept, **self._info.env, **added}
        env |= stepinfo.of_attempt(self._info, self.tmp, self.mark)
        served = {key: value for each in self._services.values() for key, value in each.environment.items()}
        return {**env, **served, **self._info.env, **self._secrets, **added}

    def command(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> Command:
        """A program with all that belongs to it here: what a launcher is handed."""
        places = (self.workspace, self.tmp, self._places.inbox)
        return Command(tuple(argv), cwd or self.workspace, env, places, tuple(self._brought))

    # --- how ---

    @cached_property
    def launched(self) -> Launched:
        """What starts programs inside of what was built. Raises PluginError where nothing does."""
        if self._find_launcher is None:
            raise PluginError(f"{self.name}: nothing here starts programs inside of what was built")
        return self._find_launcher(self)

    @contextmanager
    def _shown(self, count: int) -> Iterator[list[Callable[[bytes], None]]]:
        """So many streams into the log, each masked on its own: one may cut a secret of another in two."""
        if not self._has_secrets:
            yield [partial(_write, self._log)] * count
            return
        streams = [self.masked_log() for _ in range(count)]
        try:
            yield [show for show, _ in streams]
        finally:
            for _, show_rest in streams:
                show_rest()

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
