"""`when`: what is a condition and what is none, and what one comes to. No text leads to anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from penstock import conditions, globs, terms
from penstock.errors import ConfigError
from penstock.model import Revision
from penstock.terms import Asked, Changed, Env, Fact, Join, Node, Not, Result, Value

KNOWN: dict[str, Value] = {
    "param.deploy": "no",
    "param.count": 2,
    "param.fast": False,
    "matrix.python": "3.12",
    "matrix.groups": ("test", "slow"),
}
FACTS: dict[str, Value] = {
    **KNOWN,
    "ref": "main",
    "commit": "c0ffee",
    "author": "Ana <ana@example.com>",
    "subject": "Mend it [skip docs]",
    "tag": "",
    "dirty": False,
}


def values(node: Node, **more: Any) -> dict[Asked, Value]:
    """What a condition asks for: the facts above, no variable but CI, all passed, and docs have changed."""
    found: dict[Asked, Value] = {}
    for entry in terms.asked(node):
        if isinstance(entry, Fact):
            found[entry] = {**FACTS, **more}[entry.name]
        elif isinstance(entry, Env):
            found[entry] = "true" if entry.name == "CI" else ""
        elif isinstance(entry, Result):
            found[entry] = "passed" if entry.step == "test.unit" else "skipped"
        else:
            found[entry] = terms.changed(entry, frozenset(["docs/index.md", "docs/a/b.md"]))
    return found


HOLDS = {
    "a fact": 'ref == "main"',
    "single quotes": "ref == 'main'",
    "not the same": 'ref != "topic"',
    "and": 'ref == "main" and env("CI") == "true"',
    "or": 'ref == "topic" or env("CI") == "true"',
    "and before or": 'ref == "main" or ref == "topic" and dirty',
    "parentheses first": 'not ((ref == "main" or ref == "topic") and dirty)',
    "not before and": "not dirty and not param.fast",
    "not twice": "not not (ref == 'main')",
    "not over a comparison": 'not ref == "topic"',
    "in a list": 'ref in ["main", "release"]',
    "a comma at the end": 'ref in ["topic", "main",]',
    "not in a list": 'ref not in ["topic"]',
    "not in nothing": "ref not in []",
    "in a string": '"[skip docs]" in subject',
    "in an axis": '"slow" in matrix.groups',
    "of the matrix": 'matrix.python == "3.12"',
    "a number": "param.count == 2",
    "a number with a point": "param.count == 2.0",
    "yes or no compared": "dirty == false",
    "as Python writes it": "dirty == False",
    "what there is not": 'tag == ""',
    "a variable that is not set": 'env("NOBODY_SETS_IT") == ""',
    "a result": 'result("test.unit") == "passed" and result("test.other") in ["failed", "skipped"]',
    "a change": 'changed("docs/**")',
    "a change of one of them": 'changed("src/**", "docs/*.md")',
    "a change of a directory": 'changed("docs")',
    "a change nowhere else": 'changed_only("docs/**")',
    "not below it": 'not changed("docs/*.txt", "*.md")',
    "a glob": 'matches(ref, "m*", "release/*")',
    "a glob of an expression": 'matches("v1.2", "v*")',
    "always": "true",
    "several lines": '\n  ref == "main"\n  and\tnot dirty\n',
    "a quote in quotes": r"""'\'' != "\"" """,
    "the other way round": '"main" == ref',
}


@pytest.mark.parametrize("text", HOLDS.values(), ids=HOLDS)
def test_a_condition_that_holds(text: str) -> None:
    node = conditions.parse(text, KNOWN)

    assert conditions.evaluate(node, values(node))
    assert not conditions.evaluate(Not(node), values(node))


WRONG = {
    "nothing": ("", "a value is missing at the end"),
    "blanks": (" \n ", "a value is missing at the end"),
    "half": ('ref == "main" and', "a value is missing at the end"),
    "a word alone": ("and", 'a value is missing before "and"'),
    "one value after another": ('ref == "a" dirty', '"and" or "or" is missing before "dirty"'),
    "not closed": ('(ref == "a"', '")" is missing at the end'),
    "not opened": ('ref == "a")', '"and" or "or" is missing before ")"'),
    "a string that is not closed": ('ref == "a', '"\\"a" can\'t be read: a string is not closed'),
    "one equals sign": ('ref = "a"', '"= \\"a\\"" can\'t be read: two values are compared with =='),
    "as C writes it": ("dirty && dirty", '"&& dirty" can\'t be read: write "and"'),
    "as C denies it": ("!dirty", '"!dirty" can\'t be read: write "not", or !='),
    "what is longer": (
        "param.count > 1",
        '"> 1" can\'t be read: values are compared with == and !=',
    ),
    "what nobody knows": (
        "a = ` `",
        '"= ` `" can\'t be read: two values are compared with ==',
    ),
    "no such sign": (
        "`id`",
        '"`id`" can\'t be read: a condition is made of names, strings, ==, and, or, not',
    ),
    "three values": (
        'ref == "a" == "b"',
        'two values at a time are compared, and here are three: ref == "a" == "b"',
    ),
    "a string is no condition": ("ref", 'ref is a string, and no condition. Compare it: ref == "…"'),
    "a number is no condition": (
        "param.count and dirty",
        "param.count is a number, and no condition. Compare it: param.count == 1",
    ),
    "not of a string": ("not ref", 'ref is a string, and no condition. Compare it: ref == "…"'),
    "a list is no condition": ('["a"]', '["a"] is a list, and no condition'),
    "never the same": (
        'dirty == "true"',
        'dirty is true or false, "true" is a string: they are never the same',
    ),
    "in a number": (
        "ref in 3",
        'ref is a string, 3 is a number: "in" asks whether a string is in a list or in another string',
    ),
    "a number in a list": (
        'param.count in ["2"]',
        'param.count is a number, ["2"] is a list: "in" asks whether a string is in a list or in another string',
    ),
    "a list of numbers": ("ref in [1]", 'a string in quotes is missing before "1]"'),
    "a fact misspelt": (
        'reff == "main"',
        '"reff" is no name that a condition knows. Did you mean "ref"? A string stands in quotes; names are ref, '
        "commit, author, subject, tag, dirty, param.deploy, param.count, param.fast, matrix.python, matrix.groups",
    ),
    "a parameter misspelt": (
        'param.deplyo == "yes"',
        'there is no parameter "deplyo". Did you mean "deploy"? There are param.deploy, param.count, param.fast',
    ),
    "an axis misspelt": (
        'matrix.zzz == "yes"',
        'there is no axis "zzz". There are matrix.python, matrix.groups',
    ),
    "a result misspelt": (
        'result("test.unit") == "pased"',
        '"pased" is no result. Did you mean "passed"? It is passed, failed, refused or skipped',
    ),
    "a result misspelt in a list": (
        'result("test.unit") not in ["passed", "green"]',
        '"green" is no result. It is passed, failed, refused or skipped',
    ),
    "a function of Python": (
        '__import__("os")',
        'there is no "__import__(…)" in a condition. What there is: env("NAME"), result("test.unit"), '
        'changed("src/**"), changed_only("docs/**"), matches(ref, "release/*")',
    ),
    "a function misspelt": (
        'change("a")',
        'there is no "change(…)" in a condition. Did you mean "changed"? What there is: env("NAME"), '
        'result("test.unit"), changed("src/**"), changed_only("docs/**"), matches(ref, "release/*")',
    ),
    "a method": (
        'ref.startswith("v") == true',
        'there is no "ref.startswith(…)" in a condition. What there is: env("NAME"), result("test.unit"), '
        'changed("src/**"), changed_only("docs/**"), matches(ref, "release/*")',
    ),
    "an attribute": (
        'ref.__class__ == "str"',
        '"ref.__class__" is no name that a condition knows. A string stands in quotes; names are ref, commit, '
        "author, subject, tag, dirty, param.deploy, param.count, param.fast, matrix.python, matrix.groups",
    ),
    "a function without brackets": ("changed", '"changed" is written as changed("src/**")'),
    "a variable without quotes": ("env(CI) == 'a'", "a string in quotes is missing before \"CI) == 'a'\""),
    "two variables": ("env('A', 'B') == 'a'", 'env takes one name in quotes, such as env("NAME")'),
    "no glob": ("changed()", 'changed takes globs in quotes, such as changed("src/**")'),
    "matches without globs": ("matches(ref)", '"," is missing before ")"'),
    "matches of no string": (
        'matches(dirty, "a")',
        'matches compares a string with globs, such as matches(ref, "release/*")',
    ),
    "a glob from the root": (
        'changed("/etc/**")',
        '"/etc/**" is no glob that could mean anything here. One begins at the top of the source and is such '
        'as "docs/**", "*.md" or "**/*.py"',
    ),
    "a glob that climbs": (
        'changed("../a")',
        '"../a" is no glob that could mean anything here. One begins at the top of the source and is such as '
        '"docs/**", "*.md" or "**/*.py"',
    ),
    "stars that do not stand alone": (
        'changed("a**/b")',
        '"a**/b" is no glob that could mean anything here. One begins at the top of the source and is such as '
        '"docs/**", "*.md" or "**/*.py"',
    ),
    "an odd escape": (
        r'ref == "a\n"',
        r'in "a\n" a backslash stands before neither a quote nor a backslash',
    ),
    "a line's end in a string": (
        'ref == "a\nb"',
        "a string holds a character that can't be seen, such as a line's end",
    ),
    "too deep": ("(" * 100 + "dirty" + ")" * 100, "nests more than 30 deep. Write it more simply"),
    "denied too often": ("not " * 100 + "dirty", "nests more than 30 deep. Write it more simply"),
    "too long": ("dirty or " * 200 + "dirty", "has 1805 characters; at most 1000 make a condition"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        conditions.parse(text, KNOWN)

    assert str(error.value) == message


WORDS = st.sampled_from(
    [
        *("ref", "commit", "tag", "subject", "dirty", "param.deploy", "param.count", "matrix.groups", "true"),
        *(
            "and",
            "or",
            "not",
            "in",
            "==",
            "!=",
            "(",
            ")",
            "[",
            "]",
            ",",
            '"main"',
            "'a'",
            '"passed"',
            "1",
            "2.5",
        ),
        *(
            'env("CI")',
            'result("test.unit")',
            'changed("a/**")',
            'changed_only("docs")',
            'matches(ref, "v*")',
        ),
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=12).map(" ".join)))
@example("\\")
@example('"\\')
@example("0" * 400)
@example("1.")
@example("\x00\ud800")
@settings(max_examples=600, deadline=None)
def test_any_text_is_a_condition_that_can_be_decided_or_is_refused(text: str) -> None:
    try:
        node = conditions.parse(text, KNOWN)
    except ConfigError:
        return
    found = values(node)

    if not conditions.evaluate(node, found):
        assert terms.why_false(node, found)


def conditions_with_meaning() -> st.SearchStrategy[tuple[str, bool]]:
    """Conditions, and what they come to by another reckoning: Python's own."""
    facts = st.sampled_from(
        [('ref == "main"', True), ("dirty", False), ('"x" in ref', False), ("true", True)]
    )

    def joined(inner: st.SearchStrategy[tuple[str, bool]]) -> st.SearchStrategy[tuple[str, bool]]:
        return st.one_of(
            inner.map(lambda one: (f"not ({one[0]})", not one[1])),
            st.tuples(inner, inner).map(
                lambda two: (f"({two[0][0]}) and ({two[1][0]})", two[0][1] and two[1][1])
            ),
            st.tuples(inner, inner).map(
                lambda two: (f"({two[0][0]}) or ({two[1][0]})", two[0][1] or two[1][1])
            ),
        )

    return st.recursive(facts, joined, max_leaves=8)


@given(conditions_with_meaning())
@settings(max_examples=200, deadline=None)
def test_a_condition_means_what_it_would_mean_in_python(both: tuple[str, bool]) -> None:
    text, meant = both
    if len(text) > conditions.LONGEST:
        return
    node = conditions.parse(text, {})

    assert conditions.evaluate(node, values(node)) == meant


def test_what_is_asked_for_is_all_of_it() -> None:
    node = conditions.parse(
        'ref == "a" and (env("A") == "b" or not changed("c")) and matches(tag, "v*") and result("test.a") == "failed"',
        {},
    )

    assert isinstance(node, Join)
    assert list(terms.asked(node)) == [
        Fact("ref"),
        Env("A"),
        Changed(("c",), only=False),
        Fact("tag"),
        Result("test.a"),
    ]


REASONS = {
    "the part that is to blame": (
        'not dirty and ref == "topic" and changed("a")',
        'ref == "topic" is false (ref is "main")',
    ),
    "in parentheses": ('(ref == "main" and dirty) and true', "dirty is false"),
    "of two, all": ('dirty or ref == "a"', 'dirty or ref == "a" is false'),
    "a variable is not told": ('env("CI") == "no"', 'env("CI") == "no" is false'),
    "a change": ('changed("services/a/**")', 'changed("services/a/**") is false'),
    "in one line": ('not\n  changed_only("docs/**")', 'not changed_only("docs/**") is false'),
    "a long one": (
        "dirty or " * 20 + "dirty",
        "dirty or dirty or dirty or dirty or dirty or dirty or dirty or dirty or dirty or dirty or dirty or dirty or "
        "dirty or dir… is false",
    ),
    "a glob": ('matches(ref, "v*")', 'matches(ref, "v*") is false (ref is "main")'),
}


@pytest.mark.parametrize(("text", "reason"), REASONS.values(), ids=REASONS)
def test_why_a_condition_does_not_hold(text: str, reason: str) -> None:
    node = conditions.parse(text, KNOWN)

    assert terms.why_false(node, values(node)) == reason


def test_a_tag_is_the_commit_s_own() -> None:
    assert terms.facts(Revision(tag="v1", distance=0))["tag"] == "v1"
    assert terms.facts(Revision(tag="v1", distance=3))["tag"] == ""
    assert terms.facts(None) == {**dict.fromkeys(terms.REVISION, ""), "dirty": False}


CHANGES = {
    "one of them": (("a/**",), False, {"a/x", "b"}, True),
    "none of them": (("a/**",), False, {"b"}, False),
    "nothing at all": (("**",), False, set(), False),
    "nobody knows": (("a/**",), False, None, True),
    "only": (("a/**", "*.md"), True, {"a/x", "c.md"}, True),
    "not only": (("a/**",), True, {"a/x", "b"}, False),
    "only nothing": (("**",), True, set(), False),
    "only, and nobody knows": (("**",), True, None, False),
}


@pytest.mark.parametrize(("meant", "only", "paths", "holds"), CHANGES.values(), ids=CHANGES)
def test_what_counts_as_changed(
    meant: tuple[str, ...], only: bool, paths: set[str] | None, holds: bool
) -> None:
    assert terms.changed(Changed(meant, only), None if paths is None else frozenset(paths)) is holds


FILES = {
    "a file": ("a.md", "a.md", True),
    "a star": ("*.md", "a.md", True),
    "a star stays in its part": ("*.md", "docs/a.md", False),
    "two stars": ("docs/**", "docs/a/b.md", True),
    "two stars are not the directory's sister": ("docs/**", "docs2/a.md", False),
    "two stars may be nothing": ("docs/**/a.md", "docs/a.md", True),
    "two stars first": ("**/*.py", "a.py", True),
    "two stars first, far below": ("**/*.py", "a/b/c.py", True),
    "a directory": ("docs", "docs/a/b.md", True),
    "a directory with a slash": ("docs/", "docs/a", True),
    "a directory's begin": ("doc", "docs/a", False),
    "from here": ("./docs/*", "docs/a", True),
    "a question mark": ("a?", "ab", True),
    "a class": ("[ab].py", "b.py", True),
    "case counts": ("README.md", "readme.md", False),
    "a regular expression is none": ("a.c", "abc", False),
    "stars without end": ("/".join(["**"] * 40) + "/z", "/".join("a" * 60), False),
}


@pytest.mark.parametrize(("glob", "path", "meant"), FILES.values(), ids=FILES)
def test_which_file_a_glob_means(glob: str, path: str, meant: bool) -> None:
    assert globs.means_file(path, [glob]) is meant


def test_a_glob_for_a_name_means_that_name_alone() -> None:
    assert globs.matches("release", ["release"])
    assert not globs.matches("release/1", ["release"])
    assert globs.matches("release/1", ["release/*"])
