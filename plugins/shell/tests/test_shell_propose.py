from __future__ import annotations

import sys
from pathlib import Path

import pytest
from penstock_shell import propose

EXTENDING = '[tool.ruff]\nextend = "../ruff.toml"\n'


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which there is no linter, neither on PATH nor beside Penstock."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"relative:{place}")
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    return place


def project(place: Path, files: dict[str, str]) -> Path:
    root = place / "project"
    root.mkdir()
    for name, text in files.items():
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "about", "unsure"),
    [
        ({}, [], ""),
        ({"pyproject.toml": "[project]\n"}, [], ""),
        ({"pyproject.toml": "not TOML"}, [], ""),
        (
            {"ruff.toml": ""},
            ["ruff"],
            "it is not on this machine: pip install ruff. Then: penstock init --add",
        ),
        ({"pyproject.toml": "[tool.ruff]\n"}, ["ruff"], "it is not on this machine"),
        ({"mypy.ini": ""}, ["mypy"], "it needs what the project imports"),
        ({"setup.cfg": "[metadata]\n[mypy]\nstrict = true\n"}, ["mypy"], "penstock init --add test.types"),
        ({"setup.cfg": "[metadata]\n"}, [], ""),
        ({".pre-commit-config.yaml": ""}, ["pre-commit"], "wants a git repository"),
        ({"Containerfile": ""}, [], ""),  # docker, which is installed, says what there is to say
    ],
)
def test_what_can_not_pass_here_is_seen_and_not_added(
    tmp_path: Path, bare: Path, files: dict[str, str], about: list[str], unsure: str
) -> None:
    found = propose.propose(project(tmp_path, files), None)
    assert [one.about for one in found] == about
    assert all(not one.sections and not one.enable for one in found)
    assert all(remark.startswith("not added: ") for one in found for remark in one.unsure)
    assert unsure in "".join(remark for one in found for remark in one.unsure)


def test_a_linter_whose_configuration_lies_outside_is_not_added(tmp_path: Path, bare: Path) -> None:
    (bare / "ruff").write_text("#!/bin/sh\n")
    (bare / "ruff").chmod(0o755)
    [found] = propose.propose(project(tmp_path, {"pyproject.toml": EXTENDING}), None)
    assert "extends a file outside of this directory" in found.unsure[0]


def test_a_linter_that_repairs_what_it_finds_is_told_not_to(tmp_path: Path, bare: Path) -> None:
    """Looking at a project changes nothing in it."""
    (bare / "ruff").write_text(
        '#!/bin/sh\ncase " $* " in *" --no-fix --no-fix-only "*) ;; *) echo >> shop.py;; esac\n'
    )
    (bare / "ruff").chmod(0o755)
    root = project(tmp_path, {"ruff.toml": "fix = true\n", "shop.py": "A = 1\n"})
    [found] = propose.propose(root, None)
    assert found.sections == {"test.style": {"run": "ruff check --no-fix --no-fix-only ."}}
    assert (root / "shop.py").read_text() == "A = 1\n"


@pytest.mark.parametrize(
    ("add", "files", "run"),
    [
        ("test.style", {"ruff.toml": ""}, "ruff check ."),
        ("test.style", {"ruff.toml": "fix = true\n"}, "ruff check --no-fix --no-fix-only ."),
        ("test.style", {"ruff.toml": "fix = false\n"}, "ruff check ."),
        (
            "test.style",
            {"pyproject.toml": "[tool.ruff]\nextend = 'more.toml'\n", "more.toml": "fix-only = true\n"},
            "ruff check --no-fix --no-fix-only .",
        ),
        ("test.style", {}, None),
        ("test.other", {"ruff.toml": ""}, None),
        ("scan.style", {"ruff.toml": ""}, None),
        ("test.types", {"pyproject.toml": "[tool.mypy]\nfiles = ['src']\n"}, '"$TMPDIR/types/bin/mypy"'),
        ("test.types", {"pyproject.toml": "[tool.mypy]\nstrict = true\n"}, '"$TMPDIR/types/bin/mypy" .'),
        ("test.mypy", {"mypy.ini": ""}, '"$TMPDIR/types/bin/mypy"'),
    ],
)
def test_a_section_that_is_asked_for_gets_its_command(
    tmp_path: Path, bare: Path, add: str, files: dict[str, str], run: str | None
) -> None:
    found = propose.propose(project(tmp_path, files), add)
    runs = [str(one.sections[add]["run"]).splitlines()[-1] for one in found]
    assert runs == ([run] if run else [])
