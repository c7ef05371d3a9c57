"""What setuptools takes for the project where nothing names its packages: its documented automatic discovery.

https://setuptools.pypa.io/en/latest/userguide/package_discovery.html#automatic-discovery
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

_NOT_PACKAGES = (
    *("ci", "bin", "debian", "doc", "docs", "documentation", "manpages", "news", "newsfragments"),
    *("test", "tests", "unit_test", "unit_tests", "example", "examples", "scripts", "tools", "util", "utils"),
    *("python", "build", "benchmark", "benchmarks", "exercise", "exercises", "htmlcov", "tasks", "fabfile"),
    *("changelog", "site_scons", "[._]*"),
)
_NOT_MODULES = (
    *("setup", "conftest", "test", "tests", "example", "examples", "build", "toxfile", "noxfile", "pavement"),
    *("dodo", "tasks", "fabfile", "[Ss][Cc]onstruct", "conanfile", "manage", "benchmark", "benchmarks"),
    *("exercise", "exercises", "[._]*"),
)


def top_level(root: Path) -> list[str]:
    """The packages, or else the modules, that stand side by side; of more than one it makes no distribution.

    With a directory `src`: that one.
    """
    if (root / "src").is_dir():
        return ["src"]
    packages = [
        path.name
        for path in sorted(root.iterdir())
        if path.is_dir()
        and path.name.removesuffix("-stubs").isidentifier()
        and not _one_of(path.name, _NOT_PACKAGES)
    ]
    if packages:
        return packages
    modules = [path.stem for path in sorted(root.glob("*.py"))]
    return [name for name in modules if name.isidentifier() and not _one_of(name, _NOT_MODULES)]


def _one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
