"""Secrets in what a step's command writes: JUnit XML and SARIF are read, and nothing of a secret is kept."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape, quoteattr

from core.tests.test_secrets_everywhere import leaks, shown
from tests.projects import Project

SECRETS = ('it\'s "quoted" <b>&amp;</b>', "a/b c+d=e?f&g", "first-line-of-it\nsecond-line-of-it")
COPY = """\
import os, sys
from pathlib import Path
Path(sys.argv[2]).write_text(Path(os.environ["PLACE"], sys.argv[1]).read_text())
print(Path(sys.argv[2]).read_text())
"""
PIPELINE = """\
[penstock]
plugins = ["git", "shell"]

[test.it]
uses = "shell"
run = ["python3", "copy.py", "junit.txt", "report.xml"]
reports = ["report.xml"]
secrets = {secrets}

[scan.it]
uses = "shell"
run = ["python3", "copy.py", "sarif.txt", "report.sarif"]
reports = ["report.sarif"]
secrets = {secrets}
block = "none"
"""


def junit(texts: list[str]) -> str:
    cases = (
        f"<testcase name={quoteattr(f'{number} {text}')} file={quoteattr(text)}>"
        f"<flakyFailure message={quoteattr(text)}/><system-out>{escape(text)}</system-out></testcase>"
        for number, text in enumerate(texts)
    )
    return f"<testsuite>{''.join(cases)}</testsuite>"


def sarif(texts: list[str]) -> str:
    results = [
        {
            "ruleId": f"{number} {text}",
            "level": "note",
            "message": {"text": text},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": text}}}],
        }
        for number, text in enumerate(texts)
    ]
    return json.dumps(
        {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": texts[0]}}, "results": results}]}
    )


def test_secrets_in_the_reports_of_a_command_are_kept_nowhere(project: Project) -> None:
    # What XML can't hold is no part of a report that can be read.
    texts = [text for secret in SECRETS for text, _ in shown(secret) if "\r" not in text]
    named = ", ".join(f'S{number} = "env:SECRET_{number}"' for number in range(len(SECRETS)))
    project.commit({"copy.py": COPY, "penstock.toml": PIPELINE.replace("{secrets}", f"{{ {named} }}")})
    place = project.root.parent / "written"
    place.mkdir()
    (place / "junit.txt").write_text(junit(texts))
    (place / "sarif.txt").write_text(sarif(texts))
    env = {f"SECRET_{number}": secret for number, secret in enumerate(SECRETS)} | {"PLACE": str(place)}

    said = project.passes("run", env=env).said
    for command in ("show", "logs", "flaky", "report --junit j.xml --sarif s.sarif"):
        said += project.passes(*command.split()).said

    kept = [path for path in (project.root / ".penstock").rglob("*") if path.is_file()]
    kept += [project.root / "j.xml", project.root / "s.sarif"]
    places = [path.read_bytes() for path in kept]
    assert "***" in said
    assert sum(b"***" in place for place in places) >= 6
    assert leaks(list(SECRETS), said.encode(), *places) == []
