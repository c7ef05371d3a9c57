"""Requirements out of the tables of pyproject.toml: dependency groups and what single tools define. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.utils import canonicalize_name

_Table = Mapping[str, Any]


class BadGroupError(ValueError):
    """A dependency group that is not there, or not as PEP 735 says."""


@dataclass(frozen=True)
class Found:
    """What one tool's table asks for."""

    table: str
    lines: Sequence[str] = ()
    extras: Sequence[str] = ()
    groups: Sequence[str] = field(default=())


def group(groups: _Table, name: str) -> list[str]:
    """The requirements of a dependency group, with those that it includes (PEP 735)."""
    by_name: dict[str, Any] = {canonicalize_name(key): value for key, value in groups.items()}
    return list(dict.fromkeys(_expand(by_name, canonicalize_name(name), ())))


def _expand(groups: _Table, name: str, above: tuple[str, ...]) -> Iterator[str]:
    if name in above:
        raise BadGroupError(f"the dependency groups {' → '.join((*above, name))} include each other")
    entries = groups.get(name)
    if not isinstance(entries, list):
        known = f"it has: {', '.join(sorted(groups))}" if groups else "it has none"
        raise BadGroupError(f'pyproject.toml defines no dependency group "{name}"; {known}')
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict) and isinstance(entry.get("include-group"), str):
            yield from _expand(groups, canonicalize_name(entry["include-group"]), (*above, name))
        else:
            raise BadGroupError(
                f'dependency group "{name}": {entry!r} is neither a requirement nor an include-group'
            )


def tables(tool: object, names: Sequence[str]) -> Iterator[Found]:
    """What Hatch, Poetry, PDM and uv say under these names, empty ones too."""
    root = _dict(tool)
    yield from _hatch(_dict(_dict(root.get("hatch")).get("envs")), names)
    yield from _poetry(_dict(root.get("poetry")), names)
    pdm = _dict(_dict(root.get("pdm")).get("dev-dependencies"))
    for name in names:
        if name in pdm:
            yield Found(f"tool.pdm.dev-dependencies.{name}", _strings(pdm[name]))
    uv = _dict(root.get("uv"))
    if "dev" in names and "dev-dependencies" in uv:
        yield Found("tool.uv.dev-dependencies", _strings(uv["dev-dependencies"]))


def _hatch(environments: _Table, names: Sequence[str]) -> Iterator[Found]:
    # Hatch's `default` is where people develop; `hatch-test` is what `hatch test` runs in.
    wanted = ["default", *names] if "dev" in names else [*names, "hatch-test"]
    for name in wanted:
        table = _dict(environments.get(name))
        if not table:
            continue
        yield Found(
            f"tool.hatch.envs.{name}",
            [*_strings(table.get("dependencies")), *_strings(table.get("extra-dependencies"))],
            _strings(table.get("features")),
            _strings(table.get("dependency-groups")),
        )


def for_use(tool: object) -> list[str]:
    """What Poetry's table says that the project itself needs."""
    return poetry_lines(_dict(_dict(_dict(tool).get("poetry")).get("dependencies")))


def _poetry(poetry: _Table, names: Sequence[str]) -> Iterator[Found]:
    groups = _dict(poetry.get("group"))
    for name in names:
        table = _dict(_dict(groups.get(name)).get("dependencies"))
        if table:
            yield Found(f"tool.poetry.group.{name}.dependencies", poetry_lines(table))
    if "dev" in names and poetry.get("dev-dependencies"):
        yield Found("tool.poetry.dev-dependencies", poetry_lines(_dict(poetry["dev-dependencies"])))


def poetry_lines(table: _Table) -> list[str]:
    """Poetry's way of writing requirements, as requirement strings. Paths of other projects are left out."""
    lines = []
    for name, value in table.items():
        if name == "python":
            continue
        for one in value if isinstance(value, list) else [value]:
            line = _poetry_line(name, one)
            if line:
                lines.append(line)
    return lines


def _poetry_line(name: str, value: object) -> str | None:
    entry = _dict(value) if isinstance(value, dict) else {"version": str(value)}
    if "path" in entry:
        return None
    extras = f"[{','.join(_strings(entry.get('extras')))}]" if entry.get("extras") else ""
    markers = [str(entry["markers"])] if entry.get("markers") else []
    if entry.get("python"):
        markers += _python_markers(str(entry["python"]))
    if "git" in entry:
        revision = next((f"@{entry[key]}" for key in ("rev", "tag", "branch") if key in entry), "")
        what = f"{name}{extras} @ git+{entry['git']}{revision}"
    elif "url" in entry:
        what = f"{name}{extras} @ {entry['url']}"
    else:
        what = f"{name}{extras}{constraint(str(entry.get('version', '*')))}"
    return f"{what} ; {' and '.join(f'({m})' for m in markers)}" if markers else what


def constraint(text: str) -> str:
    """A version constraint of Poetry's (`^1.2`, `~1.2`, `1.2`, `>=1,<2`) as PEP 440 has it."""
    # "a || b" has no equal there: the last, which is the newest, stands for all.
    parts = [part for part in re.split(r"[,\s]+(?=[\^~<>=!*\d])", text.rpartition("||")[2].strip()) if part]
    return ",".join(filter(None, map(_one_constraint, parts)))


def _one_constraint(part: str) -> str:
    part = part.replace(" ", "")
    if part == "*":
        return ""
    if part.startswith("^"):
        return _between(part[1:], _caret)
    if part.startswith("~") and not part.startswith("~="):
        return _between(part[1:], _tilde)
    if part[0].isdigit():
        return f"=={part}"
    return part


def _between(version: str, upper: Any) -> str:
    release = [int(number) for number in re.findall(r"\d+", re.split(r"[a-zA-Z]", version)[0])]
    return f">={version},<{'.'.join(map(str, upper(release)))}" if release else f"=={version}"


def _caret(release: list[int]) -> list[int]:
    position = next((i for i, number in enumerate(release) if number), len(release) - 1)
    return [*release[:position], release[position] + 1]


def _tilde(release: list[int]) -> list[int]:
    return [release[0] + 1] if len(release) == 1 else [release[0], release[1] + 1]


def _python_markers(text: str) -> list[str]:
    found = re.findall(r"(>=|<=|==|!=|<|>)([\d.]+)", constraint(text))
    return [f'python_version {operator} "{version}"' for operator, version in found]


def _dict(value: object) -> _Table:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
