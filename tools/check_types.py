"""Runs mypy --strict over everything that is shipped, and over these tools, in one go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Each source root is on mypy's path, so that a module has one name, whoever imports it."""
    roots = [ROOT / "core" / "src", *sorted(ROOT.glob("plugins/*/src")), *sorted(ROOT.glob("examples/*/src"))]
    paths = [*roots, *sorted(ROOT.glob("tools/*.py")), *sorted(ROOT.glob("benchmarks/*.py"))]
    env = {**os.environ, "MYPYPATH": os.pathsep.join(str(root) for root in [*roots, ROOT / "tools"])}
    command = [sys.executable, "-m", "mypy", *sys.argv[1:], *(str(path.relative_to(ROOT)) for path in paths)]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
