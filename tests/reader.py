"""A reader of the documentation: takes a page from its top to its end, and types what it says."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import transcripts
from tests.pages import Block, Page, PageError
from tests.projects import IDENTITY, PENSTOCK, ROOT, free_port
from tests.verifiers.verifiers import CosignVerifier, NpmVerifier

PROJECTS = ROOT / "tests" / "docs_projects"
USER = pwd.getpwuid(os.getuid()).pw_name
_PROGRAMS: Mapping[str, Callable[[], Path]] = {
    "cosign": lambda: CosignVerifier().program.parent,
    "npm": lambda: NpmVerifier().packages,
}
"""What a page may ask for beside Penstock: the directory of a program, or of npm's packages."""


@dataclass(frozen=True)
class Difference:
    """Where a transcript and what happened differ."""

    block: Block
    command: transcripts.Command
    printed: str
    code: int | None = None

    def __str__(self) -> str:
        ended = f" It ended with {self.code}, and no `$ echo $?` says so." if self.code is not None else ""
        return (
            f"{self.block.name}: $ {self.command.text}\n--- the page says\n{self.command.expected}\n"
            f"--- it printed\n{self.printed}\n---{ended}"
        )


@dataclass
class Reader:
    """Somebody who does what a page says, from its top to its end."""

    page: Page
    home: Path
    shell: transcripts.Shell
    ports: dict[str, str]
    env: dict[str, str]
    digests: dict[str, str] = field(default_factory=dict)
    """What the digests that the page shows are here."""

    @classmethod
    def make(cls, page: Page, place: Path) -> Reader:
        home = place / "ana"
        project = home / str(page.project)
        if page.project == "empty":
            project = home
        elif page.project == "shop":
            leave = shutil.ignore_patterns("__pycache__", ".penstock*", ".*_cache", "*.egg-info")
            shutil.copytree(ROOT / "examples" / "shop", project, ignore=leave)
        elif (PROJECTS / str(page.project)).is_dir():
            shutil.copytree(PROJECTS / str(page.project), project)
        else:
            raise PageError(f"{page.name}: there is no project {page.project} in {PROJECTS}")
        home.mkdir(exist_ok=True)
        env = _environment(home, page)
        ports = {port: str(free_port()) for port in page.ports}
        made = cls(page, home, transcripts.Shell(project, env), ports, env)
        if project != home:
            made._begin(project)
        return made

    def follow(self, block: Block) -> list[Difference]:
        """Write what a block says is a file; type what it says is a command, and compare."""
        for key, mode in (("file", "w"), ("append", "a")):
            if key in block.says:
                where = Path(self.shell.run("pwd")[0].strip()) / block.says[key]
                where.parent.mkdir(parents=True, exist_ok=True)
                with where.open(mode) as file:
                    file.write(("\n" if mode == "a" else "") + self._own(block.text))
        return self._type(block) if block.language == "console" else []

    def stop(self) -> None:
        """Stop what was deployed."""
        self.shell.close()
        served = [path.parent for path in self.home.rglob("run") if (path.parent / "releases").is_dir()]
        if served:
            subprocess.run([PENSTOCK, "local", "stop", *served], env=self.env, cwd=self.home, check=False)

    def _type(self, block: Block) -> list[Difference]:
        wrong = []
        commands = transcripts.parse(block.text)
        for command in commands:
            printed, code = self.shell.run(self._own(command.text))
            printed = self._theirs(printed).rstrip("\n")
            following = commands[command.number + 1 : command.number + 2]
            shown = any(other.text == "echo $?" for other in following)
            if code != 0 and not shown:
                wrong.append(Difference(block, command, self._with_the_page_s_digests(printed), code))
            elif not transcripts.same(command.expected, printed):
                wrong.append(Difference(block, command, self._with_the_page_s_digests(printed)))
            self.digests |= transcripts.digests(command.expected, printed)
        return wrong

    def _begin(self, project: Path) -> None:
        """The project's files, committed."""
        for path in project.rglob("*"):
            if path.is_file():
                path.write_text(self._own(path.read_text()))
        for command in (["init", "-q", "-b", "main"], ["add", "--all"], ["commit", "-q", "-m", "Begin"]):
            subprocess.run(["git", *command], cwd=project, env=self.env, check=True)

    def _own(self, text: str) -> str:
        """What the page says, for this machine: free ports, a directory of its own."""
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        for theirs, ours in self.digests.items():
            text = re.sub(rf"\b{theirs}\b", ours, text)
        return text.replace("/home/ana", str(self.home))

    def _with_the_page_s_digests(self, text: str) -> str:
        for theirs, ours in self.digests.items():
            text = re.sub(rf"\b{ours}\b", theirs, text)
        return text

    def _theirs(self, text: str) -> str:
        """What this machine says, as on the page."""
        for port, free in self.ports.items():
            text = re.sub(rf"\b{free}\b", port, text)
        text = text.replace(str(self.home), "/home/ana")
        return re.sub(rf"\b(by |user:|by user:|from user:){re.escape(USER)}\b", r"\1ana", text)


def follow(page: Page, place: Path) -> list[Difference]:
    """Read a page from its top to its end; where what happens is not what it says."""
    if not page.project:
        return []
    reader = Reader.make(page, place)
    try:
        return [wrong for block in page.blocks if not block.skipped for wrong in reader.follow(block)]
    finally:
        reader.stop()


def _environment(home: Path, page: Page) -> dict[str, str]:
    """That of somebody with a home of their own; caches are the machine's."""
    real = Path.home()
    more = [_PROGRAMS[name]() for name in page.says.get("with", "").split(",") if name]
    for packages in [path for path in more if path.name == "node_modules"]:
        (home / packages.name).symlink_to(packages)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PENSTOCK_", "XDG_", "PYTHONPATH", "VIRTUAL_ENV")) and name != "CI"
    }
    return {
        **kept,
        **IDENTITY,
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(real / ".cache")),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(real / ".config")),
        "PATH": ":".join(map(str, [PENSTOCK.parent, *more, os.environ["PATH"]])),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }


def write_anew(page: Page, wrong: list[Difference]) -> None:
    """Put what was printed in the place of what the page says."""
    path = ROOT / page.name
    lines = path.read_text().split("\n")
    for block in reversed(page.of("console")):
        printed = {found.command.number: found.printed for found in wrong if found.block is block}
        if not printed:
            continue
        new: list[str] = []
        for command in transcripts.parse(block.text):
            new += f"$ {command.text}".replace("\n", "\n> ").split("\n")
            new += printed.get(command.number, command.expected).splitlines()
        lines[block.line : block.line + block.text.count("\n")] = new
    path.write_text("\n".join(lines))
