"""What `penstock init` says about scans: which Trivy there is, its database, and what it finds already.

Secrets need no database, so that a scan for them passes or fails the same everywhere. What lies where
tests and examples do is let pass by name; anything else closes the gate of the first run, and init says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock import Finding, Proposal, Severity, StepFailed

from penstock_trivy import binary, command, database, report
from penstock_trivy.tree import copied

_INSTALL = 'pip install "penstock-trivy[binary]"'
_PATIENCE = 120.0  # seconds
_FEW = 10
_NAMED = 3
_ASKED_FOR = '"vulnerability" under `scanners` fetches it'
_NOT_SHIPPED = frozenset(
    {"test", "tests", "testing", "testdata", "test_data", "fixtures", "example", "examples", "doc", "docs"}
)
_FIRST = "the first run fetches it"
_IMAGES = frozenset({"image", "images"})
_NO_IMAGE = "no build section makes an image; the first is: penstock init --add build.image --uses docker"
_VULNERABILITIES = frozenset({"deps", "dependencies", "vulnerabilities"})


def section(root: Path, add: str) -> Proposal:
    """The settings for one scan section, of an image where the project builds one; none for another."""
    if not add.startswith("scan."):
        return Proposal(saw="nothing", enable=False)
    name, images = add.partition(".")[2], _images(root)
    if images and name in {*_IMAGES, *images}:
        return _of_images(add, images)
    kind = "vulnerability" if add.partition(".")[2] in _VULNERABILITIES else "secret"
    what = "secrets"
    if kind == "vulnerability":
        what = f"vulnerabilities; {_about_database(_FIRST)}"
    unsure = (_NO_IMAGE,) if name in _IMAGES else ()
    return Proposal(saw=f"looks for {what}", sections={add: {"scanners": [kind]}}, unsure=unsure)


def _of_images(add: str, images: Sequence[str]) -> Proposal:
    built = " and ".join(f"build.{name}" for name in images)
    return Proposal(
        saw=f"looks into what {built} makes, for all that it knows; {_about_database(_FIRST)}",
        sections={add: {"targets": "artifacts", "block": "high"}},
        unsure=(
            "fixed_only = true lets vulnerabilities pass that nobody has mended yet, which most images have",
        ),
    )


def _images(root: Path) -> list[str]:
    """The names of the build sections that make an image."""
    project = _table(_table(_read(root / "pyproject.toml"), "tool"), "penstock")
    builds = _table(_read(root / "penstock.toml") or project, "build")
    return [name for name in builds if _table(builds, name).get("uses") == "docker"]


def _table(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}


def propose(root: Path, ask: Callable[[list[str]], str]) -> Proposal:
    """A scan for secrets, where Trivy is there and does its work."""
    program = binary.find(None)
    if program is None:
        why = f"not added: a scan needs Trivy: {_INSTALL}. Then: penstock init --add scan.all"
        return Proposal(saw="not on this machine", unsure=(why,), enable=False)
    try:
        version = binary.version_of(program, ask)
        found = _secrets(root, program)
    except StepFailed as error:
        return Proposal(saw=f"{program}", unsure=(f"not added: {error}",), enable=False)
    beside = " from the extra" if program.parent == Path(sys.executable).parent else ""
    known, shipped = _split(found)
    settings: dict[str, Any] = {"scanners": ["secret"]}
    if known:
        settings["ignore"] = [
            {"id": rule, "path": path, "reason": "was there at penstock init; nobody looked at it yet"}
            for rule, path in known
        ]
    return Proposal(
        saw=f"{version}{beside}, added to look for secrets; {_about_database(_ASKED_FOR)}",
        sections={"scan.all": settings},
        unsure=tuple(_remarks(known, shipped)),
    )


def _remarks(known: Sequence[tuple[str, str]], shipped: Sequence[Finding]) -> list[str]:
    lines = []
    if known:
        places = list(dict.fromkeys(path for _, path in known))
        shown = ", ".join(places[:_NAMED])
        if len(places) > _NAMED:
            shown += f" and {len(places) - _NAMED} more"
        lines.append(f"let pass by `ignore`, as tests and examples have them: {shown}. Look at each of them")
    return lines + [
        f"{finding.location}: {finding.id} ({finding.severity}) closes the gate of scan.all. If it is a "
        "real one, replace it and take it out; if not, name it under `ignore`"
        for finding in shipped[:_FEW]
    ]


def _split(found: Sequence[Finding]) -> tuple[list[tuple[str, str]], list[Finding]]:
    """The rules and paths of what tests and examples hold, and what else would close the gate."""
    known: dict[tuple[str, str], None] = {}
    shipped = []
    for finding in found:
        path = finding.location.partition(":")[0]
        parts = path.split("/")
        if _NOT_SHIPPED & {part.lower() for part in parts[:-1]} or parts[-1].startswith(
            ("test_", "conftest")
        ):
            known[finding.id, path] = None
        else:
            shipped.append(finding)
    return list(known), shipped


def _about_database(way: str) -> str:
    directory = database.directory_of(None)
    try:
        known = database.present(directory)
    except StepFailed:
        known = None
    if known is None:
        return f"no vulnerability database yet ({way})"
    return f"vulnerability database {known.describe(datetime.now(UTC))}"


def _secrets(root: Path, program: Path) -> list[Finding]:
    """What would close the gate. Raises StepFailed where Trivy doesn't do its work."""
    with TemporaryDirectory(prefix="penstock-trivy-") as directory:
        place = Path(directory)
        files = command.Files(place / "trivy")
        files.write()
        tree = copied(root, _files(root), place / "tree")
        out, empty = place / "report.json", place / "empty"
        empty.mkdir()
        argv = command.clean(command.scan(program, "fs", ("secret",), tree.root, out, files))
        try:
            done = subprocess.run(
                argv, cwd=empty, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"Trivy took longer than {_PATIENCE:.0f} s") from None
        if done.returncode != 0 or not out.is_file():
            raise StepFailed(f"Trivy ended with {done.returncode} and looked at nothing")
        parsed, _ = report.read(out.read_text(errors="replace"), "fs")
        if report.silent(parsed, ("secret",), tree):
            raise StepFailed("Trivy didn't find the secret that was planted to test it")
        found = report.findings(parsed, tree, Severity.medium, lambda _: False)
    return [finding for finding in found if finding.severity.rank >= Severity.high.rank]


def _files(root: Path) -> list[Path]:
    """What a run would take: what git knows, or else what does not look like it was made here."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        listed = None
    if listed is not None and listed.returncode == 0 and listed.stdout:
        return [root / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    found = []
    for place, directories, names in os.walk(root):
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".")
            and name != "node_modules"
            and not Path(place, name, "pyvenv.cfg").exists()
        ]
        found += [Path(place, name) for name in names]
    return found
