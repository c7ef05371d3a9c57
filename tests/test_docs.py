"""Every command and every piece of configuration in the documentation is run, as its readers would.

What a comment above a block may say, and what each language means here, is in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import json
import os
import pwd
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from penstock.errors import ConfigError

from tests import pages, sections, transcripts
from tests.pages import Block, Page, PageError
from tests.projects import IDENTITY, PENSTOCK, ROOT, free_port

PAGES = [pages.read(path) for path in pages.files()]
UPDATE = "PENSTOCK_DOCS_UPDATE" in os.environ
"""Whether transcripts that do not hold are written anew, for their writer to look at."""

PROJECTS = ROOT / "tests" / "docs_projects"
USER = pwd.getpwuid(os.getuid()).pw_name


def blocks(language: str) -> list[ParameterSet]:
    found = [block for page in PAGES for block in page.of(language) if not block.skipped]
    return [pytest.param(block, id=block.name) for block in found]


def with_transcripts() -> list[ParameterSet]:
    found = [page for page in PAGES if any(not block.skipped for block in page.of("console"))]
    return [
        pytest.param(page, id=page.name, marks=[pytest.mark.real] if page.real else []) for page in found
    ]


@pytest.mark.parametrize("block", blocks("toml"))
def test_configuration_is_right(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "…" not in block.text, f"{block.name}: an example of configuration leaves nothing out"
    data = tomllib.loads(block.text)
    if not sections.is_configuration(data):
        assert block.says.get("file", "").endswith("pyproject.toml") or "config" in block.says, (
            f"{block.name}: this is no configuration of Penstock's. If it is that of another tool, its comment "
            "says `config=NAME`, or `file=` and where it stands"
        )
        return
    [page] = [page for page in PAGES if page.name == block.page]
    monkeypatch.syspath_prepend(tmp_path)
    own = {
        python.says["plugin"]: sections.plugin(python.says["plugin"], python.text, tmp_path)
        for python in page.of("python")
        if "plugin" in python.says
    }
    try:
        sections.check(block.text, tmp_path, own)
    except ConfigError as error:
        pytest.fail(f"{block.name}: {error}")


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_what_the_core_takes(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ast.parse(block.text, block.name)
    if "@hookimpl" not in block.text:
        return
    monkeypatch.syspath_prepend(tmp_path)
    name = block.says.get("plugin") or f"line{block.line}x{abs(hash(block.page))}"
    made = sections.loaded(sections.plugin(name, block.text, tmp_path))
    assert made.broken == {}
    implemented = re.findall(r"@hookimpl\ndef (penstock_\w+)", block.text)
    assert implemented
    assert all(made.has(name, hook) for hook in implemented)


@pytest.mark.parametrize("block", blocks("sh"))
def test_shell_commands_can_be_read(block: Block) -> None:
    done = subprocess.run(["sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.name}: {done.stderr}"


@pytest.mark.parametrize("block", blocks("json"))
def test_json_can_be_read(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("page", with_transcripts())
def test_transcripts_are_what_happens(page: Page, tmp_path: Path) -> None:
    assert page.project, (
        f"{page.name} has transcripts; a comment at its top says what they start from: project=NAME, one of "
        f"{', '.join(sorted(path.name for path in PROJECTS.iterdir()))}, or empty"
    )
    reader = Reader.make(page, tmp_path)
    wrong = []
    try:
        for block in page.blocks:
            if not block.skipped:
                wrong += reader.follow(block)
    finally:
        reader.stop()
    if wrong and UPDATE:
        _write_anew(page, wrong)
    assert not wrong, "\n\n".join(str(difference) for difference in wrong)


def test_what_is_skipped_is_little() -> None:
    skipped = [block for page in PAGES for block in page.blocks if block.skipped]
    print(*(f"{block.name}: {block.skipped}" for block in skipped), sep="\n")
    run = [block for page in PAGES for block in page.blocks if not block.skipped and block.language != "text"]
    assert len(skipped) * 8 < len(run)


def test_links_within_the_repository_lead_somewhere() -> None:
    for path in pages.files():
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.relative_to(ROOT)} links to {link}"


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
        env = _environment(home)
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
        for number, command in enumerate(commands):
            printed, code = self.shell.run(self._own(command.text))
            printed = self._theirs(printed).rstrip("\n")
            shown = number + 1 < len(commands) and commands[number + 1].text == "echo $?"
            if code != 0 and not shown:
                wrong.append(Difference(block, command, printed, code))
            elif not transcripts.same(command.expected, printed):
                wrong.append(Difference(block, command, printed))
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
        return text.replace("/home/ana", str(self.home))

    def _theirs(self, text: str) -> str:
        """What this machine says, as on the page."""
        for port, free in self.ports.items():
            text = re.sub(rf"\b{free}\b", port, text)
        text = text.replace(str(self.home), "/home/ana")
        return re.sub(rf"\b(by |user:|by user:|from user:){re.escape(USER)}\b", r"\1ana", text)


def _environment(home: Path) -> dict[str, str]:
    """That of somebody with a home of their own; caches are the machine's."""
    real = Path.home()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "XDG_"))}
    return {
        **kept,
        **IDENTITY,
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(real / ".cache")),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(real / ".config")),
        "PATH": f"{PENSTOCK.parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }


def _write_anew(page: Page, wrong: list[Difference]) -> None:
    path = ROOT / page.name
    text = path.read_text()
    for difference in wrong:
        old = f"$ {difference.command.text}\n".replace("\n", "\n> ").removesuffix("> ")
        said, printed = difference.command.expected, difference.printed
        text = text.replace(
            old + (f"{said}\n" if said else ""), old + (f"{printed}\n" if printed else ""), 1
        )
    path.write_text(text)


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    yield
