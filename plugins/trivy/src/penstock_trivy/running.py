"""Starting Trivy, away from the project, and what is made of its failures."""

from __future__ import annotations

from collections.abc import Sequence

from penstock import Step, StepFailed

from penstock_trivy import command

_REASON = 500


def run(step: Step, argv: Sequence[str], *, credentials: bool = False) -> str:
    """Run Trivy to its end; what it printed. StepFailed, with what it says, where it fails."""
    # Away from the workspace: Trivy reads settings from the directory that it is started in.
    empty = step.tmp / "empty"
    empty.mkdir(exist_ok=True)
    step.log("$ " + " ".join(argv))
    done = step.run(
        command.clean(argv, credentials=credentials), cwd=empty, check=False, capture=True, quiet=True
    )
    step.log(done.stdout.rstrip())
    if done.returncode != 0:
        raise StepFailed(failure(step.name, argv[1], done.returncode, step.mask(done.stdout)))
    return done.stdout


def failure(step: str, mode: str, status: int, output: str) -> str:
    """What a failed Trivy said, in a line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    fatal = next(
        (line for line in reversed(lines) if "FATAL" in line), lines[-1] if lines else "it said nothing"
    )
    reason = fatal.rpartition("FATAL")[2].strip().removeprefix("Fatal error").strip()
    if "Java DB" in reason:
        return (
            f"trivy {mode} can't look into Java archives without its Java index. Fetch it once "
            "(trivy image --download-java-db-only; with database_directory, add --cache-dir and that path), "
            'or leave them out: skip = ["*.jar"]'
        )
    why = reason if len(reason) <= _REASON else f"… {reason[-_REASON:]}"  # it names the cause last
    return f"trivy {mode} ended with status {status}: {why}. Whole output: penstock logs last {step}."
