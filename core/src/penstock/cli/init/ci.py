"""`init --ci`: the file that runs the pipeline on a CI server. What is run stays in `penstock.toml`."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

import click

from penstock import config
from penstock.cli.files import create
from penstock.cli.init.ci_files import ACTIONS, GITLAB, VERSIONS
from penstock.configfile import find
from penstock.errors import ConfigError
from penstock.inhouse import is_path
from penstock.plugins import Installed, installed

PLATFORMS = {
    "github": ".github/workflows/penstock.yml",
    "gitlab": ".gitlab-ci.yml",
    "gitea": ".gitea/workflows/penstock.yml",
}


def write(start: Path, platform: str) -> int:
    """Write the file, where there is none yet."""
    path = find(start)
    top = _repository(path.parent)
    inner = path.parent.relative_to(top).as_posix()
    text = compose(platform, config.enabled(path), "" if inner == "." else inner)
    file = top / PLATFORMS[platform]
    try:
        create(file, text.encode())
    except FileExistsError:
        raise ConfigError(
            f"{PLATFORMS[platform]} is there already; it is left as it is. To see what would be written, do "
            "it in a copy of the project without that file"
        ) from None
    click.echo(f"Wrote {PLATFORMS[platform]}. Look through it, commit it, and push.")
    click.echo("Steps that run tools of their own, such as a linter, need them installed in it too.")
    return 0


def compose(platform: str, plugins: tuple[str, ...], inner: str) -> str:
    """The text for a project in the directory `inner` of its repository, "" for its root."""
    known = installed()
    values = {
        "PLATFORM": platform,
        "PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "INSTALL": " ".join(shlex.quote(entry) for entry in requirements(plugins, known)),
        "PREFIX": f"{inner}/" if inner else "",
        **VERSIONS.get(platform, {}),
    }
    text = GITLAB if platform == "gitlab" else ACTIONS
    # What belongs to other platforms, or to a project in a directory of its own, is taken out by line.
    kept = [line for line in text.splitlines() if _belongs(line, platform, inner)]
    joined = "\n".join(line.partition("  #?")[0].rstrip() for line in kept) + "\n"
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], joined)


def _belongs(line: str, platform: str, inner: str) -> bool:
    condition = line.partition("  #?")[2]
    return not condition or condition == platform or (condition == "inner" and bool(inner))


def requirements(plugins: tuple[str, ...], known: Mapping[str, Installed]) -> list[str]:
    """What pip has to install for these plugins: the extra that brings most, and the others."""
    missing = {known[name].distribution for name in plugins if name in known}
    missing |= {name for name in plugins if name not in known and not is_path(name)}
    bundle = ""
    for extra, brought in _extras().items():
        if brought & missing and (not bundle or len(brought & missing) > len(_extras()[bundle] & missing)):
            bundle = extra
    if bundle:
        missing -= _extras()[bundle]
    return [f"penstock[{bundle}]>=0.1" if bundle else "penstock>=0.1", *sorted(missing)]


def _extras() -> dict[str, set[str]]:
    """The distributions that each extra of Penstock brings."""
    try:
        extras = metadata("penstock").get_all("Provides-Extra") or []
        lines = requires("penstock") or []
    except PackageNotFoundError:
        return {}
    found: dict[str, set[str]] = {extra: set() for extra in extras}
    for line in lines:
        name, marker = re.match(r"[\w.-]+", line), re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name and marker and marker[1] in found:
            found[marker[1]].add(name[0])
    return found


def _repository(project: Path) -> Path:
    """Where CI servers look for their files: the root of the repository, or else of the project."""
    return next((place for place in (project, *project.parents) if (place / ".git").exists()), project)
