"""The tree of Penstock's errors, and the exit code that each leads to.

PenstockError
├── ConfigError       the user's input is wrong                          exit 2
├── PluginError       a plugin or the machine failed                     exit 4
├── StepFailed        a step did its work and the outcome is bad         exit 1
│   ├── CommandFailed   a program that it ran ended with another status
│   ├── NoSuchProgram   there is no such program in what it was to run inside of
│   └── StepRefused     a gate refused
├── TryLater          an observer could not tell what happened: again soon
└── StepCancelled     somebody told it to stop                           exit 130
"""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 12  # names in one message


class PenstockError(Exception):
    """What a user is shown: one clear message, without a traceback."""

    exit_code = 1


class ConfigError(PenstockError):
    """Bad usage or configuration. The message names file, line and key, and says what would be right.

    Raised where the file is not at hand, it carries `section` and `key`, from which file and line follow.
    """

    exit_code = 2

    def __init__(self, message: str, *, section: str = "", key: str = "") -> None:
        super().__init__(message)
        self.section = section
        self.key = key


class PluginError(PenstockError):
    """A plugin or the machine failed, not the user's project."""

    exit_code = 4


class StepFailed(PenstockError):
    """Raised by a plugin: the step did its work, and the outcome is bad. The message says why."""


class CommandFailed(StepFailed):
    """A program that a step ran ended with a status other than 0."""

    def __init__(self, message: str, returncode: int) -> None:
        super().__init__(message)
        self.returncode = returncode


class NoSuchProgram(StepFailed):
    """What a step runs inside of has no such program."""


class StepRefused(StepFailed):
    """Raised by a plugin or the core: a gate stays shut."""


class TryLater(PenstockError):
    """Raised by an observer: whoever it tells can't be told now. It is handed the event again."""


class StepCancelled(PenstockError):
    """The step was told to stop, by a person or by its timeout."""

    exit_code = 130


def in_words(error: BaseException) -> str:
    """An exception that is not ours, in one line: its type and what it says, whatever it does when asked."""
    try:
        said = " ".join(str(error).split())
    except BaseException:  # its own __str__ fails
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def of_file(error: OSError) -> str:
    """What went wrong, and with which file, where that is known: a full disk is often noticed without."""
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)


def nearest(name: str, known: Iterable[str], kind: str) -> str:
    """The end of a message about a step or environment that is not there: the one meant, or all of them."""
    names = list(known)
    near = [whole for whole in names if whole.partition(".")[2] == name]
    if not near:
        import difflib  # most runs make no such message

        near = difflib.get_close_matches(name, names, n=1)
    if not near and len(name) > 1:
        begun = [whole for whole in names if whole.startswith(name)]
        near = begun if len(begun) == 1 else []
    if near:
        return f'. Did you mean "{near[0]}"?'
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f". The {kind} are {', '.join(names[:_NAMED])}{more}" if names else f". There are no {kind}"


def sentence(text: str) -> str:
    """A text that another sentence can follow."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """The end of a message about a name that is not known: the nearest one that is, then `otherwise`."""
    import difflib  # most runs make no such message

    match = difflib.get_close_matches(name, list(known), n=1)
    guess = f'. Did you mean "{match[0]}"?' if match else "." if otherwise else ""
    return f"{guess} {otherwise}".rstrip()
