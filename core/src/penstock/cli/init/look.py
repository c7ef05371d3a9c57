"""What the installed plugins see in a project, and what of their proposals can be used."""

from __future__ import annotations

import contextlib
import os
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from penstock import process, processes
from penstock.artifacts import remove
from penstock.cli.files import beside
from penstock.cli.warden import cleaned_up_by
from penstock.errors import PenstockError, PluginError
from penstock.keys import Keys
from penstock.model import Proposal
from penstock.plugins import CORE_KEYS, HOOK_OF, PHASES, Plugins
from penstock.words import NAME

_WIDTH = 100


@dataclass(frozen=True)
class Look:
    """What one plugin said about one thing."""

    plugin: str
    saw: str
    about: str
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    enable: bool = False
    first: tuple[str, ...] = ()


def look(plugins: Plugins, root: Path, add: str | None = None) -> list[Look]:
    """Ask every plugin, in the order in which a pipeline needs them."""
    found: list[Look] = []
    with _room():
        for name in _able(plugins):
            for proposal in _asked(plugins, name, root, add):
                taken = {section for one in found for section in one.sections} if add is None else set()
                found.append(_judged(plugins, name, proposal, taken, partial=add is not None))
    return found


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Room for what plugins put down while they look; that, and what they run, goes though this be killed."""
    usual = tempfile.gettempdir()
    with beside(Path(usual, "it")) as place:
        mark = f"{place}:"

        def undo() -> None:
            process.end_marked(mark, grace=0.5)
            remove(place)

        before = os.environ.get("TMPDIR")
        with cleaned_up_by(undo):
            os.environ |= {processes.MARK: mark, "TMPDIR": str(place)}
            tempfile.tempdir = str(place)
            try:
                yield
            finally:
                tempfile.tempdir = usual
                del os.environ[processes.MARK], os.environ["TMPDIR"]
                os.environ |= {} if before is None else {"TMPDIR": before}


def lines(looks: Sequence[Look]) -> Iterator[str]:
    """What was seen, as people read it."""
    width = max((len(one.about) for one in looks), default=0) + 2
    for one in looks:
        indent = " " * (2 + width)
        yield from _wrapped(one.saw, f"  {one.about:<{width}}", indent)
        for remark in one.remarks:
            yield from _wrapped(remark, f"{indent}! ", f"{indent}  ")


def _wrapped(text: str, first: str, then: str) -> list[str]:
    # Commands and names are to be copied, so nothing is cut within a word.
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _able(plugins: Plugins) -> list[str]:
    able = [name for name in plugins.modules if plugins.has(name, "penstock_propose")]
    return sorted(able, key=lambda name: [PHASES.index(phase) for phase in plugins.phases(name)])


def _asked(plugins: Plugins, name: str, root: Path, add: str | None) -> Iterable[Proposal]:
    """A plugin's proposals; one that stumbles proposes nothing, and says so."""
    try:
        [answer] = plugins.call_here(name, "penstock_propose", root=root, add=add) or [None]
    except PenstockError as error:  # a plugin's fault must not keep the others from answering
        what = str(error) if isinstance(error, PluginError) else f"the plugin failed: {error}"
        return [Proposal(saw="nothing", unsure=(what,), enable=False)]
    answers = answer if isinstance(answer, list | tuple) else [answer]
    return [one for one in answers if isinstance(one, Proposal)]


def _judged(plugins: Plugins, name: str, proposal: Proposal, taken: set[str], *, partial: bool) -> Look:
    """The proposal without the sections that would be refused: each of them is said, and not written.

    `partial`: what is required may be missing, for it is written as something to fill in.
    """
    good, remarks = {}, list(proposal.unsure)
    for section, settings in proposal.sections.items():
        fault = f"{section} is there already" if section in taken else ""
        fault = fault or _unfit(plugins, name, section, settings, partial=partial)
        if fault:
            remarks.append(f"not added: [{section}], because {fault}")
        else:
            good[section] = dict(settings)
    return Look(
        plugin=name,
        saw=proposal.saw,
        about=proposal.about or name,
        sections=good,
        remarks=tuple(remarks),
        enable=proposal.enable and (bool(good) or not proposal.sections),
        first=proposal.first,
    )


def _unfit(plugins: Plugins, name: str, section: str, settings: dict[str, Any], *, partial: bool) -> str:
    """Why the configuration would refuse such a section of this plugin; "" where it would not."""
    phase, _, own_name = section.partition(".")
    if phase not in PHASES or not NAME.fullmatch(own_name):
        return "that is no name of a section"
    if phase not in plugins.phases(name):
        return f"{name} can't {phase}"
    try:
        Keys.model_validate({key: value for key, value in settings.items() if key in CORE_KEYS})
        model = plugins.settings_model(name, HOOK_OF[phase])
        model.model_validate({key: value for key, value in settings.items() if key not in CORE_KEYS})
    except ValidationError as error:
        faults = [f for f in error.errors(include_url=False) if not (partial and f["type"] == "missing")]
        for fault in faults:
            return f"{'.'.join(str(part) for part in fault['loc']) or 'it'}: {fault['msg']}"
    return ""
