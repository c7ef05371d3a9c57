from __future__ import annotations

import json
from datetime import date
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from penstock import cachekey
from penstock.cachekey import Files, Unusable, differences, digest_of, files_changed, files_of, parts_of
from penstock.keys import Keys
from penstock.model import Artifact, Revision, Tool
from penstock.plan import PlanStep
from penstock.quarantine import Quarantine

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
NAMED = st.text("abc.=:\"',{}[] \udc80", min_size=1, max_size=4)
DIGEST = st.integers(0, 3).map(lambda number: f"sha256:{number:064x}")
VALUE = st.none() | st.booleans() | TEXT | st.lists(TEXT, max_size=3)
TABLE = st.dictionaries(TEXT, TEXT, max_size=3)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["test.a", "test.b", "test.a[py=3.11]"]),
    "phase": st.sampled_from(["build", "test", "scan"]),
    "settings": st.dictionaries(TEXT, VALUE, max_size=3),
    "kept": st.lists(st.sampled_from(["a", "b", "dist/*"]), max_size=2).map(tuple),
    "own_env": st.dictionaries(st.sampled_from(["A", "B"]), TEXT, max_size=2),
    "secrets": st.dictionaries(
        st.sampled_from(["A", "B"]), st.sampled_from(["env:A", "env:B", "file:x"]), max_size=2
    ),
    "artifacts": st.lists(
        st.builds(
            Artifact,
            name=TEXT,
            kind=st.sampled_from(["wheel", "file"]),
            digest=DIGEST,
            size=st.integers(0, 2),
            digests=TABLE,
        ),
        max_size=3,
    ),
    "files": DIGEST,
    "env": st.dictionaries(st.sampled_from(["LANG", "TZ"]), st.none() | TEXT, max_size=2),
    "tools": st.lists(
        st.builds(Tool, name=TEXT, version=TEXT, path=TEXT, sha256=st.none() | TEXT), max_size=3
    ),
    "plugin": st.fixed_dictionaries({"shell": TEXT, "code": TEXT}),
    "machine": st.fixed_dictionaries({"Python": TEXT, "system": TEXT}),
    "dirty": st.booleans(),
}
CASE = st.fixed_dictionaries(FIELDS)


def parts(case: dict[str, Any]) -> cachekey.Parts:
    keys = Keys(cache=True, artifacts=case["kept"], env=case["own_env"], secrets=case["secrets"])
    step = PlanStep(
        name=case["name"], phase=case["phase"], uses="shell", settings=case["settings"], keys=keys
    )
    more = {name: case[name] for name in ("files", "env", "tools", "plugin", "machine", "dirty")}
    return parts_of(step, cachekey.artifacts_part(case["artifacts"]), **more)


def key(case: dict[str, Any]) -> str:
    return digest_of(parts(case))


@given(CASE, st.sampled_from(sorted(FIELDS)), st.data())
def test_a_change_of_any_one_part_changes_the_key(
    case: dict[str, Any], field: str, data: st.DataObject
) -> None:
    other = {**case, field: data.draw(FIELDS[field])}
    assume(other[field] != case[field])

    assert key(other) != key(case)


@given(CASE, CASE)
def test_two_cases_have_one_key_only_where_they_are_the_same(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    assert (key(one) == key(two)) == (one == two)


@given(CASE)
def test_the_order_of_settings_and_variables_does_not_change_the_key(case: dict[str, Any]) -> None:
    turned = {
        **case,
        "settings": dict(reversed(case["settings"].items())),
        "env": dict(reversed(case["env"].items())),
        "own_env": dict(reversed(case["own_env"].items())),
    }

    assert key(turned) == key(case)


@given(CASE, st.sampled_from(sorted(FIELDS)), st.data())
def test_what_is_on_record_tells_every_difference(
    case: dict[str, Any], field: str, data: st.DataObject
) -> None:
    other = {**case, field: data.draw(FIELDS[field])}
    before, now = parts(case), parts(other)
    same = digest_of(before) == digest_of(now)
    was, is_ = cachekey.recorded(before), cachekey.recorded(now)

    # The files have a list of their own.
    assert bool(differences(was, is_) or was["source.files"] != is_["source.files"]) != same
    assert differences(was, was) == []


@given(CASE, st.builds(Revision, commit=st.none() | TEXT, tag=st.none() | TEXT, distance=st.integers(0, 2)))
def test_a_result_for_one_revision_has_a_key_that_no_other_has(
    case: dict[str, Any], revision: Revision
) -> None:
    other = revision.model_copy(update={"tag": f"{revision.tag}-"})
    base = parts(case)
    bound = digest_of(cachekey.with_revision(base, revision))

    assert len({digest_of(base), bound, digest_of(cachekey.with_revision(base, other))}) == 3
    # What was left out of it, and the snapshot, are no facts about it: the files have their own part.
    same = revision.model_copy(update={"left_out": ("x",), "snapshot": f"sha256:{1:064x}", "notes": ("y",)})
    assert digest_of(cachekey.with_revision(base, same)) == bound


def test_values_of_the_environment_are_not_on_record() -> None:
    step = PlanStep(name="test.a", phase="test", uses="shell", keys=Keys(env={"OWN": "hunter2"}))
    made = parts_of(step, {}, "", {"TOKEN": "swordfish"}, (), {}, {}, dirty=False)

    assert not {"hunter2", "swordfish"} & set(json.dumps(cachekey.recorded(made)).split('"'))


def test_of_many_artifacts_each_one_and_their_order_count() -> None:
    many = [Artifact(name=str(n), kind="file", digest=f"sha256:{n:064x}") for n in range(100)]
    other = [*many[:-1], many[-1].model_copy(update={"kind": "wheel"})]

    made = [cachekey.artifacts_part(found) for found in (many, other, many[::-1], many[:-1])]

    assert len({digest_of(part) for part in made}) == 4
    assert [len(part) for part in made] == [1, 1, 1, 1]


COUNTED = {"uses", "env", "secrets", "artifacts", "services", "inside"}
WITHOUT_EFFECT = {
    *("needs", "timeout", "retries", "matrix", "cache", "environment", "allow_failure", "rollout"),
    *("when", "labels"),  # whether it runs, and where: what is there counts by itself
}


def test_of_every_key_of_a_section_it_is_decided_whether_it_counts() -> None:
    """Whoever adds a key that a result depends on has to put it into `parts_of`."""
    assert set(Keys.model_fields) == COUNTED | WITHOUT_EFFECT


def test_the_parameters_of_the_run_count_and_so_does_who_is_in_quarantine() -> None:
    plain = PlanStep(name="test.a", phase="test", uses="shell")
    until = Quarantine(test="t", why="w", until=date(2099, 1, 1))
    keys = {
        cachekey.digest_of(parts_of(step, {}, "", {}, (), {}, {}, dirty=False, parameters=parameters))
        for step in (plain, plain.model_copy(update={"quarantine": (until,)}))
        for parameters in ({}, {"size": "small"}, {"size": "large"}, {"size": 1}, {"size": True})
    }

    assert len(keys) == 10


# --- files ---

LINK = st.sampled_from(["a", "b", "d", "../a", "d/x", "nowhere", "x", "./", ".."])
ENTRY = st.one_of(
    st.fixed_dictionaries(
        {"sha256": st.sampled_from("12"), "size": st.just(1), "exec": st.sampled_from([0, 1])}
    ),
    st.fixed_dictionaries({"link": LINK}),
    st.just({"dir": 1}),
)
TREE = st.dictionaries(st.sampled_from(["a", "b", "d/x", "d/y", "\udc80"]), ENTRY).map(
    lambda found: [{"path": path, **entry} for path, entry in found.items()]
)


@given(TREE, TREE)
def test_two_trees_have_one_digest_only_where_they_are_the_same(one: list[Any], two: list[Any]) -> None:
    first, second = files_of(one, ["**"]) if one else None, files_of(two, ["**"]) if two else None
    assume(isinstance(first, Files) and isinstance(second, Files))
    assert isinstance(first, Files)
    assert isinstance(second, Files)
    same = {entry["path"]: entry for entry in one} == {entry["path"]: entry for entry in two}

    assert (first.digest == second.digest) == same


@given(NAMED, NAMED, NAMED, NAMED)
def test_no_name_can_pass_for_another_files_content(a: str, b: str, c: str, d: str) -> None:
    one = cachekey.canonical(cachekey.listed([{"path": a, "link": b}]))
    two = cachekey.canonical(cachekey.listed([{"path": c, "link": d}]))

    assert (one == two) == ((a, b) == (c, d))
    as_file = cachekey.canonical(cachekey.listed([{"path": a, "sha256": b, "exec": 0}]))
    assert as_file != one


def a_file(path: str, content: str = "1", program: int = 0) -> dict[str, str | int]:
    return {"path": path, "sha256": content, "size": 1, "exec": program}


def names(found: Files | Unusable) -> list[str]:
    assert isinstance(found, Files)
    assert found.listing is not None
    return [entry[0] for entry in json.loads(found.listing)]


def test_only_files_that_match_count() -> None:
    tree = [a_file("src/a.py"), a_file("README")]
    other = [a_file("src/a.py"), a_file("README", "2")]

    assert files_of(tree, ["src/**"]) == files_of(other, ["src/**"])
    assert files_of(tree, ["**"]) != files_of(other, ["**"])


def test_mode_name_and_content_of_a_file_count() -> None:
    found = {
        files_of([entry], ["**"])
        for entry in (
            a_file("a"),
            a_file("b"),
            a_file("a", "2"),
            a_file("a", program=1),
            {"path": "a", "link": "1"},
        )
    }

    assert len(found) == 5


def test_what_a_link_leads_to_counts_with_what_is_on_the_way() -> None:
    tree: list[dict[str, str | int]] = [
        {"path": "src/data", "link": "../shared/now"},
        {"path": "shared/now", "link": "v2"},
        a_file("shared/v2/x"),
        {"path": "shared/v2/y", "link": "../../far"},
        a_file("far"),
        a_file("other"),
    ]

    assert names(files_of(tree, ["src/**"])) == [
        "far",
        "shared/now",
        "shared/v2/x",
        "shared/v2/y",
        "src/data",
    ]


def test_a_link_in_a_circle_or_to_nothing_counts_as_it_is() -> None:
    tree = [{"path": "a", "link": "b"}, {"path": "b", "link": "a"}, {"path": "c", "link": "nowhere"}]

    assert names(files_of(tree, ["a", "c"])) == ["a", "b", "c"]


def test_a_link_out_of_the_source_can_not_be_compared() -> None:
    for target in ("/etc/hosts", "../up", "d/../../up"):
        tree: list[dict[str, str | int]] = [{"path": "a", "link": target}]
        assert files_of(tree, ["a"]) == Unusable('inputs: "a" is a link that leads out of the source')


def test_a_pattern_without_a_file_can_not_be_compared() -> None:
    assert files_of([a_file("a")], ["a", "srcc/**"]) == Unusable(
        'inputs: "srcc/**" matches no file of the source'
    )


def test_changed_files_are_named() -> None:
    before, now = [["a", "file", "1"], ["b", "file", "1"]], [["b", "program", "1"], ["c", "file", "1"]]

    assert files_changed(before, now) == ["a", "b", "c"]
    assert cachekey.in_words(["a", "b", "c"]) == "changed: a (+2 more)"


def test_differences_are_in_words() -> None:
    before = {
        "settings.run": "1",
        "settings.cwd": "1",
        "tools.trivy": "0.76 aa",
        "tools.sh": " aa",
        "artifacts.app.whl": "wheel aa",
        "machine.Python": "CPython 3.11.2",
        "plugin.shell": "0.1.0",
        "plugin.code": "a",
        "source.files": "a",
        "env.LANG": "1",
    }
    now = {
        "settings.run": "2",
        "settings.cwd": "2",
        "tools.trivy": "0.77 ab",
        "tools.sh": " ab",
        "artifacts.app.whl": "wheel ab",
        "machine.Python": "CPython 3.12.0",
        "plugin.shell": "0.2.0",
        "plugin.code": "b",
        "source.files": "b",
        "env.LANG": "2",
    }

    assert differences(before, now) == [
        "settings: run, cwd",
        "tool trivy 0.76 → 0.77",
        "tool sh: other bytes of the same version",
        "artifact app.whl is another one",
        "Python CPython 3.11.2 → CPython 3.12.0",
        "shell 0.1.0 → 0.2.0",
        "the plugin's code",
        "env: LANG",
    ]
