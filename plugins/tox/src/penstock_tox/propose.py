"""What `penstock init` says about tox. Reads files alone, and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from penstock import Proposal

from penstock_tox import project

_SHOWN = 4
_SUITES = ("tests", "test", "testing")


def propose(root: Path) -> Proposal | None:
    """A test step with tox; None where the project has no environments for tox that run anything.

    Where another plugin would test the same suite, it is left to that one: otherwise each test ran twice.
    """
    config = project.read(root)
    if config is None or not config.commands:
        return None
    names = ", ".join(config.environments[:_SHOWN]) + (", …" if len(config.environments) > _SHOWN else "")
    saw = f"{config.path.name}: {names}" if names else config.path.name
    suite = next(_suites(root), None)
    if suite is not None and _another_tests():
        hint = f'no step was written, since {suite} is tested already. Instead: [test.tox] uses = "tox"'
        return Proposal(saw=saw, unsure=(hint,))
    return Proposal(saw=saw, sections={"test.tox": {}})


def _suites(root: Path) -> Iterator[str]:
    """What a runner of Python tests would find by itself."""
    yield from (f"{name}/" for name in _SUITES if (root / name).is_dir())
    for pattern in ("test_*.py", "*/tests", "src/*/tests", "*/test_*.py"):
        for path in root.glob(pattern):
            if not path.relative_to(root).parts[0].startswith("."):
                yield path.relative_to(root).as_posix()


def _another_tests() -> bool:
    """Whether the plugin is installed that proposes to run such a suite."""
    return any(entry.name == "pytest" for entry in entry_points(group="penstock"))
