"""The tree as the tests see it: the wheel's files in the place of those that it was built from.

Without this, pytest puts the project's directory on the import path and a test of the wheel becomes a
test of the tree. Each package of the tree that the wheel carries is set aside, and in its place come
directories with the installed files, as hard links: paths, configuration, tests that lie inside the package
and tests that walk over it go on to work. (A symbolic link would lead out of the tree: what serves files, for
one, refuses those.)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from penstock import Model

from penstock_pytest.wheels import is_test

_USUAL = (".", "src", "lib", "python")
_DEPTH = 2
_MODULE = (".py", ".pyi", ".so", ".pyd")


class Replaced(Model):
    """One package or module of the tree that the wheel's took the place of."""

    path: str
    unit: str
    tests: tuple[str, ...]
    """Tests inside it that the wheel does not carry: laid beside the installed files."""


def replace(
    project: Path, site: Path, units: Iterable[str], aside: Path, *, tests: Iterable[str] = ()
) -> list[Replaced]:
    """Put links to the wheel's packages and modules into the tree; `tests` are paths that hold tests."""
    named = tuple(os.path.normpath(path.partition("::")[0]) for path in tests)
    replaced: list[Replaced] = []
    for root in list(_roots(project)):
        if any(root.is_relative_to(project / one.path) for one in replaced):
            continue  # the wheel's own files by now
        for unit in units:
            here = [path for path in _same(root, unit) if _counts(path, project, root, site / unit)]
            for path in here:
                replaced.append(_swap(path, project, root, site, unit, aside / str(len(replaced)), named))
    return replaced


def set_aside(
    project: Path, units: Iterable[str], aside: Path, *, tests: Iterable[str] = ()
) -> list[Replaced]:
    """Take packages and modules out of the tree, the tests inside them excepted: others take their place."""
    named = tuple(os.path.normpath(path.partition("::")[0]) for path in tests)
    taken: list[Replaced] = []
    for root in (project, project / "src"):
        for unit in units:
            for path in list(_same(root, unit)):
                away = aside / str(len(taken))
                away.parent.mkdir(parents=True, exist_ok=True)
                path.rename(away)
                relative = path.relative_to(project)
                kept = tuple(_add_tests(away, path, relative, named)) if away.is_dir() else ()
                taken.append(Replaced(path=str(relative), unit=unit, tests=kept))
    return taken


def where(project: Path, module: str) -> str | None:
    """The path of a module in the project, where the root or `src` is on the import path."""
    for root in (project, project / "src"):
        place = root.joinpath(*module.split("."))
        found = next((path for path in (place, place.with_name(f"{place.name}.py")) if path.exists()), None)
        if found is not None:
            return found.relative_to(project).as_posix()
    return None


def _swap(
    path: Path, project: Path, root: Path, site: Path, unit: str, aside: Path, named: tuple[str, ...]
) -> Replaced:
    aside.parent.mkdir(parents=True, exist_ok=True)
    path.rename(aside)
    relative = path.relative_to(project)
    installed = next(_same(site, unit), site / unit)
    both = aside.is_dir() and installed.is_dir()
    tests = tuple(_add_tests(aside, installed, relative, named)) if both else ()
    _mirror(installed, (root / unit).with_name(installed.name))
    return Replaced(path=str(relative), unit=unit, tests=tests)


def _mirror(installed: Path, place: Path) -> None:
    if place.exists() or place.is_symlink():
        return
    if not installed.is_dir():
        _link(installed, place)
        return
    for parent, directories, files in os.walk(installed):
        here = place / Path(parent).relative_to(installed)
        here.mkdir()
        for name in files:
            _link(Path(parent) / name, here / name)
        directories[:] = [name for name in directories if name != "__pycache__"]


def _link(file: Path, place: Path) -> None:
    try:
        place.hardlink_to(file)
    except OSError:  # another file system, or one without links
        shutil.copy2(file, place, follow_symlinks=False)


def _add_tests(tree: Path, installed: Path, relative: Path, named: tuple[str, ...]) -> Iterator[str]:
    for parent, directories, files in os.walk(tree):
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in sorted(files):
            inner = (Path(parent) / name).relative_to(tree)
            target = installed / inner
            if target.exists() or not _is_test_file(inner, relative, named):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / inner, target, follow_symlinks=False)
            yield str(inner)


def _is_test_file(inner: Path, relative: Path, named: tuple[str, ...]) -> bool:
    whole = str(relative / inner)
    if any(
        whole == path or whole.startswith(f"{path}/")
        for path in named
        if len(Path(path).parts) > len(relative.parts)
    ):
        return True
    # "testing" inside a package is as often a part of it, which the wheel must carry itself.
    in_tests = any(part in ("test", "tests") for part in inner.parts[:-1])
    return in_tests or (is_test(inner.name) and inner.suffix == ".py" and inner.stem != "testing")


def _roots(project: Path) -> Iterator[Path]:
    """Directories that may be on the import path: not hidden, no tests, not deep."""
    for parent, directories, _ in os.walk(project):
        path = Path(parent)
        depth = len(path.relative_to(project).parts)
        yield path
        directories[:] = [
            name
            for name in sorted(directories)
            if depth < _DEPTH
            and not name.startswith(".")
            and not is_test(name)
            and not (path / name).is_symlink()
        ]


def _same(root: Path, unit: str) -> Iterator[Path]:
    """What `import` would find for a unit in this directory."""
    place = root / unit
    if place.is_dir():
        yield place
    if place.parent.is_dir():
        for entry in sorted(place.parent.iterdir()):
            stem, dot, _ = entry.name.partition(".")
            if dot and stem == place.name and entry.suffix in _MODULE and entry.is_file():
                yield entry


def _counts(path: Path, project: Path, root: Path, installed: Path) -> bool:
    """Whether it is the wheel's source and not something else of that name."""
    usual = str(root.relative_to(project)) in _USUAL
    if not path.is_dir():
        return usual
    if usual and (path / "__init__.py").is_file():
        return True
    # An example or a fixture may have the same name: elsewhere it is the source only if code agrees.
    pairs = ((file, path / file.relative_to(installed)) for file in installed.rglob("*.py"))
    return any(there.is_file() and (usual or _same_code(file, there)) for file, there in pairs)


def _same_code(one: Path, other: Path) -> bool:
    return one.stat().st_size > 0 and one.read_bytes() == other.read_bytes()
