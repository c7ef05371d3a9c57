"""Plugins: found by entry point or by path, imported when a project enables them, asked through pluggy.

Only the names of installed plugins are read until a project enables some. One that can't be used is
named with its distribution and the reason, and hurts only the steps that use it.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self, get_args

import pluggy
from pydantic import BaseModel, SecretBytes, SecretStr

from penstock import API_VERSION, hookspecs, importing, inhouse
from penstock.errors import PenstockError, PluginError, did_you_mean, in_words
from penstock.inhouse import InHouse, PluginFile
from penstock.model import Settings

PHASES = ("source", "build", "test", "scan", "sign", "publish", "approve", "deploy", "verify")
"""The kinds of work, in the order of a pipeline."""

HOOK_OF = {phase: f"penstock_{phase}" for phase in PHASES} | {"deploy": "penstock_targets"}
_SETTINGS_HOOKS = (
    *HOOK_OF.values(),
    *("penstock_check_signature", "penstock_tools", "penstock_jobs", "penstock_doctor"),
    *("penstock_find_revision", "penstock_read_file", "penstock_changes", "penstock_event"),
    *("penstock_service", "penstock_service_tools"),
)

CORE_KEYS = frozenset(
    (
        *("uses", "needs", "when", "timeout", "retries", "matrix", "env", "secrets", "labels", "cache"),
        *("artifacts", "inside", "services", "environment", "allow_failure", "rollout"),
    )
)
"""The keys of a section that belong to the core: a plugin's settings must leave them alone."""


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


class NoSettings(Settings):
    """The settings of a plugin that has none."""


class Installed(NamedTuple):
    """A plugin that is installed, whether or not this project enables it."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """Where it comes from, for messages."""
        return f"{self.distribution} {self.version}"

    def load(self) -> ModuleType:
        """Import it."""
        module: ModuleType = self.entry_point.load()
        return module


class Broken(NamedTuple):
    """A plugin that can't be used, and why."""

    name: str
    distribution: str
    reason: str
    absent: bool = False
    """Whether there is no such plugin: what enables it is wrong, and not the plugin."""

    def __str__(self) -> str:
        return f'the plugin "{self.name}" (of {self.distribution}) can\'t be used: {self.reason}'


_UNKNOWN = {"Name": "an unknown distribution", "Version": "?"}


class _InstalledHere(Mapping[str, Installed]):
    """The plugins of this environment. What a distribution says of itself is read for those looked up."""

    def __init__(self, points: Iterable[EntryPoint]) -> None:
        self._points: dict[str, EntryPoint] = {}
        for point in points:
            self._points.setdefault(point.name, point)
        self._found: dict[str, Installed] = {}

    def __getitem__(self, name: str) -> Installed:
        if name not in self._found:
            point = self._points[name]
            about = point.dist.metadata if point.dist else _UNKNOWN
            self._found[name] = Installed(name, about["Name"], about["Version"], point)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)


def installed() -> Mapping[str, Installed]:
    """The installed plugins by name. Imports none of them."""
    return _InstalledHere(entry_points(group="penstock"))


def how_to_install(name: str, known: Iterable[str]) -> str:
    """What to tell somebody whose project enables a plugin that is not installed."""
    if not re.fullmatch(_NAME, name):
        return f"{json.dumps(name)} is no name of a plugin: one is made of letters, digits, - and _"
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    guess = f'Did you mean "{near[0]}"? Otherwise: ' if near else "Try: "
    return f'the plugin "{name}" is not installed. {guess}pip install penstock-{name}'


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("penstock")
    manager.add_hookspecs(hookspecs)
    return manager


@dataclass(eq=False, repr=False)
class Plugins:
    """The plugins that a project enables, imported and checked."""

    versions: dict[str, str] = field(default_factory=dict)
    broken: dict[str, Broken] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)
    files: dict[str, PluginFile] = field(default_factory=dict)
    """Those of them that are files of the project."""
    _manager: pluggy.PluginManager = field(default_factory=_new_manager)
    _callers: dict[tuple[str, str], Callable[..., Any]] = field(default_factory=dict)
    _models: dict[tuple[str, str], type[BaseModel]] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        entries: Iterable[str | InHouse],
        available: Mapping[str, Installed] | None = None,
        *,
        root: Path | None = None,
    ) -> Self:
        """Import the plugins that these names, or paths below `root`, mean; a file that was read is one, too.

        One that is not there or fails is in `broken` afterwards.
        """
        available = installed() if available is None else available
        plugins = cls()
        for entry in dict.fromkeys(entries):
            if isinstance(entry, InHouse) or inhouse.is_path(entry):
                plugins._add_file(entry, available, root or Path.cwd())
            elif entry in available:
                plugins._add(available[entry])
            else:
                reason = how_to_install(entry, available)
                plugins.broken[entry] = Broken(entry, "no distribution", reason, absent=True)
        return plugins

    def phases(self, name: str) -> tuple[str, ...]:
        """The phases that a plugin can do."""
        module = self.modules.get(name)
        return tuple(phase for phase in PHASES if module and hasattr(module, HOOK_OF[phase]))

    def that_do(self, phase: str) -> list[str]:
        """The enabled plugins that implement a phase."""
        return [name for name in self.modules if phase in self.phases(name)]

    def settings_model(self, name: str, hook: str) -> type[BaseModel]:
        """The model that a hook of a plugin annotates its `settings` with."""
        if (name, hook) not in self._models:
            self._models[name, hook] = _settings_model(self.modules[name], hook)
        return self._models[name, hook]

    def settings(self, name: str, hook: str, values: Mapping[str, Any]) -> BaseModel:
        """A step's settings as this hook wants them."""
        model = self.settings_model(name, hook)
        return NoSettings() if model is NoSettings else model.model_validate(values)

    def call(self, name: str, hook: str, /, **arguments: Any) -> Any:
        """Call one hook of one plugin; other plugins' wrappers do not run. None if it has no such hook."""
        return self._caller(name, hook)(**arguments)

    def call_here(self, name: str, hook: str, /, **arguments: Any) -> Any:
        """As `call`, in a command's own process: what it prints is no result; it raises a PluginError."""
        try:
            with importing.guarded():
                return self.call(name, hook, **arguments)
        except importing.Interrupted:
            raise KeyboardInterrupt from None
        except PenstockError:
            raise
        except BaseException as error:  # also SystemExit: a command does not end because a plugin says so
            raise PluginError(f'the plugin "{name}" failed in {hook}: {in_words(error)}') from error

    def ask_all(self, hook: str, /, **arguments: Any) -> list[Any]:
        """Call a cross-cutting hook of every enabled plugin."""
        answer = getattr(self._manager.hook, hook)(**arguments)
        return answer if isinstance(answer, list) else [answer]

    def has(self, name: str, hook: str) -> bool:
        """Whether a plugin implements a hook."""
        return hasattr(self.modules.get(name), hook)

    def observes_by_section(self, name: str) -> bool:
        """Whether a plugin that observes is told where a section says so, and not of every run."""
        return (
            self.has(name, "penstock_event") and self.settings_model(name, "penstock_event") is not NoSettings
        )

    def asks_for(self, name: str, hook: str, argument: str) -> bool:
        """Whether a plugin implements a hook, and names this argument."""
        return (
            self.has(name, hook)
            and argument in inspect.signature(getattr(self.modules[name], hook)).parameters
        )

    def _caller(self, name: str, hook: str) -> Callable[..., Any]:
        if (name, hook) not in self._callers:
            others = [module for other, module in self.modules.items() if other != name]
            self._callers[name, hook] = self._manager.subset_hook_caller(hook, others)
        return self._callers[name, hook]

    def _add_file(self, entry: str | InHouse, available: Mapping[str, Installed], root: Path) -> None:
        path = entry if isinstance(entry, str) else entry.origin
        name = inhouse.name_of(path)
        try:
            plugin = inhouse.read(root, entry) if isinstance(entry, str) else entry
            other = self.files.get(name)
            if other == plugin.file:
                return
            if other or name in available:
                theirs = f"the file {other.path}" if other else f"the installed {available[name].origin}"
                raise PluginError(
                    f'{plugin.origin} would be the plugin "{name}", and so is {theirs}. Rename the file: '
                    "its stem is the plugin's name"
                )
        except PluginError as error:
            taken = name in available or name in self.files
            self.broken[path if taken else name] = Broken(name, path, str(error), absent=True)
            return
        self.files[name] = plugin.file
        self._add(plugin)

    def _add(self, plugin: Installed | InHouse) -> None:
        try:
            with importing.guarded():
                module = plugin.load()
            _check(module)
            self._manager.register(module, name=plugin.name)
            self._manager.check_pending()
        except importing.Interrupted:
            raise KeyboardInterrupt from None
        except BaseException as error:  # whatever a plugin does at import is its own fault
            self._forget(plugin.name)
            self.broken[plugin.name] = Broken(plugin.name, plugin.origin, _explain(error))
            return
        self.modules[plugin.name] = module
        self.versions[plugin.name] = plugin.version

    def _forget(self, name: str) -> None:
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)


def _check(module: ModuleType) -> None:
    made_for = getattr(module, "PENSTOCK_API", API_VERSION)
    if made_for != API_VERSION:
        newer = isinstance(made_for, int) and made_for > API_VERSION
        cure = "pip install --upgrade penstock" if newer else "install a newer version of the plugin"
        raise PluginError(
            f"it is made for plugin API {made_for}, and this Penstock has {API_VERSION}: {cure}"
        )
    specs = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("penstock_")}
    for hook, function in vars(module).items():
        marked = hasattr(function, "penstock_impl")
        if hook in specs and not marked:
            raise PluginError(f"its {hook} is not marked with @hookimpl: it would never be called")
        if marked and hook.startswith("penstock_"):
            _check_hook(hook, function, specs)
    found = [hook for hook in _SETTINGS_HOOKS if hasattr(module, hook)]
    for hook in found:
        fields = _settings_model(module, hook).model_fields.items()
        taken = CORE_KEYS & {name for key, field in fields for name in (key, field.alias) if name}
        if taken:
            raise PluginError(f"its settings for {hook} declare `{min(taken)}`, which is a key of the core")
        for name, about in fields:
            if _is_secret(about.annotation):
                raise PluginError(
                    f"its settings for {hook} have a secret in `{name}`, and settings stand in plans and "
                    "evidence. A step is handed its secrets with step.secret(NAME)"
                )


def _is_secret(annotation: Any) -> bool:
    """Whether a value may be one that pydantic hides: a plan would hold the stars, and a step find them."""
    kinds = (annotation, *get_args(annotation))
    return any(isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes) for kind in kinds)


def _check_hook(hook: str, function: Callable[..., Any], specs: Mapping[str, Any]) -> None:
    if hook not in specs:
        raise PluginError(f"there is no hook {hook}{did_you_mean(hook, specs)}")
    offered = list(inspect.signature(specs[hook]).parameters)
    for name in inspect.signature(inspect.unwrap(function)).parameters:
        if name not in offered:
            raise PluginError(f"its {hook} asks for `{name}`; what it can ask for: {', '.join(offered)}")


def _settings_model(module: ModuleType, hook: str) -> type[BaseModel]:
    function = inspect.unwrap(getattr(module, hook))
    annotation = function.__annotations__.get("settings")
    if "settings" not in inspect.signature(function).parameters:
        return NoSettings
    # Resolved alone: an author may import Step and others for type checking only.
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, function.__globals__)  # noqa: S307 - the plugin's own source
        except NameError as error:
            raise PluginError(
                f"{hook}: the annotation of `settings` can't be resolved: {error}. "
                "Import the model at run time, not under TYPE_CHECKING"
            ) from None
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise PluginError(f"{hook}: `settings` must be annotated with a subclass of penstock.Settings")
    return annotation


def _explain(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, SystemExit):
        return "it ends the process when it is imported (SystemExit)"
    if isinstance(error, KeyboardInterrupt):
        return "it raises KeyboardInterrupt when it is imported"
    return in_words(error)


def unusable(name: str, plugins: Plugins, known: Iterable[str]) -> str:
    """Why no section can use a plugin, and what to do about it; empty where it is enabled and whole."""
    if name in plugins.broken:
        return str(plugins.broken[name])
    if name in plugins.modules:
        return ""
    if name in known:
        return f'the plugin "{name}" is installed but not enabled. Add it to plugins in [penstock]'
    if near := did_you_mean(name, plugins.modules):
        return f'the plugin "{name}" is not enabled{near}'
    return f"{how_to_install(name, known)}. Then add it to plugins in [penstock]"
