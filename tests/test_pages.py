"""What reads the documentation for its test finds what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from penstock.errors import ConfigError

from tests import pages, sections, transcripts
from tests.pages import PageError
from tests.transcripts import Command, same


def page(*lines: str) -> pages.Page:
    return pages.parse("page.md", "\n".join(lines) + "\n")


def test_a_block_has_its_line_its_language_and_what_its_comment_says() -> None:
    read = page(
        *("# A page", "<!-- test: project=site ports=1,2 real -->", "A line."),
        *("<!-- test: file=a/b.toml", "-->", "```toml", "a = 1", "```"),
        *("- A list:", "  ```sh", "  ls", "  ```"),
    )
    assert (read.project, read.ports, read.real) == ("site", ("1", "2"), True)
    assert read.blocks == (
        pages.Block("page.md", 6, "toml", "a = 1\n", {"file": "a/b.toml"}),
        pages.Block("page.md", 10, "sh", "ls\n", {}),
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["```toml", "a = 1"], "page.md:1: the block is not closed"),
        (["```ruby", "```"], 'page.md:1: a block of "ruby" is not tested'),
        (["```", "```"], 'page.md:1: a block of "" is not tested'),
        (["<!-- test: skip -->", "```sh", "```"], "page.md:1: a block that is skipped says why"),
        (["<!-- test: skip, because -->", "```sh", "```"], "page.md:1: a block that is skipped says why"),
        (["<!-- test: fil=a -->", "```sh", "```"], 'page.md:1: "fil=a" is none of'),
        (["<!-- test: file=a -->"], "page.md: the last comment has no block below it"),
        (["<!-- test: file=a -->", "<!-- test: file=b -->", "```sh", "```"], "page.md:2: a comment follows"),
        (["```sh", "```", "<!-- test: project=site -->"], "page.md:3: `project=` stands once"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_page_that_can_not_be_followed_is_refused(lines: list[str], message: str) -> None:
    with pytest.raises(PageError) as error:
        page(*lines)
    assert message in str(error.value)


def test_what_is_appended_is_read_with_what_it_is_appended_to() -> None:
    read = page(
        *("<!-- test: append=x.toml -->", "```toml", "[a]", "```"),
        *("```toml", "[other]", "```"),
        *("<!-- test: append=x.toml -->", "```toml", "b = 1", "```"),
    )
    assert read.file(read.blocks[2]) == "[a]\n\nb = 1\n"
    assert read.file(read.blocks[1]) == "[other]\n"


def test_a_transcript_is_commands_with_what_they_print() -> None:
    assert transcripts.parse("$ one\nout\n$ two \\\n>   more\n\nlast\n") == [
        Command(0, "one", "out"),
        Command(1, "two \\\n  more", "\nlast"),
    ]
    with pytest.raises(ValueError, match="begins with a command"):
        transcripts.parse("penstock run\n")


@pytest.mark.parametrize(
    ("expected", "printed", "holds"),
    [
        ("Passed in 3.9 s. Run 1.", "Passed in 2 min 1 s. Run 1.", True),
        ("Passed in 3.9 s. Run 1.", "Passed in 3.9 s. Run 2.", False),
        ("Passed in 3.9 s. Run 1.", "Failed in 3.9 s. Run 1.", False),
        ("✓ a.b   9b1f…e07a  healthy   0.1 s", "✓ a.b   0a11…22ff  healthy", True),
        ("✓ a.b   healthy   0.1 s", "✗ a.b   healthy   0.1 s", False),
        ("✓ a.b   28 passed", "✓ a.b   27 passed", False),
        ("✓ a.b  one\n    note\n✓ c.d  two", "✓ c.d  two\n✓ a.b  one\n    note", True),
        ("✓ a.b  one\n    note\n✓ c.d  two", "✓ c.d  two\n    note\n✓ a.b  one", False),
        ("first\n…\nlast", "first\nand\nmore\nlast", True),
        ("first\n…\nlast", "first\nlast", True),
        ("first\n…\nlast", "first\nand\nmore", False),
        ("in …: no", "in /a/b: no", True),
        ("in …: no", "in /a/b: yes", False),
        ("", "anything", False),
        ("something", "", False),
        ("  two", "two", False),
    ],
)
def test_a_transcript_holds_or_it_does_not(expected: str, printed: str, holds: bool) -> None:
    assert same(expected, printed) is holds


def test_digests_of_a_page_are_those_that_were_printed_in_their_place() -> None:
    expected = "staging  9b1f…e07a of run 5\n✓ other 1111…1111 here"
    assert transcripts.digests(expected, "staging  0a11…22ff of run 5\n✗ other 2222…2222 here") == {
        "9b1f…e07a": "0a11…22ff"
    }


def test_a_shell_keeps_its_directory_and_says_how_a_command_ended(tmp_path: Path) -> None:
    (tmp_path / "home" / "inner").mkdir(parents=True)
    shell = transcripts.Shell(tmp_path / "home", {"PATH": "/usr/bin:/bin"})
    try:
        assert shell.run("cd inner; export WORD=kept") == ("", 0)
        assert shell.run('basename "$PWD"; echo "$WORD" >&2') == ("inner\nkept\n", 0)
        assert shell.run("(exit 3)") == ("", 3)
        assert shell.run("echo $?") == ("3\n", 0)
        with pytest.raises(EOFError):
            shell.run("exit 1")
    finally:
        shell.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[test.x]\nuses = "shell"\nrum = "make"\n', "rum"),
        ('[test.x]\nuses = "shel"\nrun = "make"\n', "shel"),
        ('[tset.x]\nuses = "shell"\nrun = "make"\n', "tset"),
        ('[penstock]\nplugin = ["git"]\n', "plugin"),
        ('[approve.production]\nby = "ana"\n', "by"),
        ('[policy.production]\nrequire = ["test"]\n', "test"),
        ('[penstock]\nplugins = ["git"]\n\n[test.x]\nuses = "shell"\nrun = "make"\n', "not enabled"),
    ],
)
def test_configuration_that_is_wrong_is_found(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        sections.check(text, tmp_path)
    assert message in str(error.value)


def test_what_sections_speak_of_is_added(tmp_path: Path) -> None:
    plan = sections.check(
        '[policy.production]\nrequire = ["tests", "approval", "test.e2e"]\n'
        '[test.e2e]\nuses = "shell"\nrun = "true"\nneeds = ["build.wheel"]\n',
        tmp_path,
    )
    names = {step.name for step in plan.steps}
    assert {"test.e2e", "build.wheel", "deploy.production", "approve.production"} <= names
