"""What the result of a step depends on → a key; and what differs between two such lists. Pure.

Two steps have the same key only where all that may lead to another result is the same. Everything goes
into one canonical JSON text, so that no two different lists can come to the same one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import JsonValue

from penstock.globs import chosen
from penstock.model import Artifact, Revision, Tool, sha256_of
from penstock.plan import PlanStep

FORMAT = 1
"""The version of what a key is made of: another one makes other keys."""
ABOUT_REVISION = ("commit", "ref", "tag", "distance", "time", "author", "subject")
NO_PARAMETERS: Mapping[str, JsonValue] = MappingProxyType({})
_STANDING_FOR_IT = "PENSTOCK_REVISION"
_MANY = 40
"""Artifacts that are listed one by one."""
_IN_ALL = "{} in all"
_COMMON = ("format", "plugin", "machine", "settings", "services", "tools")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False)

Parts = dict[str, dict[str, JsonValue]]
"""What a result depends on, in groups: files, settings, env …, each by name."""
Entry = Mapping[str, str | int]
"""One entry of a snapshot's manifest."""


class Unusable(NamedTuple):
    """Why there is no key: a step without one is neither taken over nor kept."""

    why: str


class Files(NamedTuple):
    """The files of the source that count."""

    digest: str
    listing: bytes | None
    """What has that digest: a list of the files; None where it is the snapshot's own manifest."""


def canonical(value: object) -> bytes:
    """The one JSON text of a value. Names that are not UTF-8 stand in it as the bytes that they are."""
    return _ENCODER.encode(value).encode()


def digest_of(value: object) -> str:
    """The digest of a value's canonical JSON text."""
    return sha256_of(canonical(value))


def artifacts_part(artifacts: Sequence[Artifact]) -> dict[str, JsonValue]:
    """What a step is handed, in order; where it is much, by one digest."""
    found: list[JsonValue] = [artifact.model_dump(mode="json") for artifact in artifacts]
    if len(found) > _MANY:
        return {_IN_ALL.format(len(found)): digest_of(found)}
    return {str(number): artifact for number, artifact in enumerate(found)}


def parts_of(
    step: PlanStep,
    artifacts: Mapping[str, JsonValue],
    files: str,
    env: Mapping[str, str | None],
    tools: Iterable[Tool],
    plugin: Mapping[str, str],
    machine: Mapping[str, str],
    *,
    dirty: bool,
    parameters: Mapping[str, JsonValue] = NO_PARAMETERS,
) -> Parts:
    """All that the result of a step depends on, apart from facts about the revision that it may ask for.

    `artifacts` is what `artifacts_part` gives, `files` the digest of those that count, `env` the variables
    that count, as the step sees them; `plugin` and `machine` say which code runs, and where.
    """
    return {
        "format": {"version": FORMAT},
        "step": {
            "name": step.name,
            "phase": step.phase,
            "artifacts": list(step.keys.artifacts),
            # Which digest that is stands among the artifacts: the step waits for what makes it.
            **({"inside": step.keys.inside.model_dump(mode="json")} if step.keys.inside else {}),
        },
        "plugin": dict(plugin),
        "machine": dict(machine),
        "settings": dict(step.settings),
        **({"services": _services(step)} if step.services else {}),
        "env": {**step.keys.env, **env},
        "parameters": dict(parameters),
        "quarantine": {str(n): each.model_dump(mode="json") for n, each in enumerate(step.quarantine)},
        "secrets": dict(step.keys.secrets),
        "artifacts": dict(artifacts),
        "tools": {str(number): tool.model_dump(mode="json") for number, tool in enumerate(tools)},
        # What was not committed is on record as such: a clean run does not take it over.
        "source": {"files": files, "dirty": dirty},
    }


def _services(step: PlanStep) -> dict[str, JsonValue]:
    return {service.name: service.model_dump(mode="json") for service in step.services}


def with_revision(parts: Parts, revision: Revision) -> Parts:
    """The same for a step that asked which revision it is about."""
    facts = revision.model_dump(mode="json", include=set(ABOUT_REVISION))
    return {**parts, "revision": facts}


def observed(step: PlanStep, tools: Iterable[Tool], *, asked: bool) -> dict[str, JsonValue]:
    """Of a step with a cache: with which tools it really ran, and whether it asked for its revision."""
    if step.keys.cached is None:
        return {}
    return {"observed": {"tools": of_tools(tools), "revision": asked}}


def of_tools(tools: Iterable[Tool]) -> str:
    """The digest of a step's tools."""
    return digest_of([tool.model_dump(mode="json") for tool in tools])


def speaks_of_revision(step: PlanStep) -> bool:
    """Whether its settings themselves say that the result depends on which revision it is."""
    return _STANDING_FOR_IT in canonical(step.settings).decode()


# --- files ---


def listed(entries: Iterable[Entry]) -> list[list[str]]:
    """The entries of a manifest as name, kind and content, in the order of their names."""
    return sorted([str(entry["path"]), *_content(entry)] for entry in entries)


def _content(entry: Entry) -> tuple[str, str]:
    if "link" in entry:
        return "link", str(entry["link"])
    if "dir" in entry:
        return "directory", ""
    return "program" if entry["exec"] else "file", str(entry["sha256"])


def files_of(entries: Sequence[Entry], patterns: Sequence[str]) -> Files | Unusable:
    """The files that match, with those that links among them lead to."""
    by_name = {str(entry["path"]): entry for entry in entries}
    names, idle = chosen(by_name, patterns)
    if idle:
        return Unusable(f'inputs: "{idle[0]}" matches no file of the source')
    picked = dict.fromkeys(names)
    queue = list(names)
    while queue:
        name = queue.pop()
        if "link" not in by_name[name]:
            continue
        led_to = _led_to(name, by_name)
        if led_to is None:
            return Unusable(f'inputs: "{name}" is a link that leads out of the source')
        new = [other for other in led_to if other not in picked]
        picked.update(dict.fromkeys(new))
        queue += new
    listing = canonical(listed(by_name[name] for name in picked))
    return Files(sha256_of(listing), listing)


def _led_to(name: str, by_name: Mapping[str, Entry]) -> list[str] | None:
    """What a link leads to, and by way of which other links; None where that is outside."""
    walked = _walk(name, by_name)
    if walked is None:
        return None
    passed, end = walked
    if end in by_name:
        return [*passed, end]
    return [*passed, *(other for other in by_name if not end or other.startswith(f"{end}/"))]


def _walk(name: str, by_name: Mapping[str, Entry]) -> tuple[list[str], str] | None:
    """The links that are passed on the way from one of them, and the name that it ends at."""
    *place, last = name.split("/")
    ahead, passed = [last], list[str]()
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not place:
                return None
            place.pop()
            continue
        here = "/".join([*place, part])
        link = by_name.get(here, {}).get("link")
        if link is None:
            place.append(part)
        elif str(link).startswith("/"):
            return None
        elif here in passed:
            return passed, here  # in a circle
        else:
            passed.append(here)
            ahead += str(link).split("/")[::-1]
    return passed, "/".join(place)


# --- what is kept for whoever asks why ---


def divided(parts: Parts) -> tuple[Parts, Parts]:
    """The parts that all steps of one plugin with the same settings have in common, and a step's own."""
    common = {group: values for group, values in parts.items() if group in _COMMON}
    return common, {group: values for group, values in parts.items() if group not in _COMMON}


def recorded(parts: Parts) -> dict[str, str]:
    """The parts as they go on record with a result: what differs can be told, values can't be read."""
    said: dict[str, str] = {}
    for group, values in parts.items():
        if group in ("artifacts", "tools"):
            for name, text in _things(group, values):
                said[_free(f"{group}.{name}", said)] = text
        elif group in ("plugin", "machine", "step", "format", "source", "revision"):
            said |= {f"{group}.{name}": _short(value) for name, value in values.items()}
        else:
            said |= {f"{group}.{name}": digest_of(value)[7:23] for name, value in values.items()}
    return said


def _things(group: str, values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, str):
            yield name, value[7:23]
            continue
        about = value["version"] if group == "tools" else value["kind"]
        yield value["name"], f"{about} {digest_of(value)[7:23]}"


def _free(name: str, taken: Mapping[str, str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _short(value: JsonValue) -> str:
    text = value if isinstance(value, str) else canonical(value).decode()
    return text if len(text) <= 80 else digest_of(text)


def differences(before: Mapping[str, str], now: Mapping[str, str], *, artifacts: bool = True) -> list[str]:
    """What is not as it was, in words; the files aside, which have lists of their own, or also artifacts."""
    changed = [
        name
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
        and name != "source.files"
        and (artifacts or not name.startswith("artifacts."))
    ]
    groups: dict[str, list[str]] = {}
    for name in changed:
        group, _, rest = name.partition(".")
        groups.setdefault(group, []).append(rest)
    found: list[str] = []
    for group, names in groups.items():
        say = _SAY.get(group)
        if say is None:
            found.append(f"{group}: {', '.join(names)}")
        else:
            found += [say(name, before.get(f"{group}.{name}"), now.get(f"{group}.{name}")) for name in names]
    return list(dict.fromkeys(found))


def files_changed(before: Iterable[Sequence[str]], now: Iterable[Sequence[str]]) -> list[str]:
    """The names of files that are new, gone, or other than they were."""
    was = {entry[0]: list(entry[1:]) for entry in before}
    is_ = {entry[0]: list(entry[1:]) for entry in now}
    return sorted(name for name in was.keys() | is_.keys() if was.get(name) != is_.get(name))


def in_words(files: Sequence[str]) -> str:
    """Changed files, short."""
    more = f" (+{len(files) - 1} more)" if len(files) > 1 else ""
    return f"changed: {files[0]}{more}"


def _tool(name: str, before: str | None, now: str | None) -> str:
    return _moved(f"tool {name}", before, now)


def _artifact(name: str, before: str | None, now: str | None) -> str:
    how = "is new" if before is None else "is not there any more" if now is None else "is another one"
    return f"artifact {name} {how}"


def _plugin(name: str, before: str | None, now: str | None) -> str:
    return "the plugin's code" if name == "code" else f"{name} {before or 'unknown'} → {now or 'none'}"


def _machine(name: str, before: str | None, now: str | None) -> str:
    return f"{name} {before or 'unknown'} → {now or 'unknown'}"


def _source(_: str, before: str | None, __: str | None) -> str:
    then = "files that are not committed were taken then"
    return then if before == "true" else "files that are not committed"


def _revision(name: str, before: str | None, now: str | None) -> str:
    if name == "commit":
        return f"revision {(before or 'unknown')[:7]} → {(now or 'unknown')[:7]}"
    return f"{name} of the revision"


def _moved(what: str, before: str | None, now: str | None) -> str:
    old, new = (before or "").rpartition(" ")[0], (now or "").rpartition(" ")[0]
    if before is None or now is None:
        return f"{what} {old or 'none'} → {new or 'none'}"
    return f"{what} {old} → {new}" if old != new else f"{what}: other bytes of the same version"


_SAY = {
    "tools": _tool,
    "artifacts": _artifact,
    "plugin": _plugin,
    "machine": _machine,
    "source": _source,
    "revision": _revision,
}
