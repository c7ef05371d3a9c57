"""coverage.py over the wheel's modules. PYTEST_DONT_REWRITE

A copy of this file is put beside the reporter's: it imports the standard library alone, and coverage late.
"""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

NAME = "_penstock_measuring"


class Measuring:
    """coverage.py over the wheel's modules, in this process and in pytest-xdist's workers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import coverage

        self._data = Path(settings["coverage"]) / "data"
        # The project's own sources are the tree's paths; without a wheel they are what is tested.
        source: list[str] | None = [] if settings["modules"] else None
        self._measure = coverage.Coverage(
            data_file=str(self._data), data_suffix=True, source=source, source_pkgs=settings["modules"]
        )
        omit = self._measure.get_option("run:omit") or []
        self._measure.set_option("run:omit", [*omit, *settings["omit"]])  # type: ignore[misc]
        # The same file in both places is one.
        self._measure.set_option("paths", settings["places"])
        self._measure.start()

    def save(self) -> None:
        """Write down what this process ran."""
        self._measure.stop()
        self._measure.save()

    def report(self) -> dict[str, Any]:
        """How many lines there are, and how many were run by any process; or why that is not known."""
        self.save()
        out = self._data.with_suffix(".json")
        try:
            self._measure.combine([str(self._data.parent)])
            self._measure.json_report(outfile=str(out))
        except Exception as error:  # coverage's own, by whatever name
            traceback.print_exc()
            return {"lines": 0, "covered": 0, "why": str(error)}
        totals = json.loads(out.read_text(encoding="utf-8"))["totals"]
        return {"lines": totals["num_statements"], "covered": totals["covered_lines"], "why": None}
