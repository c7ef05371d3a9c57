"""What `penstock init` says about a project's tests. Reads files alone, and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penstock import ConfigError, Proposal

from penstock_pytest.requirements import Choice, Project

_PLACES = ("tests", "test", "testing")


def propose(root: Path) -> Proposal | None:
    """A test step with pytest; None where nothing looks like a test."""
    found = next(_tests(root), None)
    if found is None:
        return None
    try:
        origin = Project(root).wanted(Choice()).origin
    except ConfigError as error:
        return Proposal(saw=found, sections={"test.pytest": {}}, unsure=(str(error),))
    return Proposal(saw=f"{found}, requirements: {origin}", sections={"test.pytest": {}})


def _tests(root: Path) -> Iterator[str]:
    """Where the tests are, the likeliest place first."""
    for name in _PLACES:
        if (root / name).is_dir():
            yield f"{name}/"
    for pattern in ("test_*.py", "*/tests", "src/*/tests", "*/test_*.py"):
        for path in sorted(root.glob(pattern)):
            if not path.relative_to(root).parts[0].startswith("."):
                yield path.relative_to(root).as_posix() + ("/" if path.is_dir() else "")
