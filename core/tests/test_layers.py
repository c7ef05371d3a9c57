"""Who may import whom: a module of the core only those above it and no plugin, a plugin no other plugin."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import penstock
import pytest

CORE = Path(penstock.__file__).parent
PLUGINS = Path(__file__).parents[2] / "plugins"

LAYERS = (
    # values, and what is said about them
    *("errors", "units", "model", "findings", "words", "matrix", "globs", "terms", "conditions", "keys"),
    *("hookspecs", "importing", "inhouse", "plugins"),
    *("tomlfile", "configfile", "faults", "versions", "people", "parameters", "quarantine", "defaults"),
    *("settings", "caching", "insides", "sections", "beside", "observe", "retention", "config"),
    # pure: from values to values
    *(
        "stages",
        "edges",
        "plan",
        "moves",
        "waves",
        "progress",
        "stepstate",
        "state",
        "again",
        "gates",
        "rollout",
        "pointless",
        "scheduler",
        "turns",
    ),
    *("circumstances", "scanned", "evidence", "reports", "flaky", "comparison", "changes", "cachekey"),
    # one machine
    *("secrets", "trees", "disk", "incoming", "artifacts", "home", "chain", "migrations", "journal", "tries"),
    *("processes", "process", "workspace", "proof", "pruning", "revisions", "observed"),
    # one step
    *(
        "stepinfo",
        "launching",
        "step",
        "provisions",
        "following",
        "printing",
        "target",
        "request",
        "answers",
        "deploying",
        "outcomes",
        "admission",
        "serving",
        "reaping",
        "summary",
        "reported",
        "tools",
        "worker",
    ),
    # the shell
    *(
        "labels",
        "wire",
        "workerprocess",
        "executor",
        "observers",
        "signals",
        "runs",
        "leftovers",
        "facts",
        "record",
        "underway",
    ),
    *("holds", "rollouts"),
    *("sealing", "audit", "codes", "cache", "engine", "machine", "cli", "__main__"),
    "testing",
)
PURE = (
    "matrix",
    "globs",
    "terms",
    "conditions",
    "stages",
    "edges",
    "plan",
    "moves",
    "waves",
    "progress",
    "stepstate",
    "state",
    "retention",
    "again",
    "comparison",
    "gates",
    "rollout",
    "pointless",
    "scheduler",
    "turns",
    "scanned",
    "evidence",
    "reports",
    "flaky",
    "quarantine",
    "cachekey",
    "request",
    "summary",
    "changes",
    "chain",
)
IMPURE = {"os", "time", "datetime", "random", "socket", "subprocess", "pathlib", "sqlite3", "threading", "io"}


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported when the code runs, wherever in it; not those for type checking only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (name for other in node.orelse for name in runtime_imports(other))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from runtime_imports(node)


def imports_of(path: Path) -> set[str]:
    return set(runtime_imports(ast.parse(path.read_text(encoding="utf-8"))))


def modules() -> dict[str, list[Path]]:
    """The core's modules; a package counts as one."""
    found: dict[str, list[Path]] = {}
    for path in sorted(CORE.rglob("*.py")):
        name = path.relative_to(CORE).parts[0].removesuffix(".py")
        found.setdefault(name, []).append(path)
    del found["__init__"]
    return found


MODULES = modules()


def test_every_module_has_its_place() -> None:
    assert set(MODULES) == set(LAYERS)
    assert len(LAYERS) == len(set(LAYERS))


@pytest.mark.parametrize("name", LAYERS)
def test_a_module_imports_only_those_above_it(name: str) -> None:
    above = {name, *LAYERS[: LAYERS.index(name)]}

    imported = {
        entry.split(".")[1]
        for path in MODULES[name]
        for entry in imports_of(path)
        if entry.startswith("penstock.") and entry.split(".")[1] in LAYERS
    }

    assert imported <= above


def test_no_modules_name_each_other_in_a_circle_not_even_for_their_types() -> None:
    named = {
        name: {
            f"{node.module}.{alias.name}".split(".")[1]
            for path in paths
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "penstock"
            for alias in node.names
        }
        & set(MODULES) - {name}
        for name, paths in MODULES.items()
    }

    assert len(list(TopologicalSorter(named).static_order())) == len(MODULES)


@pytest.mark.parametrize("name", LAYERS)
def test_the_core_imports_no_plugin(name: str) -> None:
    assert not {
        entry for path in MODULES[name] for entry in imports_of(path) if entry.startswith("penstock_")
    }


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_touches_no_clock_no_file_and_no_process(name: str) -> None:
    (path,) = MODULES[name]
    # A time that is handed in may be written down as a date.
    allowed = {"datetime"} if name in ("evidence", "quarantine") else set()

    assert not {entry.split(".")[0] for entry in imports_of(path)} & (IMPURE - allowed)


@pytest.mark.parametrize(
    "plugin",
    sorted(path for path in PLUGINS.iterdir() if (path / "src").is_dir()),
    ids=lambda path: path.name,
)
def test_a_plugin_imports_no_other_plugin_and_only_what_is_public(plugin: Path) -> None:
    (package,) = (path.name for path in (plugin / "src").iterdir() if path.name.startswith("penstock_"))

    imported = {entry for path in (plugin / "src").rglob("*.py") for entry in imports_of(path)}

    assert not {
        entry for entry in imported if entry.startswith("penstock_") and entry.split(".")[0] != package
    }
    inner = {entry.split(".")[1] for entry in imported if entry.startswith("penstock.")}
    assert inner & set(LAYERS) <= {"errors", "model"}


# --- what a start costs ---

LOADED = """
import sys
from penstock.cli import invoke
code = invoke({arguments!r})
print("\\n".join(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def modules_after(*arguments: str, cwd: Path) -> set[str]:
    env = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}  # it loads more
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=env,
    )
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("-h",)], ids=" ".join)
def test_version_and_help_import_neither_pydantic_nor_rich_nor_any_plugin(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "penstock.toml").write_text('[penstock]\nplugins = ["shell", "git"]\n')

    loaded = modules_after(*arguments, cwd=tmp_path)

    assert "click" in loaded
    assert not loaded & {
        "pydantic",
        "pydantic_core",
        "rich",
        "pluggy",
        "hypothesis",
        "sqlite3",
        "cryptography",
    }
    assert not {name for name in loaded if name.startswith("penstock_")}


def test_the_package_alone_imports_nothing_else() -> None:
    code = (
        "import sys, penstock; print(sorted({n.split('.')[0] for n in sys.modules} & {'pydantic', 'click'}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


TEXT_IS_CHEAPER = {"step", "launching", "facts", "executor"}
"""A named tuple or two, whose modules import for type checking only what their functions are about."""


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"cli", "testing"} - TEXT_IS_CHEAPER))
def test_where_fields_are_declared_annotations_are_no_text(name: str) -> None:
    (path,) = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bases = {
        ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases
    }

    # Each would be compiled again when its class is made.
    assert "__future__" not in imports_of(path) or not bases & {"Model", "NamedTuple", "Settings"}


def test_the_program_looks_for_no_garbage_while_modules_are_imported() -> None:
    code = """
import atexit, gc, sys
import penstock.__main__
atexit.register(lambda: print(gc.isenabled(), sum(each["collections"] for each in gc.get_stats()) - before))
print(sorted({name.split(".")[0] for name in sys.modules} & {"click", "inspect", "pathlib"}))
before = sum(each["collections"] for each in gc.get_stats())
sys.argv = ["penstock", "--version"]
penstock.__main__.main()
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["[]", f"penstock, version {penstock.__version__}", "False 0"]


def test_the_core_needs_what_its_distribution_says_and_nothing_else() -> None:
    known = {"penstock", *sys.stdlib_module_names}
    needed = {
        entry.split(".")[0]
        for name, paths in MODULES.items()
        if name != "testing"
        for path in paths
        for entry in imports_of(path)
    }

    assert {packages_distributions()[name][0] for name in needed - known} == {"click", "pluggy", "pydantic"}
