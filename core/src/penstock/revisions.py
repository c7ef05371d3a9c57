"""A run about one revision, whatever is checked out: which revision a name means, and its configuration.

The source step's plugin reads the files; they are copied to where a run that is taken up finds them again.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from penstock import config, inhouse, processes
from penstock.configfile import FILE, PYPROJECT, has_our_table
from penstock.errors import ConfigError, PluginError
from penstock.home import Home
from penstock.model import Revision
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins

_NEW = "new-"
_HOOKS = ("penstock_find_revision", "penstock_read_file")


class Sources(NamedTuple):
    """Where the revisions of a project come from: the plugin of its source step, as it is configured."""

    root: Path
    plugins: Plugins
    step: PlanStep

    def ask(self, hook: str, /, **arguments: Any) -> Any:
        """Call one of the plugin's hooks about revisions."""
        assert self.step.uses is not None
        settings = self.plugins.settings(self.step.uses, hook, self.step.settings)
        return self.plugins.call_here(self.step.uses, hook, settings=settings, root=self.root, **arguments)


def sources(root: Path, plugins: Plugins, plan: Plan, *, what: str, hooks: tuple[str, ...] = ()) -> Sources:
    """Where this plan's revisions come from. Raises ConfigError where the plugin can't do it."""
    step = next((step for step in plan.steps if step.phase == "source"), None)
    name = step.uses if step else None
    if step is None or name is None or not all(plugins.has(name, hook) for hook in (*_HOOKS, *hooks)):
        raise ConfigError(
            f'{what}: the plugin "{name}" takes the source as it lies there, and no revision that is asked '
            'for. One that does is "git"'
        )
    return Sources(root, plugins, step)


def find(source: Sources, name: str) -> Revision:
    """The revision that a name means. Raises ConfigError where it means none."""
    return checked(source, source.ask(_HOOKS[0], name=name), _HOOKS[0])


def checked(source: Sources, revision: object, hook: str) -> Revision:
    """What a plugin gave as a revision. Raises PluginError unless it is one of a commit."""
    if not isinstance(revision, Revision) or not revision.commit:
        raise PluginError(
            f'the plugin "{source.step.uses}" must return a Revision with its commit from {hook}'
        )
    return revision


def configuration(home: Home, source: Sources, revision: Revision) -> Path:
    """The configuration file of a revision, in a copy beside the in-house plugins that it names.

    Raises ConfigError where the revision has none, or its `[penstock]` section is wrong.
    """
    home.configurations.mkdir(parents=True, exist_ok=True)
    _sweep(home.configurations)
    place = Path(tempfile.mkdtemp(prefix=f"{_NEW}{os.getpid()}-", dir=home.configurations))
    try:
        path = _copy(place, source, revision)
        kept = home.configuration(_digest(place))
        with contextlib.suppress(OSError):  # it is there already: the same files have the same name
            place.rename(kept)
        return kept / path.name
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what processes that were killed had begun here."""
    for begun in place.glob(f"{_NEW}*"):
        pid = begun.name.split("-")[1]
        if pid.isdigit() and not processes.alive(int(pid)):
            shutil.rmtree(begun, ignore_errors=True)


def _copy(place: Path, source: Sources, revision: Revision) -> Path:
    for name in (FILE, PYPROJECT):
        _fetch(place, source, revision, name)
    path, shared = place / FILE, place / PYPROJECT
    if not has_our_table(shared):
        shared.unlink(missing_ok=True)  # it would be another copy with every version of the project
    if not path.exists():
        path = shared
        if not path.exists():
            raise ConfigError(
                f"commit {revision.short} holds no {FILE}, and a run of a commit is configured by what is "
                f"committed. Commit it: git add {FILE} && git commit"
            )
    for entry in config.enabled(path):
        relative = PurePosixPath(entry)
        if inhouse.is_path(entry) and not relative.is_absolute() and ".." not in relative.parts:
            _fetch(place, source, revision, str(relative))
    return path


def _fetch(place: Path, source: Sources, revision: Revision, name: str) -> None:
    data = source.ask(_HOOKS[1], revision=revision, path=name)
    if data is None:
        return
    if not isinstance(data, bytes):
        raise PluginError(f'the plugin "{source.step.uses}" must return bytes or None from {_HOOKS[1]}')
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _digest(place: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        name, data = os.fsencode(path.relative_to(place)), path.read_bytes()
        found.update(b"%d %b %d %b" % (len(name), name, len(data), data))
    return found.hexdigest()
