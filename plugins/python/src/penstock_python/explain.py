"""From the output of a build that failed to one message: what went wrong, and what to do."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Collection
from pathlib import Path

from penstock_python.interpreter import Installer

_LINES = 8
_LONG = 300
_HEADER = re.compile(
    r"^\* ((?:Creating isolated environment|Installing packages|Getting build dependencies|Building).*)$",
    re.MULTILINE,
)
_FROM_SDIST = "Building wheel from sdist"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What Python, the installers and the frontend print around the lines that say something.
_FRAME = re.compile(r'\s+File "')
_NOISE = re.compile(
    r"\s*$|[<>] ?$|\s+[\^~]+\s*$|\s*(?:Traceback\b|During handling of the above|The above exception was)"
    r"|ERROR Backend subpro\w+ exited|ERROR Command '\[|subprocess\.CalledProcessError: Command|TIP |> "
    r"|< (?:Looking in|Using Python|WARNING)|\s*- \S+$|\s+\|"
)

_OFFLINE = re.compile(
    r"dns error|error sending request|client error \(Connect\)|tcp connect error|Failed to fetch"
    r"|NewConnectionError|NameResolutionError|Temporary failure in name resolution|Network is unreachable"
    r"|Connection refused|ConnectTimeout|Could not connect|timed out"
    r"|network (?:was|connectivity is) disabled",
    re.IGNORECASE,
)
_NO_MATCH = re.compile(
    r"No matching distribution found for (\S+)|Because (\S+) was not found in the"
    r"|Because (?:only|there (?:is|are) no versions? of) ([\w.\[\]-]+)"
)

_COMPILERS = r"(?:[\w-]+-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-\d+)?"
_COMPILER = re.compile(
    r"command '([^']+)' failed: No such file or directory|unable to execute '([^']+)': No such file"
    rf"|^(?:.*\b(?:ba|da)?sh: (?:line )?(?:\d+: )?)?({_COMPILERS}): (?:command )?not found$"
    r"|linker `([\w-]+)` not found",
    re.MULTILINE,
)
# setuptools since 80 says no more than this of a program; that it was one, its own echo shows.
_PROGRAM = re.compile(r"^error: \[Errno 2\] No such file or directory: '([^']+)'", re.MULTILINE)
_NO_COMPILER = re.compile(r"Unknown compiler\(s\)|No CMAKE_C(?:XX)?_COMPILER could be found")
_RUST = re.compile(r"can't find Rust compiler|[Cc]argo, the Rust package manager, is not installed")
_C_HEADER = re.compile(
    r"fatal error: '?([\w./+-]+\.h(?:pp)?)'?(?:: No such file or directory| file not found)"
)

_BACKEND = re.compile(r"Cannot import '([^']+)'|Backend '([^']+)' is not available")
_MODULE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
_ENSUREPIP = re.compile(r"No module named '?ensurepip|ensurepip is not available")


def failure(output: str, installer: Installer, lost: Collection[str] = ()) -> str:
    """The message about a build whose output this is; `lost` are the files that the sdist lacks."""
    stage, tail = last_stage(_ANSI.sub("", output))
    said = "; ".join(telling(tail)[-_LINES:]) or "nothing"
    hint = _hint(stage, tail, installer, lost if from_sdist(output) else ())
    return f"{_doing(stage, from_sdist(output))} failed. {hint}The last that it said: {said}"


def from_sdist(output: str) -> bool:
    """Whether the sdist was done and the wheel was being built from it."""
    return any(header.startswith(_FROM_SDIST) for header in _HEADER.findall(output))


def last_stage(output: str) -> tuple[str, str]:
    """The last thing that the frontend set out to do, and what was printed from then on."""
    headers = list(_HEADER.finditer(output))
    if not headers:
        return "", output
    return headers[-1].group(1).rstrip(". "), output[headers[-1].end() :]


def telling(text: str) -> list[str]:
    """The lines of an output that tell something: no frames of a traceback, no blank lines."""
    kept: list[str] = []
    in_frame = False
    for line in text.splitlines():
        if in_frame and line.startswith("    "):
            continue
        in_frame = bool(_FRAME.match(line))
        if not in_frame and not _NOISE.match(line):
            kept.append(line.removeprefix("< ").strip()[:_LONG])
    return kept


def lost_files(source: Path, sdist: Path) -> list[str]:
    """The files of the project that are not in its sdist, by their paths."""
    try:
        with tarfile.open(sdist, "r:gz") as archive:
            inside = {name.partition("/")[2] for name in archive.getnames()}
    except (tarfile.TarError, OSError, EOFError):
        return []
    files = (path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file())
    return [file for file in files if file not in inside and not file.startswith(".git/")]


def _doing(stage: str, from_sdist: bool) -> str:
    of = " from the sdist" if from_sdist else ""
    if stage.startswith(("Installing packages", "Creating isolated")):
        return "making the build environment"
    if stage.startswith("Getting build dependencies"):
        return f"asking the build backend what it needs for the {stage.split()[-1]}{of}"
    kind = next((kind for kind in ("wheel", "sdist") if kind in stage.split()), None)
    return f"building the {kind}{of}" if kind else "the build"


def _hint(stage: str, tail: str, installer: Installer, lost: Collection[str]) -> str:
    compiler = _compiler(tail)
    if stage.startswith("Installing packages"):
        return compiler or _requirements(tail, installer)
    return compiler or _incomplete(tail, lost) or _backend(tail)


def _requirements(tail: str, installer: Installer) -> str:
    config = "an index of your own goes into PIP_INDEX_URL or pip's configuration"
    if installer == "uv":
        config = (
            "an index of your own goes into UV_DEFAULT_INDEX or uv's configuration (uv doesn't read pip's), "
            'or use installer = "pip"'
        )
    if _OFFLINE.search(tail):
        return (
            "The packages that build-system.requires names can't be fetched: the package index can't be "
            f"reached. Check the network and the proxy; {config}. "
        )
    match = _NO_MATCH.search(tail)
    name = next(group for group in match.groups() if group) if match else "a package"
    return (
        f"build-system.requires can't be met: {name} can't be installed. Check names and versions there, "
        f"and that the index can be reached; {config}. "
    )


def _compiler(tail: str) -> str:
    if program := _missing_program(tail):
        return (
            f'The project has code to compile, and "{program}" is not there. Install a compiler (Debian: '
            'apt-get install build-essential), or name yours: env = { CC = "…" }. '
        )
    if _NO_COMPILER.search(tail):
        return (
            "The project has code to compile, and there is no compiler. Install one (Debian: apt-get install "
            "build-essential). "
        )
    if _RUST.search(tail):
        return "The project has Rust code, and there is no Rust. Install it (rustup, or Debian's cargo). "
    if match := _C_HEADER.search(tail):
        package = " (Debian: apt-get install python3-dev)" if match.group(1).endswith("Python.h") else ""
        return f"The C header {match.group(1)} is not there. Install the package that brings it{package}. "
    return ""


def _missing_program(tail: str) -> str | None:
    if match := _COMPILER.search(tail):
        return next(group for group in match.groups() if group)
    match = _PROGRAM.search(tail)
    if match and re.search(rf"^{re.escape(match.group(1))} ", tail, re.MULTILINE):
        return match.group(1)
    return None


def _incomplete(tail: str, lost: Collection[str]) -> str:
    said = "\n".join(telling(tail))
    mentioned = [path for path in lost if _names(said, path)]
    if not mentioned:
        return ""
    return (
        f"The sdist lacks {', '.join(mentioned[:5])}, which the project has and the build asks for. Have the "
        "sdist take it in (setuptools: MANIFEST.in; others: the include setting of their own table). "
    )


def _names(text: str, path: str) -> bool:
    """Whether a path is spoken of: as a word, or as a module that is not found."""
    base = path.rpartition("/")[2]
    if re.search(rf"(?<![\w.-]){re.escape(base)}(?![\w-]|\.\w)", text):
        return True
    module = _MODULE.search(text)
    return module is not None and module.group(1).split(".")[-1] in (
        base.removesuffix(".py"),
        path.removesuffix("/__init__.py").rpartition("/")[2],
    )


def _backend(tail: str) -> str:
    if match := _BACKEND.search(tail):
        return (
            f'The build backend "{match.group(1) or match.group(2)}" is not in the build environment. Check '
            "build-backend, and name its package in build-system.requires. "
        )
    if match := _MODULE.search(tail):
        return (
            f'The build imports "{match.group(1)}", which is not in its environment. That is isolated: '
            "name what the build imports in build-system.requires. "
        )
    if _ENSUREPIP.search(tail):
        return "This Python has no ensurepip. Install virtualenv or uv beside Penstock, or python3-venv. "
    return ""
