"""One publish step: all files are looked for, then those that are missing go up, one by one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import quote, urlsplit

from penstock import Publication, Step, StepFailed, StepRefused

from penstock_twine import files, upload
from penstock_twine.client import Client
from penstock_twine.files import File
from penstock_twine.settings import NAMED, Twine
from penstock_twine.simple import Entry

_ANYBODY = ("nobody", "nothing")  # twine won't start without; an index that asks for no password ignores it
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between two looks at the index


def publish(settings: Twine, step: Step) -> list[Publication]:
    """Publish the files of the build steps; where each of them is."""
    address = repository(settings.repository)
    login = _login(settings, step)
    chosen = files.choose(step.artifacts, settings.formats)
    found = [files.read(artifact, step.fetch(artifact)) for artifact in chosen]
    upload.check(step, [file.path for file in found], strict=settings.strict)
    with closing(Client(settings.index or index_of(address), address, login)) as client:
        work = _Publishing(settings, step, client, address, login or _for_anybody(address))
        return work.publish(found)


def repository(name: str) -> str:
    """The address to upload to."""
    if name not in NAMED:
        return name
    from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

    return str({"pypi": DEFAULT_REPOSITORY, "testpypi": TEST_REPOSITORY}[name])


def index_of(address: str) -> str:
    """The simple API that belongs to an address for uploads."""
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    if not path.endswith("/legacy"):
        return parts._replace(path=f"{path}/simple/").geturl()
    # Warehouse, which runs PyPI, takes uploads on a host of their own.
    host = parts.netloc.removeprefix("upload.")
    return parts._replace(netloc=host, path=f"{path.removesuffix('legacy')}simple/").geturl()


def _login(settings: Twine, step: Step) -> tuple[str, str] | None:
    if settings.password is None:
        return None
    value = step.secret(settings.password).strip()
    if not value:
        raise StepFailed(f'the secret "{settings.password}" is empty. Nothing was uploaded')
    return settings.username, value


def _for_anybody(address: str) -> tuple[str, str] | None:
    """What to log in with where no password is known; None lets twine ask the CI for its identity."""
    return None if address in [repository(name) for name in NAMED] else _ANYBODY


class _Publishing:
    """The files of one step, on their way to one index. Errors from here on say what was uploaded."""

    def __init__(
        self, settings: Twine, step: Step, client: Client, address: str, login: tuple[str, str] | None
    ) -> None:
        self._settings = settings
        self._step = step
        self._client = client
        self._address = address
        self._login = login
        self._uploaded: list[str] = []

    def publish(self, found: Sequence[File]) -> list[Publication]:
        """All are looked for before the first is uploaded: a release is not begun that can't be finished."""
        try:
            there = {file.name: self._before(file) for file in found}
            return [
                self._publish(file, there[file.name], f"{number} of {len(found)}")
                for number, file in enumerate(found, 1)
            ]
        except StepFailed as error:
            kind = StepRefused if isinstance(error, StepRefused) else StepFailed
            raise kind(f"{error}{_stop(str(error))} {self._so_far()}") from None

    def _publish(self, file: File, entry: Entry | None, which: str) -> Publication:
        already = entry is not None
        self._step.log(f"{file.name}, {which}: {'already there, same bytes' if already else 'not there yet'}")
        if entry is None:
            entry = self._upload(file)
            self._compare(file, entry)
        return Publication(
            artifact=file.artifact.digest,
            location=f"{entry.url}#sha256={file.artifact.digest.removeprefix('sha256:')}",
            already=already,
            purl=self._purl(file),
        )

    def _before(self, file: File) -> Entry | None:
        """The very same file, where it is on the index already; StepRefused where another is."""
        entries = self._client.files(file.project)
        if entries is None and self._settings.index is None and not self._client.is_there():
            raise StepFailed(
                f"{self._client.index} is no package index, so nobody can tell what is published already. "
                'Say where it is: index = "https://…/simple/"'
            )
        entry = self._same(file, entries)
        if entry is not None:
            self._compare(file, entry)
            return entry
        others = [other.name for other in entries or () if _release(other.name) == _release(file.name)]
        if others:
            self._step.log(f"{file.project} {file.version} is there with other files: {', '.join(others)}")
        return None

    def _same(self, file: File, entries: Sequence[Entry] | None) -> Entry | None:
        same = [entry for entry in entries or () if files.identity(entry.name) == file.identity]
        for entry in same:
            digest = f"sha256:{entry.sha256}" if entry.sha256 else self._client.digest(entry.url)
            if digest != file.artifact.digest:
                raise StepRefused(
                    f"{entry.name} is on {self._client.index} with other bytes: {digest}. Built was "
                    f"{file.name}, {file.artifact.digest}. What is published is never replaced: give the "
                    "release a new version"
                )
        return same[0] if same else None

    def _upload(self, file: File) -> Entry:
        """Upload a file and wait until the index shows it."""
        failure = upload.upload(self._step, file.path, self._address, self._login)
        if failure is not None:
            entry = self._nevertheless(file)
            if entry is None:
                raise StepFailed(f"{file.name} was not uploaded: {failure}")
            self._step.log(f"{failure}. But {file.name} is there, and is the same")
            return entry
        self._uploaded.append(file.name)
        return self._shown(file)

    def _nevertheless(self, file: File) -> Entry | None:
        """A file whose upload failed: perhaps the answer was lost, and not it; or another run was quicker."""
        try:
            return self._same(file, self._client.files(file.project))
        except StepRefused:
            raise
        except StepFailed as error:  # why the upload failed says more
            self._step.log(str(error))
            return None

    def _shown(self, file: File) -> Entry:
        deadline = time.monotonic() + self._settings.wait
        pauses = iter(_PAUSES)
        pause = next(pauses)
        while (entry := self._same(file, self._client.files(file.project))) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise StepFailed(
                    f"{self._client.index} does not show {file.name} {self._settings.wait:g} s after it was "
                    f"uploaded to {self._address}. Is `index` right?"
                )
            time.sleep(min(pause, left))
            pause = next(pauses, pause)
        return entry

    def _compare(self, file: File, entry: Entry) -> None:
        """What the index serves, and not only what it says, must be what was built."""
        digest = self._client.digest(entry.url, file.artifact.size or None)
        if digest != file.artifact.digest:
            raise StepRefused(
                f"{entry.url} serves other bytes ({digest}) than those that were built and published as "
                f"{file.name} ({file.artifact.digest}). Whoever installs it gets those: find out what stands "
                "between, and withdraw the release"
            )
        self._step.log(f"{file.name}: {entry.url} serves {digest}")

    def _so_far(self) -> str:
        if not self._uploaded:
            return "Nothing was uploaded"
        return f"Uploaded: {', '.join(self._uploaded)}. What is there is not uploaded again by a further run"

    def _purl(self, file: File) -> str:
        """The release, as others name it: https://github.com/package-url/purl-spec."""
        name = f"pkg:pypi/{file.project}@{quote(file.version, safe='')}"
        if self._client.index.rstrip("/") == index_of(repository(NAMED[0])).rstrip("/"):
            return name
        return f"{name}?repository_url={quote(self._client.index, safe='')}"


def _stop(text: str) -> str:
    return "" if text.endswith(("?", ".", "!")) else "."


def _release(name: str) -> list[str]:
    """The project and version of a file; empty for what is neither wheel nor sdist."""
    return (files.identity(name) or "").split()[1:3]
