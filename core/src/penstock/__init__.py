"""Penstock's public API for plugin authors. Names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
API_VERSION = 1
"""The version of the hook specs: a plugin may set `PENSTOCK_API` to the one that it was made for."""

if TYPE_CHECKING:
    from penstock.errors import CommandFailed as CommandFailed
    from penstock.errors import ConfigError as ConfigError
    from penstock.errors import NoSuchProgram as NoSuchProgram
    from penstock.errors import PenstockError as PenstockError
    from penstock.errors import StepFailed as StepFailed
    from penstock.errors import StepRefused as StepRefused
    from penstock.errors import TryLater as TryLater
    from penstock.findings import Exempted as Exempted
    from penstock.findings import Finding as Finding
    from penstock.findings import ScanReport as ScanReport
    from penstock.findings import Severity as Severity
    from penstock.hookspecs import hookimpl as hookimpl
    from penstock.launching import Command as Command
    from penstock.launching import Launcher as Launcher
    from penstock.model import Approval as Approval
    from penstock.model import Artifact as Artifact
    from penstock.model import Check as Check
    from penstock.model import Digest as Digest
    from penstock.model import Duration as Duration
    from penstock.model import Event as Event
    from penstock.model import Evidence as Evidence
    from penstock.model import Inside as Inside
    from penstock.model import Model as Model
    from penstock.model import Pending as Pending
    from penstock.model import Percentage as Percentage
    from penstock.model import Proposal as Proposal
    from penstock.model import Publication as Publication
    from penstock.model import Refusal as Refusal
    from penstock.model import Release as Release
    from penstock.model import Revision as Revision
    from penstock.model import Service as Service
    from penstock.model import Settings as Settings
    from penstock.model import Signature as Signature
    from penstock.model import Signer as Signer
    from penstock.model import TestCase as TestCase
    from penstock.model import TestReport as TestReport
    from penstock.model import Tool as Tool
    from penstock.model import Verification as Verification
    from penstock.observed import Observed as Observed
    from penstock.step import Completed as Completed
    from penstock.step import Step as Step
    from penstock.target import Health as Health
    from penstock.target import Job as Job
    from penstock.target import Target as Target
    from penstock.target import TargetState as TargetState

_HOME = {
    "penstock.errors": (
        "CommandFailed",
        "ConfigError",
        "NoSuchProgram",
        "PenstockError",
        "StepFailed",
        "StepRefused",
        "TryLater",
    ),
    "penstock.findings": ("Exempted", "Finding", "ScanReport", "Severity"),
    "penstock.hookspecs": ("hookimpl",),
    "penstock.launching": ("Command", "Launcher"),
    "penstock.model": (
        "Approval",
        "Artifact",
        "Check",
        "Digest",
        "Duration",
        "Event",
        "Evidence",
        "Inside",
        "Model",
        "Pending",
        "Percentage",
        "Proposal",
        "Publication",
        "Refusal",
        "Release",
        "Revision",
        "Service",
        "Settings",
        "Signature",
        "Signer",
        "TestCase",
        "TestReport",
        "Tool",
        "Verification",
    ),
    "penstock.observed": ("Observed",),
    "penstock.step": ("Completed", "Step"),
    "penstock.target": ("Health", "Job", "Target", "TargetState"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["API_VERSION", "__version__", *_MODULE_OF]  # noqa: PLE0604 - every entry is a string


def __getattr__(name: str) -> Any:
    # `penstock --version` must not pay for pydantic: a name is imported when it is asked for.
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULE_OF[name]), name)
