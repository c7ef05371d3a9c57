from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from penstock_shell import penstock_tools
from penstock_shell.settings import Programs

SH = ["sh"]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the PATH with some programs, and nothing else on it."""
    for name in ("sh", "ruff", "mypy", "make", "grep", "test"):
        path = tmp_path / name
        path.write_text(name)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f".:{tmp_path}")
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere" / "python"))
    return tmp_path


@pytest.mark.parametrize(
    ("run", "names"),
    [
        (["ruff", "check", "test"], ["ruff"]),
        ("ruff check test", [*SH, "ruff"]),
        ("ruff . && mypy src | grep -v x; FOO=1 make all", [*SH, "ruff", "mypy", "grep", "make"]),
        ("if ! grep x y; then make; fi", [*SH, "grep", "make"]),
        ("ruff > make 2>&1\n\nmypy", [*SH, "ruff", "mypy"]),
        ("# make\nruff . # mypy", [*SH, "ruff"]),
        ("x=$(mypy src) \\\n  && (cd src; ruff)", [*SH, "mypy", "ruff"]),
        ("ruff 'a\nb' ; make", [*SH, "ruff", "make"]),
        ("ruff && ruff", [*SH, "ruff"]),
        ("nowhere", SH),
    ],
)
def test_programs_that_a_command_names(programs: Path, run: str | list[str], names: list[str]) -> None:
    found = penstock_tools(Programs.model_validate({"run": run}))

    assert [tool.name for tool in found] == names
    assert [tool.path for tool in found] == [str(programs / name) for name in names]
    assert [tool.sha256 for tool in found] == [hashlib.sha256(name.encode()).hexdigest() for name in names]


def test_other_bytes_of_a_program_are_seen(programs: Path) -> None:
    before = penstock_tools(Programs(run=("ruff",)))

    (programs / "ruff").write_text("muff")

    assert penstock_tools(Programs(run=("ruff",))) != before


def test_what_is_not_there_is_left_out_and_the_revisions_own_programs_are_named(programs: Path) -> None:
    assert penstock_tools(Programs(run=("nowhere",))) == []
    [tool] = penstock_tools(Programs(run=("ci/build.sh", "all")))
    assert (tool.name, tool.path, tool.sha256) == ("build.sh", "ci/build.sh", None)


def test_the_settings_of_every_phase_will_do() -> None:
    found = penstock_tools(Programs.model_validate({"run": "true", "reports": ["x"], "block": "high"}))

    assert found[0].name == "sh"
