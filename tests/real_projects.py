"""Points Penstock at projects from the package index: `penstock init`, `penstock run`, nothing between.

    python tests/real_projects.py NAME[==VERSION]…      these; without a name, a dozen of a wide spread

Each is fetched as a source distribution, committed as it would stand in its repository, and run with the
`penstock` beside this Python in a clean environment. Standard output gets a table, a line a project.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs as a script too

from tests.projects import Done, Project  # noqa: E402

SPREAD = (
    "humanize",  # hatchling, a src layout, the version from the tag
    "itsdangerous",  # flit, a src layout
    "markupsafe",  # setuptools, with a C extension
    "tomli-w",  # flit, a flat layout
    "six",  # setup.py, a single module, tests beside it
    "defusedxml",  # setuptools, unittest alone
    "blinker",  # flit, what the tests need stands in tox.ini
    "decorator",  # tests in a file that pytest does not look for
    "poetry-core",  # its own backend
    "pdm-backend",  # its own backend
    "boltons",  # flit, tests that look for the package in the tree
    "pyyaml",  # a C extension, unittest classes that share a name
    "pygments",  # hatchling, thousands of tests
    "sqlparse",  # hatchling, flat
    "tomlkit",  # poetry-core
)

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
# How this machine reaches its package index is not the project's business, and not ours.
_NETWORK = re.compile(r"(?i)(?:PIP|UV)_\w+|\w*_PROXY|SSL_CERT_\w+|REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Outcome:
    """What became of one project."""

    name: str
    version: str
    backend: str
    state: str
    """passed, or the step that did not."""
    seconds: float
    tests: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def passed(self) -> bool:
        return self.state == "passed"

    def line(self) -> str:
        """A line of the table."""
        counts = ", ".join(f"{number} {what}" for what, number in self.tests.items() if number)
        name = f"{self.name} {self.version}"
        text = f"{name:<28} {self.backend:<18} {self.seconds:>6.1f} s  {self.state:<14} {counts}"
        return f"{text}\n{_indented(self.why)}" if self.why else text.rstrip()


def main() -> int:
    """Run what the command line names; 0 where all passed."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("name", nargs="*", default=list(SPREAD), help="NAME or NAME==VERSION")
    parser.add_argument("--sdists", type=Path, help="keeps the source distributions here for the next time")
    parser.add_argument("--keep", type=Path, help="leaves the checkouts here, each under its name")
    arguments = parser.parse_args()
    outcomes = []
    for requirement in arguments.name:
        with tempfile.TemporaryDirectory(prefix="penstock-real-") as temporary:
            place = arguments.keep.resolve() / requirement if arguments.keep else Path(temporary)
            outcome = attempt(requirement, place, arguments.sdists or Path(temporary) / "sdists")
        print(outcome.line(), flush=True)
        outcomes.append(outcome)
    passed = sum(outcome.passed for outcome in outcomes)
    print(f"{passed} of {len(outcomes)} passed")
    return 0 if passed == len(outcomes) else 1


def attempt(requirement: str, place: Path, sdists: Path) -> Outcome:
    """Fetch one project, and do what its user would do."""
    try:
        project, version = checkout(fetch(requirement, sdists), place)
    except subprocess.CalledProcessError as error:
        return Outcome(requirement, "", "", "not fetched", 0.0, why=str(error.stderr)[-1500:])
    return use(project, requirement.partition("==")[0], version)


def use(project: Project, name: str, version: str) -> Outcome:
    """`penstock init` and `penstock run`, and what came of them."""
    started = time.monotonic()
    backend = backend_of(project.root)
    for command in ("init", "run"):
        done = project.run(command, timeout=1800)
        if done.code != 0:
            break
    seconds = time.monotonic() - started
    if command == "init":
        return Outcome(name, version, backend, "init", seconds, why=_said(done))
    steps = project.json("show", "last")["steps"] if done.code in (0, 1, 4) else []
    # A style check is a test step as well, of one test.
    tests = max((step["tests"] for step in steps if step.get("tests")), key=_total, default={})
    if done.code == 0:
        return Outcome(name, version, backend, "passed", seconds, tests)
    bad = [step["name"] for step in steps if step["state"] in ("failed", "refused")]
    return Outcome(name, version, backend, ", ".join(bad) or "run", seconds, tests, _said(done))


def fetch(requirement: str, place: Path) -> Path:
    """The source distribution of a requirement, out of `place` if it is there already."""
    here = place / requirement
    if not (found := _archives(here)):
        here.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "-d", here, requirement], check=True, capture_output=True, text=True)
        found = _archives(here)
    [archive] = found
    return archive


def checkout(archive: Path, place: Path) -> tuple[Project, str]:
    """The files of a source distribution as they stand in its repository, with a tag, and its version."""
    unpacked = place / "unpacked"
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    [tree] = unpacked.iterdir()
    version = tree.name.rpartition("-")[2]
    project = Project.make(place / "checkout", place / "data")
    project.env = clean(project.env)
    for path in tree.iterdir():
        # What the build of a source distribution has added.
        if path.name != "PKG-INFO" and not path.name.endswith(".egg-info"):
            path.rename(project.root / path.name)
    for added in [*project.root.glob("*/*.egg-info/*"), *project.root.glob("*/*.egg-info")]:
        added.unlink() if added.is_file() else added.rmdir()
    project.git("add", "--all", "--force")
    project.commit(message=tree.name)
    project.git("tag", f"v{version}")
    return project, version


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the environment that this was started in but the way to the network."""
    ours = ("GIT_", "XDG_DATA_HOME", "NO_COLOR")
    return {
        name: value
        for name, value in env.items()
        if name in _KEPT or name.startswith(ours) or _NETWORK.fullmatch(name)
    }


def backend_of(root: Path) -> str:
    """What builds the project, for the table."""
    try:
        data: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "setup.py"
    return str(data.get("build-system", {}).get("build-backend", "setuptools")).partition(".")[0]


def _total(tests: Mapping[str, int]) -> int:
    return sum(tests.values())


def _archives(place: Path) -> Sequence[Path]:
    return [*place.glob("*.tar.gz"), *place.glob("*.zip"), *place.glob("*.tar.bz2")]


def _said(done: Done) -> str:
    return "\n".join([f"ended with {done.code}", *done.said.strip().splitlines()[-25:]])


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
