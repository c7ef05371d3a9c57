"""A build: the context, a builder that is there, the image's ID."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker.utils.build import exclude_paths
from penstock import Artifact, CommandFailed, ConfigError, Step, StepFailed

from penstock_docker import archive, buildkit, complaints, doctor, engine, registry
from penstock_docker.buildkit import Program
from penstock_docker.engine import DockerClient
from penstock_docker.settings import Image

_EPOCH = "SOURCE_DATE_EPOCH"
_PATIENCE = 3600.0
"""Seconds for a command of the Dockerfile that says nothing."""
_LAST_WORDS = 2000
_FULL = "no space left on device"
_LITTLE = 64 << 20
"""Bytes on a disk that may well be the reason."""
_FED = 'exec "$@" < "$0"'
"""A shell that starts a program with a file as its standard input."""


def build(settings: Image, step: Step) -> list[Artifact]:
    """Build the image and keep it; where a repository is named, put it there by its digest."""
    context = _context(settings, step)
    with engine.connected(settings.host, tls=settings.tls, patience=_PATIENCE) as client:
        image_id = _built(settings, step, client, context)
        step.log(f"Built {image_id}")
        artifact = archive.keep(client, image_id, _name(settings, step), step)
    step.log(f"Kept as {artifact.digest}")
    if settings.repository:
        registry.put(settings.repository, artifact, step, insecure=settings.insecure)
    return [artifact]


def _name(settings: Image, step: Step) -> str:
    return settings.name or settings.repository or step.name.partition(".")[2]


def _context(settings: Image, step: Step) -> Path:
    root = step.workspace.resolve()
    context = (root / settings.context).resolve()
    if not context.is_relative_to(root) or not context.is_dir():
        raise ConfigError(f'[{step.name}] context = "{settings.context}": the revision has no such directory')
    if not (context / settings.dockerfile).is_file():
        raise ConfigError(
            f'[{step.name}] there is no {settings.dockerfile} in the revision\'s "{settings.context}". '
            "Write one and "
            "commit it, or name another: dockerfile"
        )
    return context


def _packed(settings: Image, step: Step, context: Path) -> Path:
    """The context as an archive, without what .dockerignore names.

    BuildKit takes a directory's files by size and time: two of one size, both of the commit's time, are one
    to it. Of an archive it takes the bytes.
    """
    ignored = context / ".dockerignore"
    text = ignored.read_text(encoding="utf-8", errors="replace") if ignored.is_file() else ""
    patterns = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = sorted(exclude_paths(str(context), patterns, dockerfile=settings.dockerfile))
    step.log(f"The context has {len(names)} entries")
    packed = step.tmp / "context.tar"
    # docker sees by its first block alone that it is an archive: PAX would have more before the first name.
    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            _add(tar, context / name, name, step.revision.time or 0)
    return packed


def _add(tar: tarfile.TarFile, path: Path, name: str, epoch: int) -> None:
    """Add a file as of the commit's time, and nobody's: layers hold both, and a checkout has its own."""
    info = tar.gettarinfo(path, arcname=name)
    info.mtime, info.uid, info.gid, info.uname, info.gname = epoch, 0, 0, "", ""
    if info.isfile():
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def _built(settings: Image, step: Step, client: DockerClient, context: Path) -> str:
    packed = _packed(settings, step, context)
    program = None if settings.builder == "classic" else buildkit.find(_asking(step))
    if program is None and (settings.builder == "buildkit" or settings.build_secrets):
        asks = "builder" if settings.builder == "buildkit" else "build_secrets"
        raise StepFailed(
            f"[{step.name}] {asks} asks for BuildKit, and there is no docker program with it. Install one "
            "(docker-buildx), on the PATH"
        )
    if program is not None:
        return _with_buildkit(settings, step, client, program, packed)
    step.log("With the engine's classic builder")
    return _with_classic(settings, step, client, packed)


# --- BuildKit ---


def _asking(step: Step) -> buildkit.Ask:
    def ask(argv: list[str]) -> str | None:
        try:
            done = step.run(argv, check=False, capture=True, quiet=True, timeout=30)
        except StepFailed:
            return None
        return done.stdout if done.returncode == 0 else None

    return ask


def _with_buildkit(settings: Image, step: Step, client: DockerClient, program: Program, packed: Path) -> str:
    argv, env = program
    said = step.tmp / "image-id"
    words = [*argv, "--progress=plain", f"--iidfile={said}", f"--file={settings.dockerfile}"]
    words += [f"--build-arg={name}={value}" for name, value in _args(settings, step).items()]
    words += [f"--label={name}={value}" for name, value in _labels(settings, step).items()]
    words += [f"--secret=id={name},src={_secret_file(name, step)}" for name in settings.build_secrets]
    words += [f"--target={settings.target}"] if settings.target else []
    words += ["--pull"] if settings.pull else []
    words += [] if settings.reuse else ["--no-cache"]
    where = engine.address(settings.host)
    step.log(f"With BuildKit, through {argv[0]}")
    try:
        step.run(
            ["sh", "-c", _FED, str(packed), *words, "-"],
            env={**env, "DOCKER_HOST": where, **_certificates(settings, step)},
        )
    except CommandFailed as error:
        raise StepFailed(
            f"the build failed: {error}{_without_room(client, where)}. What it printed: "
            f"penstock logs {step.number} {step.name}"
        ) from None
    return said.read_text().strip()


def _certificates(settings: Image, step: Step) -> dict[str, str]:
    """The variables that show a docker program the certificates, in the one form that it takes."""
    if settings.tls is None:
        return {}
    place = step.tmp / "certificates"
    place.mkdir(exist_ok=True)
    for name, path in settings.tls:
        (place / f"{name}.pem").symlink_to(Path(path).expanduser().absolute())
    return {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(place)}


def _without_room(client: DockerClient, where: str) -> str:
    left = doctor.room(client, where)
    if left is None or left[0] > _LITTLE:
        return ""
    return f"; {left[0] >> 20} MiB are left in {left[1]}. Make room: docker system df, docker system prune"


def _secret_file(name: str, step: Step) -> Path:
    """A secret as a file, for as long as the step lasts: the engine mounts it while a command runs."""
    path = step.tmp / f"secret-{name}"
    path.touch(mode=0o600)
    path.write_text(step.secret(name))
    return path


# --- the classic builder ---


def _with_classic(settings: Image, step: Step, client: DockerClient, packed: Path) -> str:
    with packed.open("rb") as file:
        events = client.api.build(
            fileobj=file,
            custom_context=True,
            dockerfile=settings.dockerfile,
            buildargs=_args(settings, step),
            labels=dict(_labels(settings, step)),
            target=settings.target or "",
            pull=settings.pull,
            nocache=not settings.reuse,
            rm=True,
            forcerm=True,
            decode=True,
        )
        try:
            return _followed(events, step)
        finally:
            for _ in events:  # read to its end: docker-py closes a stream no sooner
                pass


def _followed(events: Iterator[dict[str, Any]], step: Step) -> str:
    """The ID that a build's events come to. A failure is an event, too."""
    image_id, line, last = "", "", ""
    for event in events:
        line += str(event.get("stream", ""))
        last = (last + str(event.get("stream", "")).lower())[-_LAST_WORDS:]
        *whole, line = line.split("\n")
        for text in whole:
            if text.strip():
                step.log(text)
                _tell_progress(text, step)
        if "error" in event:
            said = f"{event['error']} ({_FULL})" if _FULL in last else str(event["error"])
            raise StepFailed(
                f"the build failed: {complaints.of_engine(said)}. What it printed: "
                f"penstock logs {step.number} {step.name}"
            )
        aux = event.get("aux")
        if isinstance(aux, dict) and "ID" in aux:
            image_id = str(aux["ID"])
    if not image_id:
        raise StepFailed("the engine ended the build and named no image")
    return image_id


def _tell_progress(text: str, step: Step) -> None:
    words = text.split()
    if len(words) > 3 and words[0] == "Step" and "/" in words[1]:
        done, _, total = words[1].partition("/")
        if done.isdigit() and total.isdigit():
            step.progress(int(done), int(total), " ".join(words[3:])[:60])


# --- what every builder is told ---


def _args(settings: Image, step: Step) -> dict[str, str]:
    epoch = {} if step.revision.time is None else {_EPOCH: str(step.revision.time)}
    return {**epoch, **settings.args}


def _labels(settings: Image, step: Step) -> Mapping[str, str]:
    """OCI's own annotations, as labels: part of what is built, so that they may not change by themselves."""
    revision = step.revision
    created = (
        {}
        if revision.time is None
        else {"org.opencontainers.image.created": datetime.fromtimestamp(revision.time, UTC).isoformat()}
    )
    commit = {"org.opencontainers.image.revision": revision.commit} if revision.commit else {}
    tag = {"org.opencontainers.image.version": revision.tag} if revision.tag and not revision.distance else {}
    return {**created, **commit, **tag, **settings.image_labels}
