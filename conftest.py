"""What holds for all tests of the repository."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker has one left when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With PENSTOCK_NO_SKIPS, a test that is skipped has failed: CI has every real part, or is broken."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PENSTOCK_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and PENSTOCK_NO_SKIPS is set: {report.longrepr}"
    return report
