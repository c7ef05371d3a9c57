"""tox's result JSON → one case for each environment. Pure, and whatever is missing is a failure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from penstock import StepFailed, StepRefused, TestCase, TestReport

from penstock_tox.listing import Environment

_OUTPUT = 10_000  # characters
_COMMAND = 100
_SHOWN = 5
_LINES = 6  # of the output, below the message
_LINE = 300

Table = dict[str, Any]


def judge(
    text: str,
    status: int,
    expected: Sequence[Environment],
    *,
    package: str | None,
    mask: Callable[[str], str],
) -> TestReport:
    """The report, from the result file's text and tox's exit status.

    `package` is the digest of the file that the environments are to install. Raises StepFailed where the
    results can't be read.
    """
    version, environments = _read(text, status)
    for environment in environments.values():  # before anything is cut: half a secret is found by no mask
        for command in [*_commands(_table(environment), "setup"), *_commands(_table(environment), "test")]:
            _clean(command, mask)
    cases = [
        _case(environment, _table(environments.get(environment.name)), package) for environment in expected
    ]
    if status != 0 and not any(case.outcome == "failed" for case in cases) and _some_passed(cases, status):
        message = f"tox {_ended(status)}, but no environment of it failed. The step's log says more"
        cases.append(TestCase(name="tox", outcome="failed", message=message))
    return TestReport(tool=f"tox {version}", cases=tuple(_masked(case, mask) for case in cases))


def refuse_skipped(report: TestReport) -> None:
    """Refuse a report in which nothing ran, and say what would open the gate."""
    if any(case.outcome != "skipped" for case in report.cases):
        return
    reasons = "; ".join(f"{case.name}: {case.message}" for case in report.cases[:_SHOWN])
    more = f"; and {len(report.cases) - _SHOWN} more" if len(report.cases) > _SHOWN else ""
    raise StepRefused(
        f"nothing was tested, since no environment ran its commands ({reasons}{more}). Install "
        'what is missing, or name environments that can run here: environments = ["…"]'
    )


def installed(text: str, names: Sequence[str]) -> list[str]:
    """The environments of these that installed a package, as far as the results say."""
    try:
        _, environments = _read(text, 0)
    except StepFailed:
        return []
    return [name for name in names if _sha256(_table(environments.get(name)))]


def _read(text: str, status: int) -> tuple[str, Table]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        what = "no results" if not text.strip() else "results that can't be read"
        raise StepFailed(f"tox {_ended(status)} and left {what}. The step's log says why") from None
    environments = document.get("testenvs") if isinstance(document, dict) else None
    if not isinstance(environments, dict) or not environments:
        raise StepFailed(
            f"tox {_ended(status)}, and its results name no environment. The step's log says why"
        )
    return str(document.get("toxversion", "unknown")), environments


def _case(expected: Environment, found: Table, package: str | None) -> TestCase:
    result = _table(found.get("result"))
    if "success" not in result:
        return _made(expected, "failed", 0.0, "tox says nothing of it: it did not run to its end")
    seconds = _seconds(result.get("duration"))
    commands = [*_commands(found, "setup"), *_commands(found, "test")]
    failed = [command for command in commands if command.get("retcode") != 0]
    if result["success"] is not True:
        message, output = _failure(failed, result), _output(failed)
        if expected.ignored:
            return _made(
                expected, "skipped", seconds, f"{message}. ignore_outcome says that this does not count"
            )
        return _made(expected, "failed", seconds, "\n".join([message, *_end(output)]), output)
    if result.get("skipped") is True or not commands:
        return _made(expected, "skipped", seconds, expected.why_skipped)
    if not any(
        str(command.get("run_id", "commands[")).startswith("commands[")
        for command in _commands(found, "test")
    ):
        return _made(expected, "skipped", seconds, "it has no commands")
    wrong = _wrong_package(expected, found, package)
    return _made(expected, "failed" if wrong else "passed", seconds, wrong)


def _wrong_package(expected: Environment, found: Table, package: str | None) -> str | None:
    """Whether what was tested is something else than what was built."""
    if package is None or not expected.installs:
        return None
    digest = _sha256(found)
    if digest == package.removeprefix("sha256:"):
        return None
    instead = f"it installed sha256:{digest}" if digest else "tox does not say that it installed it"
    return (
        f"nothing was proved about {package}: {instead}. An environment whose runner installs the tree by "
        "itself can't test what was built; one that needs no package says skip_install = true"
    )


def _made(
    expected: Environment, outcome: Any, seconds: float, message: str | None, output: str | None = None
) -> TestCase:
    return TestCase(name=expected.name, outcome=outcome, seconds=seconds, message=message, output=output)


def _failure(failed: Sequence[Table], result: Table) -> str:
    if not failed:
        return f"it failed with {result.get('exit_code')}, before any command. The step's log says why"
    return "; ".join(
        f"`{_shown(command.get('command'))}` {_ended(command.get('retcode'))}" for command in failed[:_SHOWN]
    )


def _output(failed: Sequence[Table]) -> str | None:
    text = "\n".join(
        part.rstrip()
        for command in failed
        for key in ("output", "err")
        if (part := str(command.get(key) or ""))
    )
    text = text.encode(errors="backslashreplace").decode()
    return ("…" + text[-_OUTPUT:] if len(text) > _OUTPUT else text) or None


def _end(output: str | None) -> list[str]:
    """The last lines of what was printed: tools say there what was wrong."""
    lines = [line.rstrip()[:_LINE] for line in (output or "").splitlines() if line.strip()]
    return lines[-_LINES:]


def _shown(words: object) -> str:
    """A command as its author knows it: the program without the environment's directory."""
    parts = [str(word) for word in words] if isinstance(words, list) else []
    if not parts:
        return "a command"
    text = shlex.join([PurePath(parts[0]).name, *parts[1:]])
    return text if len(text) <= _COMMAND else text[: _COMMAND - 1] + "…"


def _some_passed(cases: Sequence[TestCase], status: int) -> bool:
    # Where everything was skipped tox ends with a status of its own; a signal is wrong in any case.
    return status < 0 or any(case.outcome == "passed" for case in cases)


def _commands(found: Table, key: str) -> Iterator[Table]:
    commands = found.get(key)
    for command in commands if isinstance(commands, list) else ():
        if isinstance(command, dict):
            yield command


def _sha256(found: Table) -> str | None:
    digest = _table(found.get("installpkg")).get("sha256")
    return digest if isinstance(digest, str) else None


def _clean(command: Table, mask: Callable[[str], str]) -> None:
    command |= {key: mask(text) for key in ("output", "err") if isinstance(text := command.get(key), str)}
    words = command.get("command")
    if isinstance(words, list):
        command["command"] = [mask(str(word)) for word in words]


def _table(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value >= 0 else 0.0


def _ended(status: object) -> str:
    if isinstance(status, int) and status < 0:
        return f"was ended by signal {-status}"
    return f"ended with {status}"


def _masked(case: TestCase, mask: Callable[[str], str]) -> TestCase:
    texts = {key: mask(text) for key in ("message", "output") if (text := getattr(case, key)) is not None}
    return case.model_copy(update=texts)
