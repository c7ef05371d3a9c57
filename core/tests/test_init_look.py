"""What `init` makes of what plugins say, also of those that say something wrong."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from penstock.cli.init.begin import compose
from penstock.cli.init.look import Look, lines, look
from penstock.plugins import Installed, Plugins

HEAD = """\
from penstock import Proposal, Settings, hookimpl
from pydantic import Field

class Own(Settings):
    '''Does its work.'''
    level: int = 1
    word: str = Field(min_length=2, description="Says this.")

@hookimpl
def penstock_test(settings: Own, step): ...

"""
Write = Callable[..., Plugins]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Plugins by what their `penstock_propose` returns, an expression."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(**answers: str) -> Plugins:
        for name, answer in answers.items():
            hook = f"@hookimpl\ndef penstock_propose(root, add):\n    return {answer}\n"
            (tmp_path / f"proposing_{name}.py").write_text(HEAD + hook)
        points = {name: EntryPoint(name, f"proposing_{name}", "penstock") for name in answers}
        return Plugins.load(
            answers, {n: Installed(n, f"penstock-{n}", "1", point) for n, point in points.items()}
        )

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("proposing_"):
            del sys.modules[name]


def only(plugins: Plugins, root: Path, add: str | None = None) -> Look:
    [found] = look(plugins, root, add)
    return found


GOOD = 'Proposal(saw="it", sections={"test.a": {"word": "yes"}})'


@pytest.mark.parametrize(
    ("answer", "remark"),
    [
        (
            'Proposal(saw="it", sections={"test.a": {"word": "n"}})',
            "word: String should have at least 2 characters",
        ),
        ('Proposal(saw="it", sections={"test.a": {}})', "word: Field required"),
        ('Proposal(saw="it", sections={"test.a": {"word": "yes", "wrod": 1}})', "wrod: Extra inputs"),
        (
            'Proposal(saw="it", sections={"test.a": {"word": "yes", "retries": -1}})',
            "retries.times: Input should be",
        ),
        ('Proposal(saw="it", sections={"test": {"word": "yes"}})', "that is no name of a section"),
        ('Proposal(saw="it", sections={"look.a": {"word": "yes"}})', "that is no name of a section"),
        ('Proposal(saw="it", sections={"test.a b": {"word": "yes"}})', "that is no name of a section"),
        ('Proposal(saw="it", sections={"build.a": {"word": "yes"}})', "one can't build"),
    ],
)
def test_a_section_that_would_be_refused_is_not_written_and_said(
    write: Write, tmp_path: Path, answer: str, remark: str
) -> None:
    found = only(write(one=answer), tmp_path)
    assert (found.sections, found.enable) == ({}, False)
    assert found.remarks[0].startswith("not added: [")
    assert remark in found.remarks[0]


def test_what_is_missing_may_be_filled_in_where_a_section_is_added(write: Write, tmp_path: Path) -> None:
    plugins = write(one='Proposal(saw="it", sections={add or "test.x": {}})')
    assert only(plugins, tmp_path, "test.a").sections == {"test.a": {}}


def test_a_plugin_that_stumbles_or_talks_nonsense_hurts_no_other(write: Write, tmp_path: Path) -> None:
    plugins = write(one="1 / 0", two="42", three="None", four="[None, 'x']", five=GOOD)
    looks = look(plugins, tmp_path)
    assert [(one.plugin, one.enable) for one in looks] == [("one", False), ("five", True)]
    assert looks[0].remarks == (
        'the plugin "one" failed in penstock_propose: ZeroDivisionError: division by zero',
    )


def test_a_section_that_two_propose_is_the_firsts(write: Write, tmp_path: Path) -> None:
    looks = look(write(one=GOOD, two=GOOD), tmp_path)
    assert [one.sections for one in looks] == [{"test.a": {"word": "yes"}}, {}]
    assert looks[1].remarks == ("not added: [test.a], because test.a is there already",)
    assert not looks[1].enable


def test_one_plugin_may_have_seen_several_things(write: Write, tmp_path: Path) -> None:
    plugins = write(one=f'[Proposal(saw="seen", about="ruff", enable=False), {GOOD}]')
    looks = look(plugins, tmp_path)
    assert [(one.about, one.enable) for one in looks] == [("ruff", False), ("one", True)]
    assert list(lines(looks)) == ["  ruff  seen", "  one   it"]


def test_a_plugin_without_a_section_is_enabled_unless_it_only_looks(write: Write, tmp_path: Path) -> None:
    assert only(write(one='Proposal(saw="it")'), tmp_path).enable
    assert not only(write(two='Proposal(saw="it", enable=False)'), tmp_path).enable


def test_long_lines_are_folded_between_words_and_remarks_are_marked(tmp_path: Path) -> None:
    text = "word " * 30 + "a-very-long-" * 12 + "end"
    told = list(lines([Look("one", "it", "one", remarks=(text,))]))
    assert told[0] == "  one  it"
    assert told[1].startswith("       ! word word")
    assert all(line.startswith("         ") for line in told[2:])
    assert told[-1].split()[-1] == "a-very-long-" * 12 + "end"
    assert " ".join(" ".join(told[1:]).split()) == "! " + text


def test_of_several_sources_the_first_is_named(write: Write, tmp_path: Path) -> None:
    plugins = write(one='Proposal(saw="it")', two='Proposal(saw="it")')
    for module in plugins.modules.values():
        module.penstock_source = module.penstock_test  # type: ignore[attr-defined]
    data = tomllib.loads(compose(look(plugins, tmp_path), plugins))
    assert data["penstock"]["plugins"] == ["one", "two"]
    assert data["source"] == {"main": {"uses": "one"}}


TEXTS = [
    "plain",
    'quo"te',
    "back\\slash",
    "line\nbreak",
    "tab\tand \x7f and \x01",
    "ä 😀",
    "# no comment",
    "a: 1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_setting_reads_back_as_it_was(write: Write, tmp_path: Path, text: str) -> None:
    settings = {"word": text, "env": {text: text, "plain": "1"}, "needs": [text]}
    plugins = write(one=f'Proposal(saw="it", sections={{"test.a": {settings!r}}})')
    data = tomllib.loads(compose(look(plugins, tmp_path), plugins))
    assert data["test"]["a"] == {"uses": "one", **settings}
