"""`get`: an artifact, a report or a statement out of the store, checked by its digest on the way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from penstock.cli.common import Opened, day, not_pruned, open_project, run_and_rest
from penstock.cli.files import beside, settle, sweep
from penstock.cli.text import clean
from penstock.errors import ConfigError, PluginError, nearest
from penstock.model import Artifact
from penstock.proof import check_bytes
from penstock.state import RunState

_LEAST = 6
"""Hexadecimal digits that a beginning of a digest needs."""
_SHOWN = 5
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Thing:
    """Something that the store has, and what it is called outside."""

    name: str
    digest: str


@click.command()
@click.argument("words", nargs=-1, metavar="DIGEST | [RUN] NAME")
@click.option("-o", "--output", metavar="PATH", help="The file or directory to write; - is standard output.")
@click.option("--force", is_flag=True, help="Replace what is there.")
def get(words: tuple[str, ...], output: str | None, force: bool) -> int:
    """Take an artifact out of the store, by its digest or by its name in a run.

    The first six digits of a digest will do where only one begins so. A test or scan step's name stands for
    its report.
    """
    run, rest = run_and_rest(words)
    if len(rest) > 1:
        raise ConfigError(
            f'name one artifact at a time: "{rest[1]}" is too much. If it is where to write: -o {rest[1]}'
        )
    if not rest and len(words) == 1 and _is_digest(words[0]):
        run, rest = "last", words  # digits alone: more than any run has
    if not rest:
        raise ConfigError("name a digest, or an artifact of a run. What a run built: penstock show last")
    opened = open_project()
    thing = _by_digest(opened, rest[0]) if rest == words and _is_digest(rest[0]) else None
    thing = thing or _by_name(opened, opened.state(run), rest[0])
    if output == "-":
        _to_standard_output(opened, thing)
        return 0
    path = _place(thing, output)
    _write(opened, thing, path, force=force)
    click.echo(f"Wrote {clean(str(path))}  {thing.digest}", err=True)
    return 0


def _is_digest(word: str) -> bool:
    begin, dots, end = _ends(word)
    least = 1 if word.startswith("sha256:") else _LEAST
    whole = bool(begin and (end or not dots))
    return whole and least <= len(begin + end) <= 64 and not set(begin + end) - set("0123456789abcdef")


def _ends(word: str) -> tuple[str, str, str]:
    """The beginning of a digest, and its end where it is written as runs show it: 9b1f…e07a."""
    return word.removeprefix("sha256:").lower().replace("...", "…").partition("…")


def _by_digest(opened: Opened, word: str) -> Thing | None:
    """What the store has under a digest, or its beginning; None for what may be a name as well."""
    begin, _, end = _ends(word)
    found = [digest for digest, _ in opened.home.store.digests(begin) if digest.endswith(end)]
    if len(found) > 1:
        names = _names(opened)
        shown = [f"{digest} {names[digest]}" if digest in names else digest for digest in found[:_SHOWN]]
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ConfigError(
            clean(f"{len(found)} digests are like {word}: {', '.join(shown)}{more}. Give more of it")
        )
    if found:
        return Thing(_names(opened).get(found[0]) or _own_name(opened, found[0]), found[0])
    if gone := _gone(opened, begin, end):
        raise ConfigError(gone)
    if word.startswith("sha256:"):
        raise ConfigError(f"the store has nothing under {word}. What a run built: penstock show last")
    return None


def _names(opened: Opened) -> dict[str, str]:
    """What artifacts were called, by their digests; the newest name counts."""
    names: dict[str, str] = {}
    for event in opened.journal.find("step.finished"):
        for entry in event.data.get("artifacts", ()):
            names.setdefault(str(entry["digest"]), str(entry["name"]))
        if event.data.get("report"):
            names.setdefault(str(event.data["report"]), f"{event.step}.report.json")
    return names


def _gone(opened: Opened, begin: str, end: str) -> str:
    """What to say of a digest whose bytes were removed on purpose."""
    for event in opened.journal.find("step.finished"):
        for entry in event.data.get("artifacts", ()):
            digits = str(entry["digest"]).removeprefix("sha256:")
            if digits.startswith(begin) and digits.endswith(end):
                state = opened.state(str(event.run))
                if state.pruned is not None:
                    return f"{entry['name']} of run {event.run} was removed by prune on {day(state.pruned)}"
    return ""


def _own_name(opened: Opened, digest: str) -> str:
    """A name for what has none."""
    begin = digest.removeprefix("sha256:")[:12]
    if opened.home.store.is_tree(digest):
        return begin
    with opened.home.store.path(digest).open("rb") as file:
        return f"{begin}.json" if file.read(1) == b"{" else begin


def _by_name(opened: Opened, state: RunState, name: str) -> Thing:
    """An artifact of a run, or the report of one of its steps. Raises ConfigError where it has none such."""
    things = list(dict.fromkeys(_things(opened, state)))
    found = [thing for thing in things if thing.name == name]
    found = found or [thing for thing in things if thing.name == f"{name}.report.json"]
    digests = list(dict.fromkeys(thing.digest for thing in found))
    if len(digests) > 1:
        raise ConfigError(
            f"run {state.run} has several of the name {name}. Take one by its digest: {', '.join(digests)}"
        )
    not_pruned(state, f"{name} with it" if found else "its artifacts with it")
    if not found:
        known = nearest(name, dict.fromkeys(thing.name for thing in things), "artifacts")
        neither = ", and no digest in the store begins so" if _is_digest(name) else ""
        raise ConfigError(f'run {state.run} has no artifact "{name}"{neither}{known}')
    return found[0]


def _things(opened: Opened, state: RunState) -> Iterator[Thing]:
    for name, step in state.steps.items():
        for artifact in step.artifacts:
            yield Thing(artifact.name, artifact.digest)
        if step.report is None:
            continue
        yield Thing(f"{name}.report.json", step.report)
        if state.plan.by_name[name].phase == "scan" and opened.home.store.has(step.report):
            sbom = json.loads(opened.home.store.read(step.report)).get("sbom")
            if sbom:
                yield Thing(str(sbom["name"]), str(sbom["digest"]))


def _place(thing: Thing, output: str | None) -> Path:
    name = thing.name.replace("/", "_").replace("\0", "_")
    name = name if name not in ("", ".", "..") else f"_{name}"
    if output is None:
        return Path(name)
    if not output or "\0" in output:
        raise ConfigError(f'-o: "{clean(output)}" is no path')
    path = Path(output)
    return path / name if path.is_dir() or output.endswith("/") else path


def _write(opened: Opened, thing: Thing, path: Path, *, force: bool) -> None:
    """Write all of it, or nothing. Raises ConfigError where something is there and is not to be replaced."""
    store = opened.home.store
    there = (
        f"{path} is there already, and is left as it is. Replace it with --force, or write elsewhere with -o"
    )
    if path.is_symlink() or path.exists():
        sweep(path.parent)
        if not force:
            raise ConfigError(there)
        if not path.is_file() or store.is_tree(thing.digest):  # a device would be gone for everybody
            raise ConfigError(f"{path} is there already, and only a file can take the place of a file")
    try:
        with beside(path) as place:
            temporary = place / "it"
            if store.is_tree(thing.digest):
                store.write_tree(thing.digest, temporary)
            else:
                store.write_to(thing.digest, temporary)
            settle(temporary, path, force=force)
    except FileExistsError:
        raise ConfigError(there) from None
    except OSError as error:
        raise PluginError(f"{path} can't be written: {error.strerror}") from None


def _to_standard_output(opened: Opened, thing: Thing) -> None:
    """What was written can't be taken back: so all of it is checked first."""
    store = opened.home.store
    if store.is_tree(thing.digest):
        raise ConfigError(
            f"{thing.name} is a directory, and can't be written to standard output. Name a place: -o PATH"
        )
    check_bytes(opened.home, Artifact(name=thing.name, kind="file", digest=thing.digest))
    with store.path(thing.digest).open("rb") as file:
        while chunk := file.read(_CHUNK):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
