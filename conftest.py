"""What holds for all tests of the repository."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With PENSTOCK_NO_SKIPS, a test that is skipped has failed: CI has every real part, or is broken."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PENSTOCK_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and PENSTOCK_NO_SKIPS is set: {report.longrepr}"
    return report
