from __future__ import annotations

import pytest
from penstock import errors
from penstock.errors import did_you_mean


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.PenstockError("x"), 1),
        (errors.StepFailed("x"), 1),
        (errors.StepRefused("x"), 1),
        (errors.CommandFailed("x", 3), 1),
        (errors.ConfigError("x"), 2),
        (errors.PluginError("x"), 4),
        (errors.StepCancelled("x"), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_exit_code_of_an_error(error: errors.PenstockError, code: int) -> None:
    assert error.exit_code == code
    assert str(error) == "x"


def test_the_docstring_shows_the_tree_as_it_is() -> None:
    tree = (errors.__doc__ or "").partition("\n\n")[2]
    shown = {next(word for word in line.split() if word.isalpha()) for line in tree.split("\n") if line}

    assert shown == {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }


def test_a_file_is_named_where_there_is_one() -> None:
    assert errors.of_file(OSError(28, "No space left on device", "/x")) == "No space left on device: /x"
    assert errors.of_file(OSError(28, "No space left on device")) == "No space left on device"


def test_a_command_that_failed_keeps_its_status() -> None:
    assert errors.CommandFailed("x", 3).returncode == 3


@pytest.mark.parametrize(
    ("name", "known", "end"),
    [
        ("dokcer", ["git", "docker"], '. Did you mean "docker"?'),
        ("zzz", ["git", "docker"], ""),
        ("", ["git"], ""),
        ("git", [], ""),
    ],
)
def test_the_nearest_name(name: str, known: list[str], end: str) -> None:
    assert did_you_mean(name, known) == end
