"""One run of tox: what to install, which environments there are, tox itself, the verdict; in this order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from penstock import Artifact, Step, StepFailed, TestCase, TestReport

from penstock_tox import listing, program, project, results, workdir
from penstock_tox.listing import Environment
from penstock_tox.tree import Tree

if TYPE_CHECKING:
    from penstock_tox import Tox

_SHOWN = 5


def run(settings: Tox, step: Step) -> TestReport:
    """Run the environments and say what came of each."""
    config = project.require(step.workspace, settings.directory)
    artifact = choose(step.artifacts, settings.package)
    if artifact is None:
        step.log("No wheel or sdist among the artifacts: tox builds the tree itself, as it stands")
    tox = _Tox(settings, step, config)
    with workdir.taken(step.cache / "work", settings.directory, *tox.begin) as work:
        environments = tox.environments(work)
        tree = Tree(config.parent)
        status, text = tox.run(work, environments, artifact)
        if status < 0:  # it was killed: what it left may be half made
            workdir.remove(work)
    report = results.judge(
        text, status, environments, package=artifact.digest if artifact else None, mask=step.mask
    )
    results.refuse_skipped(report)
    stranger = None
    if artifact is not None and artifact.kind == "wheel" and not settings.allow_tree:
        users = results.installed(text, [environment.name for environment in environments])
        stranger = _strangers(tree, step.fetch(artifact), users)
    return report if stranger is None else report.model_copy(update={"cases": (*report.cases, stranger)})


def choose(artifacts: Sequence[Artifact], pattern: str | None) -> Artifact | None:
    """What the environments install: the one wheel, or else the one sdist; None where neither was built."""
    built = [artifact for artifact in artifacts if artifact.kind in ("wheel", "sdist")]
    fitting = [artifact for artifact in built if pattern is None or fnmatchcase(artifact.name, pattern)]
    names = ", ".join(artifact.name for artifact in built)
    if pattern is not None and not fitting:
        raise StepFailed(
            f'`package`: nothing that was built matches "{pattern}". Built: {names or "nothing"}'
        )
    wheels = [artifact for artifact in fitting if artifact.kind == "wheel"]
    candidates = wheels or fitting
    if len(candidates) > 1:
        raise StepFailed(
            f"there are {len(candidates)} files that tox could install, and it installs one: {names}. Say "
            f'which: package = "{candidates[0].name}", or name the build step under `needs`'
        )
    return candidates[0] if candidates else None


class _Tox:
    """The program, at work on one project."""

    def __init__(self, settings: Tox, step: Step, config: Path) -> None:
        self._settings = settings
        self._step = step
        self._config = config
        self.begin = program.find(settings.path)
        # The options that a user keeps for tox at home are no part of the project.
        self._env = {program.USER_CONFIG: str(step.tmp / "no-tox-options.ini")}

    def environments(self, work: Path) -> list[Environment]:
        """The environments that are to run. Raises StepFailed where tox refuses its configuration."""
        words = program.ask(self._config, work, self._settings.environments)
        done = self._step.run(
            self._command(words), cwd=self._config.parent, env=self._env, check=False, capture=True
        )
        found = listing.parse(done.stdout)
        if done.returncode == 0 and found:
            return found
        self._step.log(done.stdout)
        said = self._step.mask(listing.complaint(done.stdout).replace(f"{self._config.parent}/", ""))
        what = said or f"it ended with {done.returncode}; the step's log says more"
        raise StepFailed(f"tox can't work with {self._config.name}: {what}")

    def run(
        self, work: Path, environments: Sequence[Environment], artifact: Artifact | None
    ) -> tuple[int, str]:
        """Run them all; tox's status and the text of its results."""
        place = self._step.tmp / "tox-results.json"
        words = program.run(
            self._config,
            work,
            [environment.name for environment in environments],
            results=place,
            package=self._step.fetch(artifact) if artifact else None,
            skip_missing=self._settings.skip_missing,
            parallel=self._settings.parallel,
            recreate=self._settings.recreate,
            args=self._settings.args,
        )
        done = self._step.run(self._command(words), cwd=self._config.parent, env=self._env, check=False)
        text = place.read_text(encoding="utf-8", errors="replace") if place.is_file() else ""
        return done.returncode, text

    def _command(self, words: Sequence[str]) -> list[str]:
        return [*program.clean(os.environ), *self.begin, *words]


def _strangers(tree: Tree, wheel: Path, users: Sequence[str]) -> TestCase | None:
    """A failed case where tests of environments that installed the wheel may have imported something else."""
    found = tree.strangers(wheel) if users else []
    if not found:
        return None
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return TestCase(
        name="the tree instead of the wheel",
        outcome="failed",
        message=f"modules were imported from the tree that are other ones than those of {wheel.name}: "
        f"{'; '.join(found[:_SHOWN])}{more}. Nothing was proved about the wheel's. Keep the tree off the "
        "import path (a src layout, `pytest` and not `python -m pytest`), or let it pass: allow_tree = true",
    )
