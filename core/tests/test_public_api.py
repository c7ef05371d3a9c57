from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import penstock
import pytest
from penstock import hookspecs

PUBLIC = (
    "API_VERSION",
    "Approval",
    "Artifact",
    "Check",
    "Command",
    "CommandFailed",
    "Completed",
    "ConfigError",
    "Digest",
    "Duration",
    "Event",
    "Evidence",
    "Exempted",
    "Finding",
    "Health",
    "Inside",
    "Job",
    "Launcher",
    "Model",
    "NoSuchProgram",
    "Observed",
    "Pending",
    "PenstockError",
    "Percentage",
    "Proposal",
    "Publication",
    "Refusal",
    "Release",
    "Revision",
    "ScanReport",
    "Service",
    "Settings",
    "Severity",
    "Signature",
    "Signer",
    "Step",
    "StepFailed",
    "StepRefused",
    "Target",
    "TargetState",
    "TestCase",
    "TestReport",
    "Tool",
    "TryLater",
    "Verification",
    "__version__",
    "hookimpl",
)

HOOKS = {
    "penstock_source": ["settings", "step"],
    "penstock_find_revision": ["settings", "root", "name"],
    "penstock_read_file": ["settings", "root", "revision", "path"],
    "penstock_changes": ["settings", "root", "branches", "since"],
    "penstock_build": ["settings", "step"],
    "penstock_test": ["settings", "step"],
    "penstock_scan": ["settings", "step"],
    "penstock_sign": ["settings", "step", "statements"],
    "penstock_check_signature": ["settings", "signature", "statement"],
    "penstock_publish": ["settings", "step", "evidence"],
    "penstock_approve": ["settings", "step"],
    "penstock_targets": ["settings", "step"],
    "penstock_jobs": ["settings", "step"],
    "penstock_verify": ["settings", "step"],
    "penstock_admit": ["step", "evidence"],
    "penstock_event": ["settings", "event", "observed"],
    "penstock_secret": ["reference"],
    "penstock_launcher": ["artifact", "limits", "step"],
    "penstock_tools": ["settings"],
    "penstock_service": ["settings", "service", "step"],
    "penstock_service_tools": ["settings"],
    "penstock_reap": ["run", "step_name", "home"],
    "penstock_doctor": ["settings"],
    "penstock_commands": [],
    "penstock_propose": ["root", "add"],
}
"""A parameter may be added; one that is taken away breaks the plugins that ask for it."""


def test_the_public_names() -> None:
    assert tuple(sorted(penstock.__all__)) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(penstock, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(penstock.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))

    seen = {
        alias.asname: node.module
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == penstock._MODULE_OF


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match=r"^module 'penstock' has no attribute 'Stepp'$"):
        importlib.import_module("penstock").Stepp  # noqa: B018


def test_the_hooks_and_what_they_hand_over() -> None:
    found = {
        name: list(inspect.signature(function).parameters)
        for name, function in vars(hookspecs).items()
        if name.startswith("penstock_")
    }

    assert found == HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_with_its_version_and_an_example_that_is_python(name: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, name)) or ""
    _, marker, example = text.partition("@hookimpl")

    assert "Since 0.1" in text
    function = ast.parse(inspect.cleandoc(marker + example)).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert function.name == name
    assert {argument.arg for argument in function.args.args} <= set(HOOKS[name])
