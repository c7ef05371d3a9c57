"""`plugins new`: a plugin to begin with, which does something and is tested."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import click

from penstock import __version__
from penstock.cli.common import enabled_here
from penstock.cli.files import beside, sweep
from penstock.errors import ConfigError, PluginError
from penstock.inhouse import is_path, name_of
from penstock.plugins import PHASES, installed

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_IN_HOUSE = "ci"
_IMPORTS = """\
import penstock
import pytest
from penstock.testing import StepMaker

import penstock_your_plugin as plugin"""
_IN_HOUSE_IMPORTS = """\
import pytest

penstock = pytest.importorskip("penstock", reason="it is tested where Penstock is")
testing = pytest.importorskip("penstock.testing")
here = Path(__file__).parent
plugin = testing.load_plugin(here / "your-plugin.py")
pytest_plugins = ["penstock.testing"]"""


@click.command("new")
@click.argument("name")
@click.option("--phase", type=click.Choice(PHASES), required=True, help="What it does in a pipeline.")
@click.option("--in-house", is_flag=True, help="A file of this project, instead of a distribution.")
def new(name: str, phase: str, in_house: bool) -> int:
    """Write a plugin to begin with: it does something small, and its tests pass."""
    entries, root = enabled_here()
    _check_name(name, entries)
    if in_house:
        written = in_house_files(name, phase)
        _write_side_by_side(root, written)
    else:
        written = distribution_files(name, phase)
        root = Path.cwd()
        _write_directory(root / f"penstock-{name}", written)
    click.echo(
        f"Wrote {', '.join(written)}." if in_house else f"Wrote penstock-{name}: {', '.join(written)}."
    )
    click.echo(_next(name, phase, in_house))
    return 0


def distribution_files(name: str, phase: str) -> dict[str, str]:
    """A distribution's files by their paths in it."""
    package = f"penstock_{name.replace('-', '_')}"
    what = _template(f"{phase}.py").partition('"""')[2].partition('"""')[0]
    texts = {
        "pyproject.toml": _template("pyproject.toml"),
        "README.md": _template("README.md"),
        f"src/{package}/__init__.py": _template(f"{phase}.py"),
        f"src/{package}/py.typed": "",
        "tests/conftest.py": _template("conftest.py"),
        f"tests/test_{name.replace('-', '_')}.py": _template(f"{phase}_test.py").replace(
            "THE IMPORTS", _IMPORTS
        ),
    }
    parts = {
        "WHAT IT DOES": what,
        "THE SECTION": _template(f"{phase}.toml").strip(),
        "THE LIMITS": _template(f"{phase}.limits").strip(),
        "SINCE": ".".join(__version__.split(".")[:2]),
    }
    return {path: _named(_filled(text, parts), name) for path, text in texts.items()}


def in_house_files(name: str, phase: str) -> dict[str, str]:
    """An in-house plugin and its test by their paths in the project."""
    test = _template(f"{phase}_test.py").replace("THE IMPORTS", _IN_HOUSE_IMPORTS)
    test = test.replace("StepMaker", "Any")
    if "import Any\n" not in test:
        test = test.replace(
            "from pathlib import Path\n", "from pathlib import Path\nfrom typing import Any\n"
        )
    return {
        f"{_IN_HOUSE}/{name}.py": _named(_template(f"{phase}.py"), name),
        f"{_IN_HOUSE}/test_{name.replace('-', '_')}.py": _named(test, name),
    }


def _template(name: str) -> str:
    return (files("penstock") / "templates" / f"{name}.txt").read_text(encoding="utf-8")


def _filled(text: str, parts: Mapping[str, str]) -> str:
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _named(text: str, name: str) -> str:
    return text.replace("your-plugin", name).replace("your_plugin", name.replace("-", "_"))


def _check_name(name: str, entries: tuple[str, ...]) -> None:
    plain = re.sub(r"[-_.]+", "-", name).strip("-").lower()
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        near = f' Such as "{plain}".' if _NAME.fullmatch(plain) and len(plain) <= _LONGEST else ""
        raise ConfigError(
            f'"{name}" is no name for a plugin: it is made of at most {_LONGEST} small letters, digits and '
            f"single dashes, and begins with a letter.{near}"
        )
    if name in ("penstock", *PHASES):
        raise ConfigError(
            f'"{name}" is a word of Penstock itself. Name the plugin after what it uses or does'
        )
    known = installed()
    if name in known:
        raise ConfigError(f'there is a plugin "{name}" already: {known[name].origin}, which is installed')
    own = next((entry for entry in entries if is_path(entry) and name_of(entry) == name), None)
    if own is not None:
        raise ConfigError(f'there is a plugin "{name}" already: {own}, which this project enables')


def _write_directory(place: Path, texts: Mapping[str, str]) -> None:
    """Write a whole new directory, or nothing."""
    _refuse_existing(place)
    try:
        with beside(place) as made:
            whole = made / "it"
            for path, text in texts.items():
                (whole / path).parent.mkdir(parents=True, exist_ok=True)
                (whole / path).write_text(text, encoding="utf-8")
            whole.rename(place)
    except OSError as error:
        raise PluginError(f"{place} can't be written: {error.strerror}. Nothing was") from None


def _write_side_by_side(root: Path, texts: Mapping[str, str]) -> None:
    """Write all of these new files, or none. What was cut off between two of them is brought to its end."""
    lacking = [path for path, text in texts.items() if not _is(root / path, text)]
    for path in lacking or texts:
        _refuse_existing(root / path)
    new_directory = not (root / _IN_HOUSE).exists()
    linked: list[Path] = []
    try:
        with beside(root / _IN_HOUSE / "it") as made:
            for path in lacking:
                (made / Path(path).name).write_text(texts[path], encoding="utf-8")
            for path in lacking:
                os.link(made / Path(path).name, root / path)  # unlike a move, never over another file
                linked.append(root / path)
    except OSError as error:
        for place in linked:
            place.unlink()
        if new_directory:
            shutil.rmtree(root / _IN_HOUSE, ignore_errors=True)
        raise PluginError(f"{root / _IN_HOUSE} can't be written: {error.strerror}. Nothing was") from None


def _is(path: Path, text: str) -> bool:
    """Whether there is a file that holds this."""
    try:
        return not path.is_symlink() and path.read_bytes() == text.encode()
    except OSError:
        return False


def _refuse_existing(place: Path) -> None:
    if place.exists() or place.is_symlink():
        sweep(place.parent)
        raise ConfigError(f"{place} is there already; it is left as it is")


def _next(name: str, phase: str, in_house: bool) -> str:
    section = _named(_template(f"{phase}.toml"), name).strip()
    entry = f"./{_IN_HOUSE}/{name}.py" if in_house else name
    test = (
        f"pytest {_IN_HOUSE}"
        if in_house
        else f'pip install -e "./penstock-{name}[test]" && pytest penstock-{name}'
    )
    use = f'Use it in penstock.toml: add "{entry}" to plugins, and a section such as'
    return f"Try it:  {test}\n{use}\n\n{section}"
