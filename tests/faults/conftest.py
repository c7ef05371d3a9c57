from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.broken.place import Place
from tests.faults.pipeline import Sixty
from tests.projects import ROOT


class Ended(NamedTuple):
    """How a command ended that may have been killed."""

    code: int | None
    killed: bool
    left: list[str]
    said: str


class Killer:
    """Starts commands in one project, and has them killed."""

    def __init__(self, sixty: Sixty) -> None:
        self.sixty = sixty
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.killer"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *words: str,
        after: float | None = None,
        what: str = "engine",
        pick: int = 0,
        argv: list[str] | None = None,
        settle: bool = False,
        within: float = 120,
    ) -> Ended:
        place = self.sixty.place
        out = place.base / "out"
        order: dict[str, Any] = {
            "words": words,
            "argv": argv or [],
            "env": place.env,
            "cwd": str(place.root),
            "site": str(place.base / "site"),
            "out": str(out),
            "err": str(place.base / "err"),
            "within": within,
            "after": after,
            "what": what,
            "pick": pick,
            "settle": settle,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        said = "".join(Path(order[name]).read_bytes().decode(errors="replace") for name in ("out", "err"))
        assert "Traceback" not in said, said
        return Ended(answer["code"], answer["killed"], answer["left"], said)

    def close(self) -> None:
        self._process.communicate(timeout=30)


def started(place: Path) -> Killer:
    """A killer with a project of its own, whose plugins are imported by whoever runs it."""
    place.mkdir(exist_ok=True)
    return Killer(Sixty(Place.make(place, None)))  # type: ignore[arg-type]  # the killer starts its commands


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Killer]:
    killer = started(tmp_path)
    yield killer
    killer.close()
