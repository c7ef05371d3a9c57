"""A matrix: which variants a section has, what they are called, and what is refused."""

from __future__ import annotations

import itertools
import json
import os
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import matrix
from penstock.matrix import MOST, MatrixFault, Variant


def variants(table: dict[str, Any], **section: Any) -> list[Variant]:
    return matrix.variants("test.unit", {"uses": "pytest", **section, "matrix": table})


def labels(table: dict[str, Any]) -> list[str]:
    return [variant.label for variant in variants(table)]


# --- what comes of it ---

NAMES = {
    "one axis": ({"python": ["3.11", "3.12"]}, ["python=3.11", "python=3.12"]),
    "two, the first the slowest": (
        {"b": [1, 2], "a": ["x", "y"]},
        ["b=1,a=x", "b=1,a=y", "b=2,a=x", "b=2,a=y"],
    ),
    "a variable": ({"env.DJANGO": ["4.2"]}, ["env.DJANGO=4.2"]),
    "numbers and truths": ({"a": [1, 1.5, True, False]}, ["a=1", "a=1.5", "a=true", "a=false"]),
    "lists": ({"args": [["-x"], ["-n", "2"], []]}, ["args=-x", "args=-n+2", "args="]),
    "exclude": (
        {"a": [1, 2], "b": ["x", "y"], "exclude": [{"a": 1, "b": "y"}]},
        ["a=1,b=x", "a=2,b=x", "a=2,b=y"],
    ),
    "exclude by some of the axes": (
        {"a": [1, 2], "b": ["x", "y"], "exclude": [{"b": "y"}]},
        ["a=1,b=x", "a=2,b=x"],
    ),
    "include one more": ({"a": [1], "include": [{"a": 2}]}, ["a=1", "a=2"]),
    "include one that was excluded": (
        {"a": [1, 2], "exclude": [{"a": 2}], "include": [{"a": 2, "retries": 1}]},
        ["a=1", "a=2"],
    ),
    "include in the order of the axes": (
        {"a": [1], "b": [1], "include": [{"b": 2, "a": 3}]},
        ["a=1,b=1", "a=3,b=2"],
    ),
    "include alone": (
        {"include": [{"a": 1, "b": "x", "timeout": 1}, {"b": "y", "a": 2}]},
        ["a=1,b=x", "a=2,b=y"],
    ),
}


@pytest.mark.parametrize(("table", "expected"), NAMES.values(), ids=NAMES.keys())
def test_the_names_of_the_variants(table: dict[str, Any], expected: list[str]) -> None:
    assert labels(table) == expected


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("a/b", "a_b"),
        ("../c", ".._c"),
        ("d e", "d_e"),
        ("ü", "_"),
        (">=4,<5", "__4__5"),
        ("[x]=", "_x__"),
        ("a\0\n", "a__"),
    ],
)
def test_what_a_name_can_not_have_becomes_an_underscore(value: str, word: str) -> None:
    assert labels({"a": [value]}) == [f"a={word}"]


def test_a_variant_is_the_section_with_other_values() -> None:
    table = {
        "python": ["3.11", "3.12"],
        "env.A": ["1"],
        "include": [{"python": "3.12", "allow_failure": True, "env": {"B": "2", "A": "0"}}],
    }

    old, new = variants(table, timeout=5, python="3.9", env={"C": "3"})

    assert old.table == {"uses": "pytest", "timeout": 5, "python": "3.11", "env": {"C": "3", "A": "1"}}
    assert new.table == {
        "uses": "pytest",
        "timeout": 5,
        "python": "3.12",
        "env": {"A": "1", "B": "2"},
        "allow_failure": True,
    }
    assert old.keys == {"python", "env.A"}
    assert new.keys == {"python", "env.A", "env", "allow_failure"}


def test_the_section_itself_is_left_as_it_is() -> None:
    section = {"env": {"A": "0"}, "matrix": {"env.A": ["1", "2"]}}
    before = json.dumps(section)

    matrix.variants("test.unit", section)

    assert json.dumps(section) == before


def test_includes_are_taken_in_their_order() -> None:
    table = {"a": [1], "include": [{"a": 2, "x": 1}, {"a": 2, "x": 2, "y": 3}, {"a": 1, "y": 4}]}

    assert [(v.table.get("x"), v.table.get("y")) for v in variants(table)] == [(None, 4), (2, 3)]


# --- what is refused ---

FAULTS = {
    "no table": (["3.11"], "matrix", "must be a table, such as matrix = {"),
    "nothing": ({}, "matrix", "is empty. It names values, such as"),
    "empty lists": ({"include": [], "exclude": []}, "matrix", "is empty. It names values"),
    "no list": ({"python": "3.11"}, "matrix.python", "must be a list of values, such as"),
    "no value": ({"a": [1], "b": []}, "matrix.b", "is an empty list: there would be no variant"),
    "a table as a value": ({"a": [{"b": 1}]}, "matrix.a", "a value is a string, a number, true or false, or"),
    "a list in a list": ({"a": [[["b"]]]}, "matrix.a", "a value is a string, a number, true or false, or"),
    "a variable without quotes": (
        {"env": {"DJANGO": ["4.2"]}},
        "matrix.env",
        'write the axis of a variable in quotes: "env.DJANGO" = ["…", "…"]',
    ),
    "one value twice": ({"a": ["x", "y", "x"]}, "matrix.a", 'names "x" twice'),
    "the plugin": ({"uses": ["a", "b"]}, "matrix.uses", "can't differ between variants: a section has one"),
    "the plugin in an include": (
        {"a": [1], "include": [{"a": 2, "uses": "b"}]},
        "matrix.include.0.uses",
        "can't differ between variants",
    ),
    "a matrix": (
        {"matrix": [1]},
        "matrix.matrix",
        "can't differ between variants: a matrix has no matrix in",
    ),
    "one name for two": (
        {"a": ["x/y", "x y"]},
        "matrix",
        "two variants would be named test.unit[a=x_y]. In a name every character but letters, digits and "
        ". _ + - becomes _: values have to differ in these",
    ),
    "a number and a string of one name": (
        {"a": [1, "1"]},
        "matrix",
        "two variants would be named test.unit[a=1].",
    ),
    "a long name": ({"a": ["x" * 300]}, "matrix", "the name test.unit[a=xxx"),
    "too many": ({"a": list(range(257))}, "matrix", "has 257 combinations; at most 256 are allowed"),
    "far too many": (
        {f"a{number}": list(range(100)) for number in range(20)},
        "matrix",
        f"has {100**20} combinations; at most 256 are allowed",
    ),
    "too many with those included": (
        {"a": list(range(256)), "include": [{"a": 300}]},
        "matrix",
        "has 257 variants; at most 256 are allowed",
    ),
    "exclude as a table": (
        {"a": [1], "exclude": {"a": 1}},
        "matrix.exclude",
        "must be a list of tables, such as",
    ),
    "exclude all": (
        {"a": [1], "exclude": [{"a": 1}]},
        "matrix",
        "leaves no variant: all of them are excluded",
    ),
    "exclude without an axis": (
        {"include": [{"a": 1}], "exclude": [{"a": 1}]},
        "matrix.exclude.0.a",
        "is no axis.",
    ),
    "exclude by what is no axis": (
        {"a": [1], "exclude": [{"b": 1}]},
        "matrix.exclude.0.b",
        "is no axis. The axes are a",
    ),
    "exclude what is not there": (
        {"a": [1, 2], "exclude": [{"a": 2}, {"a": "1"}]},
        "matrix.exclude.1",
        'excludes nothing: no combination has a = "1"',
    ),
    "exclude a truth for a number": (
        {"a": [1], "exclude": [{"a": True}]},
        "matrix.exclude.0",
        "excludes nothing",
    ),
    "exclude nothing": ({"a": [1], "exclude": [{}]}, "matrix.exclude.0", "is empty"),
    "include as a list of words": (
        {"a": [1], "include": ["b"]},
        "matrix.include",
        "must be a list of tables",
    ),
    "include what is there": (
        {"a": [1], "b": ["x"], "include": [{"a": 1, "b": "x"}]},
        "matrix.include.0",
        'adds nothing: a = 1, b = "x" is there already',
    ),
    "include for all": (
        {"a": [1], "b": [2], "include": [{"retries": 2}]},
        "matrix.include.0",
        "names none of the axes (a, b): what all variants have stands in the section itself",
    ),
    "include a part": (
        {"a": [1], "b": [2], "c": [3], "include": [{"a": 2, "retries": 2}]},
        "matrix.include.0",
        "matches no combination, and to be one of its own it has to name b, c too",
    ),
    "include a table": (
        {"a": [1], "include": [{"a": {}}]},
        "matrix.include.0.a",
        "a value is a string, a number",
    ),
    "include without what they share": (
        {"include": [{"a": 1}, {"b": 2}]},
        "matrix.include",
        "its entries have no key in common that could tell them apart",
    ),
}


@pytest.mark.parametrize(("table", "key", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_wrong_matrix_is_refused_with_the_key(table: Any, key: str, message: str) -> None:
    with pytest.raises(MatrixFault) as caught:
        variants(table)

    assert caught.value.key == key
    assert caught.value.message.startswith(message)


# --- for every matrix ---

KEYS = st.sampled_from(["python", "args", "retries", "fast", "env.A", "env.B"])
SCALARS = st.one_of(st.text(max_size=8), st.integers(-9, 9), st.booleans(), st.sampled_from([0.5, -2.25]))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
AXES = st.dictionaries(
    KEYS, st.lists(VALUES, min_size=1, max_size=4, unique_by=matrix._word), min_size=1, max_size=4
)
"""Of these every matrix has variants: values differ in their words, and there are 256 combinations at most."""


def made(table: dict[str, Any]) -> list[Variant]:
    return variants(table, env={"C": "3"}, timeout=7)


def value_of(variant: Variant, key: str) -> Any:
    first, _, name = key.partition(".")
    return variant.table[first][name] if name else variant.table[first]


@given(AXES)
def test_every_combination_is_there_once_in_order_and_nothing_else(axes: dict[str, list[Any]]) -> None:
    found = made(axes)
    combinations = [tuple(value_of(variant, key) for key in axes) for variant in found]
    assert combinations == list(itertools.product(*axes.values()))
    assert len(found) <= MOST
    for variant in found:
        assert variant.table["timeout"] == 7
        assert variant.table["env"]["C"] == "3"
        assert "matrix" not in variant.table
        assert variant.keys == set(axes)


@given(AXES)
def test_every_name_is_its_own_and_can_name_a_file(axes: dict[str, list[Any]]) -> None:
    names = [f"test.unit[{variant.label}]" for variant in made(axes)]
    assert len({name.lower() for name in names} if os.name == "nt" else set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"test\.unit\[[A-Za-z0-9._+,=-]+\]", name)
        assert len(f"{name}.100.log") <= 255
        assert matrix.base_of(name) == "test.unit"


@given(AXES, st.data())
def test_what_is_excluded_is_gone_and_all_else_stays(axes: dict[str, list[Any]], data: st.DataObject) -> None:
    every = made(axes)
    chosen = data.draw(st.lists(st.sampled_from(sorted(axes)), min_size=1, unique=True))
    entry = {key: data.draw(st.sampled_from(axes[key])) for key in chosen}

    def hit(variant: Variant) -> bool:
        return all(json.dumps(value_of(variant, key)) == json.dumps(value) for key, value in entry.items())

    expected = [variant.label for variant in every if not hit(variant)]
    if not expected:
        with pytest.raises(MatrixFault, match="leaves no variant"):
            made({**axes, "exclude": [entry]})
        return
    assert [variant.label for variant in made({**axes, "exclude": [entry]})] == expected


@given(AXES, st.data())
def test_an_include_that_matches_adds_its_keys_there_and_nowhere_else(
    axes: dict[str, list[Any]], data: st.DataObject
) -> None:
    every = made(axes)
    key = data.draw(st.sampled_from(sorted(axes)))
    value = data.draw(st.sampled_from(axes[key]))

    found = made({**axes, "include": [{key: value, "more": 1}]})

    assert [variant.label for variant in found] == [variant.label for variant in every]
    for variant in found:
        assert ("more" in variant.table) == (json.dumps(value_of(variant, key)) == json.dumps(value))


TOML = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.one_of(TOML, st.dictionaries(st.sampled_from(["include", "exclude", "a", "env", "env.A", ""]), TOML))
)
def test_whatever_it_says_it_has_variants_or_a_fault(table: Any) -> None:
    try:
        found = made(table)
    except MatrixFault as fault:
        found, key = [], fault.key
    assert found or key.split(".")[0] == "matrix"
