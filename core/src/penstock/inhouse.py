"""In-house plugins: a file of the project, used as the very bytes that were hashed.

It is read once. What is hashed, shown in tracebacks and executed are these bytes, whatever becomes of the
file meanwhile; nothing is compiled to disk.
"""

import importlib.util
import linecache
import stat
import sys
from importlib.abc import ExecutionLoader
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import NamedTuple

from penstock.errors import PluginError, in_words
from penstock.importing import Interrupted
from penstock.model import Digest, Model, sha256_of
from penstock.words import NAME

_RESERVED = "penstock"
"""Stands beside the plugins where a version is named, and is no plugin."""


class PluginFile(Model):
    """An in-house plugin as plans and evidence name it."""

    name: str
    path: str
    """In the project."""
    digest: Digest


class InHouse(NamedTuple):
    """A plugin that is a file of the project, with its bytes."""

    file: PluginFile
    place: Path
    source: bytes

    @property
    def name(self) -> str:
        """What sections call it: the file's stem."""
        return self.file.name

    @property
    def origin(self) -> str:
        """Where it comes from, for messages."""
        return self.file.path

    @property
    def version(self) -> str:
        """Its digest: another file is another version."""
        return self.file.digest

    def load(self) -> ModuleType:
        """Execute it as a module. Raises PluginError with the line that is at fault."""
        text = _decoded(self.source)
        path = str(self.place)
        # Without a time of change, so that nobody looks at the file again for the text of these lines.
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
        name = f"penstock_inhouse_{self.name}"
        loader = _Loader(text, path)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        spec.cached = None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # models look up there what their annotations mean
        try:
            loader.exec_module(module)
        except Interrupted:
            raise
        except BaseException as error:  # whatever it does is its own fault
            del sys.modules[name]
            raise PluginError(_explain(error, self.place)) from error
        return module


class _Loader(ExecutionLoader):
    """Gives the interpreter, and whoever asks for the source, the text that was read."""

    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self._path = path

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_filename(self, fullname: str) -> str:
        return self._path

    def is_package(self, fullname: str) -> bool:
        return False


def is_path(entry: str) -> bool:
    """Whether an entry of `plugins` names a file rather than an installed plugin."""
    return "/" in entry or entry.endswith(".py")


def name_of(entry: str) -> str:
    """The name of the plugin that a file is."""
    return PurePosixPath(entry).stem


def read(root: Path, entry: str) -> InHouse:
    """The file that an entry of `plugins` names. Raises PluginError where it can't be a plugin."""
    path = PurePosixPath(entry)
    if path.is_absolute() or ".." in path.parts:
        raise PluginError(
            f'"{entry}" leads out of the project. An in-house plugin is a file of the project, named from '
            'its root, such as "./ci/ours.py"'
        )
    if path.suffix != ".py":
        raise PluginError(f'"{entry}" is no Python file. An in-house plugin is a file such as "./ci/ours.py"')
    if not NAME.fullmatch(path.stem) or path.stem == _RESERVED:
        raise PluginError(
            f'"{entry}" would be the plugin "{path.stem}", and that is no name for one: it is made of at '
            f'most 63 letters, digits, - and _, and is not "{_RESERVED}". Rename the file'
        )
    place = root.resolve() / path
    data = _bytes(root.resolve(), place, path)
    digest = sha256_of(data)
    return InHouse(PluginFile(name=path.stem, path=str(path), digest=digest), place, data)


def _bytes(root: Path, place: Path, path: PurePosixPath) -> bytes:
    try:
        if not place.resolve(strict=True).is_relative_to(root):
            raise PluginError(f"{path} is a link that leads out of the project. Put the file itself there")
        if not stat.S_ISREG(place.stat().st_mode):
            raise PluginError(f"{path} is no file. An in-house plugin is one Python file")
        return place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise PluginError(f"{path} is not there{_near(place, path)}") from None
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links; a name that can't be one
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise PluginError(f"{path} can't be read: {why}") from None


def _near(place: Path, path: PurePosixPath) -> str:
    import difflib  # most runs make no such message

    there = [file.name for file in place.parent.glob("*.py") if file.exists()]
    near = difflib.get_close_matches(path.name, there, n=1)
    return f'. Did you mean "./{path.with_name(near[0])}"?' if near else ""


def _decoded(source: bytes) -> str:
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        raise PluginError(
            f"line {line}: the file is not UTF-8 (byte 0x{source[error.start]:02x}). Save it as UTF-8"
        ) from None


def _explain(error: BaseException, place: Path) -> str:
    """What is wrong, and in which line of the file."""
    if isinstance(error, SyntaxError) and error.filename == str(place):
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    import traceback  # most runs have nothing to explain

    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(place)]
    where = f"line {frames[-1].lineno}: " if frames else ""
    if isinstance(error, SystemExit):
        return f"{where}it ends the process when it is imported (SystemExit)"
    return f"{where}{in_words(error)}{_sibling(error, place)}"


def _sibling(error: BaseException, place: Path) -> str:
    """The way out for somebody who imports what lies beside the file."""
    wanted = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not wanted or not any(p.exists() for p in (place.parent / wanted, place.parent / f"{wanted}.py")):
        return ""
    return (
        ". An in-house plugin is one file and imports none that lies beside it: move what it needs into it, "
        f"or make a distribution of it: penstock plugins new {place.stem}"
    )
