"""The `python` plugin: wheels and sdists, by any PEP 517 backend, in an isolated environment."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Annotated

from penstock import Artifact, Proposal, Settings, Step, StepFailed, Tool, hookimpl
from pydantic import AfterValidator, Field

from penstock_python import explain, frontend, interpreter, outputs, repository, tools, version
from penstock_python.interpreter import Installer
from penstock_python.outputs import Format, Output
from penstock_python.project import Project, read

PENSTOCK_API = 1


@hookimpl
def penstock_propose(root: Path) -> Proposal | None:
    """A build, where there is a Python project."""
    from penstock_python import propose

    return propose.propose(root)


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if not value or path.is_absolute() or ".." in path.parts:
        raise ValueError(f'"{value}" is not inside the project. Write a path such as "." or "packages/core"')
    return value


def _once(value: tuple[Format, ...]) -> tuple[Format, ...]:
    if len(set(value)) != len(value):
        raise ValueError("a format is named twice. Each is built once")
    return value


class Python(Settings):
    """Builds a Python project's wheel and sdist and checks both."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1), AfterValidator(_once)] = Field(
        default=("wheel", "sdist"),
        description="Builds these: wheel, sdist or both. With both, the wheel is built from the sdist, so "
        "that the sdist is proven to build; with one, straight from the tree.",
    )
    directory: Annotated[str, AfterValidator(_inside)] = Field(
        default=".",
        description="Builds the project in this directory, the one with its pyproject.toml, seen from the "
        "root of the source.",
    )
    python: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description='Builds with this interpreter: a name found on PATH, such as "python3.12", or a path. By '
        "default with the one that Penstock runs with.",
    )
    config_settings: dict[str, str | tuple[str, ...]] = Field(
        default={},
        description="Hands these settings to the build backend, as --config-setting does; a list hands one "
        "over several times.",
    )
    installer: Installer | None = Field(
        default=None,
        description="Fills the build environment with uv or pip. By default with uv if it is found, else "
        "with pip.",
    )


@hookimpl
def penstock_build(settings: Python, step: Step) -> list[Artifact]:
    """Build what `formats` names, check it and keep it."""
    source = _directory(step, settings.directory)
    project = read(source, settings.directory)
    installer = interpreter.pick_installer(settings.installer)
    chosen = interpreter.probe(step, settings.python, (*version.PREFIXES, *frontend.DEFAULTS))
    step.log(f"Python {chosen.version} ({chosen.path}), installer {installer}")
    python = interpreter.with_build(step, chosen, installer)
    handed = _handed_over(step, project, chosen.present)
    repository.make(step)
    out = step.tmp / "dist"
    command = frontend.argv(
        python,
        source,
        out,
        formats=settings.formats,
        installer=installer,
        config_settings=settings.config_settings,
    )
    defaults = {name: value for name, value in frontend.DEFAULTS.items() if name not in chosen.present}
    done = frontend.run(step, command, source, {**defaults, **handed})
    if done.returncode != 0:
        raise StepFailed(_why(step, done, source, out, installer))
    built = outputs.collect(out, settings.formats, project.name)
    _compare(step, built[0])
    return [step.keep(output.path, output.format) for output in built]


@hookimpl
def penstock_tools(settings: Python) -> list[Tool]:
    """The interpreter, `build`, and uv where it is used; what is not there is left out."""
    found = (tools.python(settings.python), tools.build(), tools.uv(settings.installer))
    return [tool for tool in found if tool is not None]


def _directory(step: Step, directory: str) -> Path:
    root = step.workspace.resolve()
    source = (root / directory).resolve()
    if not source.is_relative_to(root):
        raise StepFailed(
            f'directory = "{directory}" is a link that leads out of the project: only its own files are built'
        )
    if not source.is_dir():
        raise StepFailed(
            f'directory = "{directory}" is not there in this revision. Name the directory that has '
            "pyproject.toml, and commit it"
        )
    return source


def _handed_over(step: Step, project: Project, present: Collection[str]) -> dict[str, str]:
    """The variables that give the build its version, with a line in the log about each case."""
    if project.static_version:
        return {}
    deaf = sorted(project.tools & version.DEAF)
    if deaf and (step.revision.distance or step.revision.dirty or not step.revision.tag):
        step.log(
            f"{deaf[0]} asks git alone for the version, and here is no history: it is right on a tag only"
        )
    wanted = version.variables(project.tools, project.name, "")
    free = version.unclaimed(wanted, present)
    for name in sorted(wanted.keys() - free.keys()):
        step.log(f"The version is yours: the environment sets {name}, or one like it")
    if not free:
        return {}
    found = version.of_revision(step.revision)
    if found is None:
        raise StepFailed(
            f'the version is taken from git, and the tag "{step.revision.tag}" names none. Tag the release '
            f'like "v1.2.3", or set the version yourself: env = {{ {next(iter(free))} = "…" }}'
        )
    step.log(f"Version {found}, of {_described(step)}, handed over as {', '.join(free)}")
    return dict.fromkeys(free, found)


def _described(step: Step) -> str:
    revision = step.revision
    if revision.tag is None:
        return f"revision {revision.short} without a tag"
    behind = f", {revision.distance} commits behind it" if revision.distance else ""
    return f"tag {revision.tag}{behind}{', changed' if revision.dirty else ''}"


def _why(step: Step, done: frontend.Outcome, source: Path, out: Path, installer: Installer) -> str:
    lost = [file for sdist in out.glob("*.tar.gz") for file in explain.lost_files(source, sdist)]
    reason = explain.failure(done.output, installer, lost)
    return f"{reason}. Everything that it printed: penstock logs {step.number} {step.name}"


def _compare(step: Step, output: Output) -> None:
    """Note in the log where a tagged release has another version than its tag."""
    revision = step.stamp
    tagged = version.tag_version(revision.tag) if revision.tag else None
    if tagged is not None and not revision.distance and not revision.dirty and tagged != output.version:
        step.log(f"Note: the tag {revision.tag} says {tagged}, the {output.format} is {output.version}")
