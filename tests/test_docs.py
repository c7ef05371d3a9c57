"""Every command and every piece of configuration in the documentation is run, as its readers would.

What a comment above a block may say, and what each language means here, is in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from penstock.errors import ConfigError

from tests import pages, sections
from tests.pages import Block, Page
from tests.projects import ROOT
from tests.reader import PROJECTS, Difference, follow, write_anew

PAGES = [pages.read(path) for path in pages.files()]
UPDATE = "PENSTOCK_DOCS_UPDATE" in os.environ
"""Whether transcripts that do not hold are written anew, for their writer to look at."""


def blocks(language: str) -> list[ParameterSet]:
    found = [block for page in PAGES for block in page.of(language) if not block.skipped]
    return [pytest.param(block, id=block.name) for block in found]


def with_transcripts() -> list[ParameterSet]:
    found = [page for page in PAGES if any(not block.skipped for block in page.of("console"))]
    return [pytest.param(page, id=page.name, marks=[pytest.mark.real] if page.real else []) for page in found]


@pytest.mark.parametrize("block", blocks("toml"))
def test_configuration_is_right(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "…" not in block.text, f"{block.name}: an example of configuration leaves nothing out"
    [page] = [page for page in PAGES if page.name == block.page]
    text = page.file(block)
    data = tomllib.loads(text)
    if not sections.is_configuration(data):
        assert block.says.get("file", "").endswith("pyproject.toml") or "config" in block.says, (
            f"{block.name}: this is no configuration of Penstock's. If it is that of another tool, its comment "
            "says `config=NAME`, or `file=` and where it stands"
        )
        return
    monkeypatch.syspath_prepend(tmp_path)
    own = {
        python.says["plugin"]: sections.plugin(python.says["plugin"], python.text, tmp_path)
        for python in page.of("python")
        if "plugin" in python.says
    }
    for python in page.of("python"):
        if "file" in python.says:  # a plugin may be a file of the project
            (tmp_path / python.says["file"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / python.says["file"]).write_text(python.text)
    try:
        sections.check(text, tmp_path, own)
    except ConfigError as error:
        pytest.fail(f"{block.name}: {error}")


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_what_the_core_takes(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_json_can_be_read() -> None:
    for page in PAGES:
        for block in page.of("json"):
            json.loads(block.text)


@pytest.fixture(scope="module")
def differences(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Page], list[Difference]]]:
    """Where a page's transcripts do not hold. The pages are read side by side: most of it is waiting."""
    asked = [getattr(item, "callspec", None) for item in request.session.items if "page" in item.fixturenames]  # type: ignore[attr-defined]  # all of ours are functions
    chosen: list[Page] = [spec.params["page"] for spec in asked if spec and "page" in spec.params]
    chosen.sort(key=lambda page: len(page.of("console")), reverse=True)  # the longest first
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        begun = {page.name: pool.submit(follow, page, tmp_path_factory.mktemp("page")) for page in chosen}
        yield lambda page: begun[page.name].result()


@pytest.mark.parametrize("page", with_transcripts())
def test_transcripts_are_what_happens(page: Page, differences: Callable[[Page], list[Difference]]) -> None:
    assert page.project, (
        f"{page.name} has transcripts; a comment at its top says what they start from: project=NAME, one of "
        f"{', '.join(sorted(path.name for path in PROJECTS.iterdir()))}, shop or empty"
    )
    wrong = differences(page)
    if wrong and UPDATE:
        write_anew(page, wrong)
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


def test_the_messages_that_are_explained_are_in_the_code() -> None:
    text = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text()
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    code = "\n".join(path.read_text() for path in sources)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a message that is written in two lines
    headings = "\n".join(re.findall(r"^### (.+)$", text, re.MULTILINE))
    parts = [
        part.strip()
        for message in re.findall(r'"([^"]+)"', headings)
        for part in re.split(r"…|\b[A-Z]+\b|\d+", message)
    ]
    assert [part for part in parts if part not in code] == []
    assert len(parts) > 20
