"""A step that failed shows the end of what it printed, without being asked."""

from __future__ import annotations

from tests.projects import Project


def test_the_last_lines_of_a_failed_step_are_shown(project: Project) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done; echo error: no such thing >&2; exit 3"
    toml = f'[penstock]\nplugins = ["git", "shell"]\n[build.x]\nuses = "shell"\nrun = "{script}"\n'
    project.commit({"penstock.toml": toml})
    done = project.run("run")
    assert done.code == 1
    shown = done.out.splitlines()
    first = next(number for number, line in enumerate(shown) if line.startswith("✗ build.x"))
    assert "ended with status 3" in shown[first]
    assert shown[first + 1 : first + 9] == [
        *(f"    line {n}" for n in range(3, 10)),
        "    error: no such thing",
    ]
