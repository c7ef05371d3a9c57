from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import findings, model
from penstock.findings import Severity
from penstock.model import (
    Artifact,
    Digest,
    Duration,
    Model,
    Percentage,
    Revision,
    TestCase,
    TestReport,
    Verification,
    short,
)
from pydantic import TypeAdapter, ValidationError

A = "sha256:" + "4f2c1e9d" * 8
DURATION: TypeAdapter[float] = TypeAdapter(Duration)
PERCENTAGE: TypeAdapter[float] = TypeAdapter(Percentage)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (3, 3),
        (0, 0),
        (1.5, 1.5),
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172800),
        (" 5 m ", 300),
        ("1.5h", 5400),
        ("1m500ms", 60.5),
    ],
)
def test_a_duration(text: object, seconds: float) -> None:
    assert DURATION.validate_python(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5x", "-5m", "5m-", "1e3s", "5 minutes", "5m5", True, -1, [], None, float("nan")]
)
def test_no_duration(text: object) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(text)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
@settings(deadline=None)
def test_a_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"

    assert DURATION.validate_python(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("100%", 1), ("0%", 0), ("12.5%", 0.125), ("5 %", 0.05), (0.5, 0.5)]
)
def test_a_percentage(text: object, share: float) -> None:
    assert PERCENTAGE.validate_python(text) == share


@pytest.mark.parametrize("text", ["", "%", "10", "101%", "-1%", "x%", "1e1%", 1.5, -0.1, True, None])
def test_no_percentage(text: object) -> None:
    with pytest.raises(ValidationError):
        PERCENTAGE.validate_python(text)


@pytest.mark.parametrize(
    "text", ["", "4f", A.upper(), A[:-1], A + "0", A.replace("sha256", "sha512"), " " + A, A + "\n"]
)
def test_no_digest(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Digest).validate_python(text)


@pytest.mark.parametrize(
    ("digest", "shown"),
    [(A, "4f2c…1e9d"), ("4f2c1e9d" * 8, "4f2c…1e9d"), ("sha256:12345678", "12345678"), ("", "")],
)
def test_a_digest_as_people_read_it(digest: str, shown: str) -> None:
    assert short(digest) == shown


@pytest.mark.parametrize(
    ("revision", "name"),
    [
        (Revision(commit="4f2c1e9d" * 5), "4f2c1e9"),
        (Revision(commit="4f2c1e9d" * 5, dirty=True), "4f2c1e9+"),
        (Revision(snapshot=A), "4f2c…1e9d"),
        (Revision(), "unknown"),
    ],
)
def test_a_revision_as_people_name_it(revision: Revision, name: str) -> None:
    assert revision.short == name


def test_values_are_frozen_and_closed() -> None:
    artifact = Artifact(name="x", kind="file", digest=A)

    with pytest.raises(ValidationError):
        artifact.name = "y"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Artifact(name="x", kind="file", digest=A, colour="red")  # type: ignore[call-arg]


def test_every_value_forbids_what_nobody_declared() -> None:
    values = [value for module in (model, findings) for value in vars(module).values()]
    models = {value for value in values if isinstance(value, type) and issubclass(value, Model)}

    assert len(models) > 20
    assert all(value.model_config.get("extra") == "forbid" for value in models)
    assert all(value.model_config.get("frozen") for value in models)


@given(
    st.floats(min_value=0, allow_infinity=False), st.text(), st.sampled_from(["passed", "failed", "skipped"])
)
@settings(deadline=None)
def test_a_report_survives_a_trip_through_json(seconds: float, text: str, outcome: Any) -> None:
    case = TestCase(name=text, outcome=outcome, seconds=seconds, output=text)
    report = TestReport(tool=text, cases=(case,), coverage=0.1)

    assert TestReport.model_validate_json(report.model_dump_json()) == report


def test_a_severity_has_a_rank() -> None:
    assert sorted(Severity, key=lambda level: level.rank) == ["unknown", "low", "medium", "high", "critical"]


def test_a_verification_without_a_check_has_not_passed() -> None:
    assert not Verification(checks=()).passed


@pytest.mark.parametrize("name", ["TestCase", "TestReport"])
def test_pytest_does_not_take_a_model_for_a_test(name: str) -> None:
    assert getattr(model, name).__test__ is False
