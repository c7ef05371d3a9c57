from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import plan
from penstock.config import Keys, Parameter, Policy, Project, Section
from penstock.errors import ConfigError
from penstock.plan import Plan
from penstock.plugins import PHASES

NOTHING = "sha256:" + "0" * 64
_IN_ENVIRONMENT = ("approve", "deploy", "verify")


def section(name: str, **keys: Any) -> Section:
    phase, _, own = name.partition(".")
    made = Keys.model_validate({"uses": "shell", **keys})
    environment = made.environment or (own if phase in _IN_ENVIRONMENT else None)
    return Section(name=name, phase=phase, keys=made, plugin="shell", settings={}, environment=environment)


def project(*sections: Section | str, **more: Any) -> Project:
    """A project whose sections stand in the order in which the configuration hands them over: by phase."""
    made = [entry if isinstance(entry, Section) else section(entry) for entry in ("source", *sections)]
    return Project(
        **{
            "name": "shop",
            "root": "/shop",
            "digest": NOTHING,
            "plugins": ("shell",),
            "sections": tuple(sorted(made, key=lambda s: PHASES.index(s.phase))),
            **more,
        }
    )


def make(*sections: Section | str, **more: Any) -> Plan:
    return plan.make(project(*sections, **more), {"shell": "0.1"})


def ancestors(made: Plan, name: str) -> set[str]:
    """The steps that a step waits for, however far back."""
    return (made.closure([name], made.waits_for) - {name}) & set(made.by_name)


def parents(made: Plan, name: str) -> set[str]:
    """The steps that a step waits for and that no other one of them waits for."""
    found: set[str] = set()
    queue = list(made.waits_for[name])
    while queue:
        need = queue.pop()
        if need in made.by_name:
            found.add(need)
        else:
            queue.extend(made.waits_for[need])
    return found.difference(*(ancestors(made, name) for name in found))


WHOLE = (
    *("build.a", "build.b", "test.unit", "test.style", "scan.code", "sign.it", "publish.it"),
    *("deploy.staging", "deploy.live", "approve.live", "verify.staging", "verify.live"),
)

ORDER = {
    "every phase": (
        WHOLE,
        {
            "source": set(),
            "build.a": {"source"},
            "build.b": {"source"},
            "test.unit": {"build.a", "build.b"},
            "scan.code": {"build.a", "build.b"},
            "sign.it": {"test.unit", "test.style", "scan.code"},
            "publish.it": {"sign.it"},
            "deploy.staging": {"publish.it"},
            "verify.staging": {"deploy.staging"},
            "approve.live": {"verify.staging"},
            "deploy.live": {"approve.live"},
            "verify.live": {"deploy.live"},
        },
    ),
    "phases left out": (
        ("build.a", "publish.it", "deploy.live"),
        {"publish.it": {"build.a"}, "deploy.live": {"publish.it"}},
    ),
    "a test and nothing else": (("test.unit",), {"test.unit": {"source"}}),
    "two environments without verify": (
        ("build.a", "deploy.one", "deploy.two", "approve.one", "approve.two"),
        {"approve.one": {"build.a"}, "deploy.one": {"approve.one"}, "approve.two": {"deploy.one"}},
    ),
    "environments in the order of their deploy sections": (
        ("build.a", "deploy.two", "deploy.one", "verify.one", "verify.two", "approve.one", "approve.two"),
        {"approve.two": {"build.a"}, "verify.two": {"deploy.two"}, "approve.one": {"verify.two"}},
    ),
    "a test of an environment": (
        (
            *("build.a", "test.unit", "deploy.staging", "verify.staging", "deploy.live"),
            section("test.e2e", environment="staging"),
            section("scan.live", environment="staging"),
        ),
        {
            "deploy.staging": {"test.unit"},
            "test.e2e": {"verify.staging"},
            "scan.live": {"verify.staging"},
            "deploy.live": {"test.e2e", "scan.live"},
        },
    ),
    "two deploy steps for one environment": (
        (
            *("build.a", "approve.live", "verify.live"),
            section("deploy.web", environment="live"),
            section("deploy.api", environment="live"),
        ),
        {
            "deploy.web": {"approve.live"},
            "deploy.api": {"approve.live"},
            "verify.live": {"deploy.web", "deploy.api"},
        },
    ),
    "needs within a phase": (
        ("build.a", section("build.b", needs=["build.a"]), "test.unit"),
        {"build.b": {"build.a"}, "test.unit": {"build.b"}},
    ),
    "needs instead of the default": (
        ("build.a", "build.b", section("test.a", needs=["build.a"]), "test.b"),
        {"test.a": {"build.a"}, "test.b": {"build.a", "build.b"}},
    ),
    "needs of a later phase move a step there": (
        ("build.a", "test.unit", section("build.docs", needs=["test.unit"]), "test.b", "sign.it"),
        {
            "test.unit": {"build.a"},
            "test.b": {"build.a"},
            "build.docs": {"test.unit"},
            "sign.it": {"test.b", "build.docs"},
        },
    ),
    "a test that needs a deployment belongs behind it": (
        (
            *("build.a", "test.unit", "deploy.staging", "verify.staging", "deploy.live"),
            section("test.smoke", needs=["deploy.staging"]),
        ),
        {
            "test.smoke": {"deploy.staging"},
            "deploy.staging": {"test.unit"},
            "deploy.live": {"test.smoke", "verify.staging"},
        },
    ),
    "no needs at all: only the source, which every step starts from": (
        ("build.a", section("test.style", needs=[]), "sign.it"),
        {"test.style": {"source"}, "sign.it": {"build.a", "test.style"}},
    ),
    "needs that are named twice": (
        ("build.a", section("test.unit", needs=["build.a", "build.a"])),
        {"test.unit": {"build.a"}},
    ),
}


@pytest.mark.parametrize(("sections", "wanted"), ORDER.values(), ids=ORDER.keys())
def test_the_order(sections: tuple[Section | str, ...], wanted: Mapping[str, set[str]]) -> None:
    made = make(*sections)

    assert {name: parents(made, name) for name in wanted} == dict(wanted)


def test_why_each_edge_is_there() -> None:
    made = make(
        "build.a",
        section("test.unit", needs=["build.a"]),
        section("scan.code", needs=[]),
        "deploy.live",
        policies={"live": Policy(require=("test.unit",))},
    )

    assert {step.name: [(need.on, need.why) for need in step.needs] for step in made.steps} == {
        "source": [],
        "build.a": [("after source (source)", "default order: build comes after")],
        "test.unit": [("build.a", "needs")],
        "scan.code": [("after source (source)", "every step starts from the source")],
        "deploy.live": [
            ("after test and scan (test.unit, …)", "default order: deploy comes after"),
            ("test.unit", "policy.live"),
        ],
    }


# --- what the policy asks for ---


def policy(*sections: Section | str, require: tuple[str, ...] | None = None) -> plan.PlanStep:
    policies = {} if require is None else {"live": Policy(require=require)}
    return make(*sections, "deploy.live", policies=policies).by_name["deploy.live"]


FULL = ("build.a", "test.unit", "test.style", "scan.code", "sign.it", "approve.live")

POLICY = {
    "default": (FULL, None, ("provenance", "test.unit", "test.style", "scan.code", "signature", "approval")),
    "default of little": (("build.a",), None, ("provenance",)),
    "default of nothing": ((), None, ()),
    "default leaves out what may fail": (
        ("build.a", "test.unit", section("test.flaky", allow_failure=True)),
        None,
        ("provenance", "test.unit"),
    ),
    "default leaves out what comes later": (
        ("build.a", "test.unit", section("test.after", environment="live")),
        None,
        ("provenance", "test.unit"),
    ),
    "default of another environment's approval": (
        ("build.a", "deploy.other", "approve.other"),
        None,
        ("provenance",),
    ),
    "provenance": (FULL, ("provenance",), ("provenance", "signature", "approval")),
    "provenance that nothing makes": ((), ("provenance",), ("provenance",)),
    "tests": (FULL, ("tests",), ("test.unit", "test.style", "signature", "approval")),
    "scan": (FULL, ("scan",), ("scan.code", "signature", "approval")),
    "one test, and it may fail": (
        ("build.a", section("test.flaky", allow_failure=True)),
        ("test.flaky",),
        ("test.flaky",),
    ),
    "all and twice": (
        FULL,
        ("tests", "test.unit", "approval", "signature"),
        ("test.unit", "test.style", "approval", "signature"),
    ),
    "nothing but the steps that are there": (FULL, (), ("signature", "approval")),
    "a verification of the environment before": (
        ("build.a", "deploy.staging", "verify.staging"),
        ("verify.staging",),
        ("verify.staging",),
    ),
}


@pytest.mark.parametrize(("sections", "require", "wanted"), POLICY.values(), ids=POLICY.keys())
def test_what_a_policy_requires(
    sections: tuple[Section | str, ...], require: tuple[str, ...] | None, wanted: tuple[str, ...]
) -> None:
    step = policy(*sections, require=require)

    assert step.requires == wanted
    assert step.policy == ("the default policy" if require is None else "policy.live")


def test_a_deployment_waits_for_the_evidence_that_its_policy_requires() -> None:
    made = make(*FULL, section("deploy.live", needs=["build.a"]))

    assert ancestors(made, "deploy.live") == {"source", *FULL}


def test_a_deployment_waits_for_signature_and_approval_whatever_its_policy_and_needs_say() -> None:
    made = make(*FULL, section("deploy.live", needs=["build.a"]), policies={"live": Policy(require=())})

    assert {"sign.it", "approve.live"} <= ancestors(made, "deploy.live")


def test_a_deployment_with_a_policy_of_nothing_waits_for_what_it_needs_only() -> None:
    deploy = section("deploy.live", needs=["build.a"])
    made = make("build.a", "test.unit", deploy, policies={"live": Policy(require=())})

    assert ancestors(made, "deploy.live") == {"source", "build.a"}


# --- faults ---

FAULTS = {
    "a need of nothing": (
        ("build.a", section("test.unit", needs=["biuld.a"])),
        {},
        '[test.unit] needs: there is no step "biuld.a". Did you mean "build.a"?',
    ),
    "a need of nothing near": (
        ("build.a", section("test.unit", needs=["zzzzzz"])),
        {},
        '[test.unit] needs: there is no step "zzzzzz". The steps are source, build.a, test.unit',
    ),
    "a step that needs itself": (
        (section("build.a", needs=["build.a"]),),
        {},
        "[build.a] needs: the step names itself. Leave it out",
    ),
    "a cycle": (
        (
            section("build.a", needs=["build.c"]),
            section("build.b", needs=["build.a"]),
            section("build.c", needs=["build.b"]),
            section("build.d", needs=["build.a"]),
        ),
        {},
        "[build.a] needs: these steps wait for each other: build.a → build.c → build.b → build.a. "
        "Take one of the needs out",
    ),
    "a cycle that is come upon from outside": (
        (
            section("build.a", needs=["build.b"]),
            section("build.b", needs=["build.c"]),
            section("build.c", needs=["build.b"]),
        ),
        {},
        "[build.b] needs: these steps wait for each other: build.b → build.c → build.b. Take one of the needs out",
    ),
    "an approval of nothing": (
        ("build.a", "approve.live"),
        {},
        "[approve.live] there is no [deploy.live] for it to approve. "
        "Add one, or name another with environment",
    ),
    "a policy of nothing": (
        ("build.a",),
        {"live": Policy(require=())},
        "[policy.live] there is no [deploy.live] that it could guard",
    ),
    "no such requirement": (
        ("build.a", "test.unit", "deploy.live"),
        {"live": Policy(require=("test.unti",))},
        '[policy.live] require: "test.unti" is no test, scan or verify step that comes before deploy.live. '
        'Did you mean "test.unit"? Entries are "provenance", "tests", "scan", "approval", "signature", "test.unit"',
    ),
    "a requirement that comes later": (
        ("build.a", "deploy.live", "verify.live"),
        {"live": Policy(require=("verify.live",))},
        '[policy.live] require: "verify.live" is no test, scan or verify step that comes before deploy.live. '
        'Entries are "provenance", "tests", "scan", "approval", "signature"',
    ),
    "no tests": (
        ("build.a", "deploy.live"),
        {"live": Policy(require=("tests",))},
        '[policy.live] require: "tests" is asked for, but no test step that must pass comes before. '
        'Add one, or take "tests" out',
    ),
    "tests that may all fail": (
        ("build.a", section("test.flaky", allow_failure=True), "deploy.live"),
        {"live": Policy(require=("tests",))},
        '[policy.live] require: "tests" is asked for, but no test step that must pass comes before. '
        'Add one, or take "tests" out',
    ),
    "no approval": (
        ("build.a", "deploy.live", "deploy.other", "approve.other"),
        {"live": Policy(require=("approval",))},
        '[policy.live] require: "approval" is asked for, but no approve step comes before. '
        'Add one, or take "approval" out',
    ),
    "no signature": (
        ("build.a", "deploy.live"),
        {"live": Policy(require=("signature",))},
        '[policy.live] require: "signature" is asked for, but no sign step comes before. '
        'Add one, or take "signature" out',
    ),
}


@pytest.mark.parametrize(("sections", "policies", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_plan_that_can_not_be(
    sections: tuple[Section | str, ...], policies: dict[str, Policy], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(*sections, policies=policies)

    error = caught.value
    assert f"[{error.section}] {error.key and error.key + ': '}{error}" == message


# --- the digest ---


def test_the_digest_is_the_same_for_the_same_project_and_after_a_trip_through_json() -> None:
    made = make(*WHOLE)

    assert made.digest == make(*WHOLE).digest
    assert Plan.model_validate_json(made.model_dump_json()).digest == made.digest
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_a_batch_of_all_is_not_one_target_after_a_trip_through_json() -> None:
    made = make("build.a", section("deploy.live", rollout={"strategy": "rolling", "batch": "100%"}))

    back = Plan.model_validate_json(made.model_dump_json()).by_name["deploy.live"].keys.rollout

    assert isinstance(back.batch, float)


CHANGES: dict[str, Plan] = {
    "file": make(*WHOLE, digest="sha256:" + "1" * 64),
    "name": make(*WHOLE, name="depot"),
    "setting": make(*WHOLE[1:], section("build.a")._replace(settings={"level": 2})),
    "timeout": make(*WHOLE[1:], section("build.a", timeout=3)),
    "needs": make(*WHOLE[1:], section("build.a", needs=["build.b"])),
    "policy": make(*WHOLE, policies={"live": Policy(require=("tests",))}),
    "role": make(*WHOLE, roles={"managers": ("ana",)}),
    "a step less": make(*WHOLE[1:]),
    "plugin's version": plan.make(project(*WHOLE), {"shell": "0.2"}),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES.keys())
def test_another_configuration_has_another_digest(changed: Plan) -> None:
    assert changed.digest != make(*WHOLE).digest


# --- for every project ---


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """A project with any steps; needs lead to steps that were drawn earlier, so that there is no cycle."""
    environments = draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3))
    names = [f"deploy.{name}" for name in environments]
    names += draw(
        st.lists(
            st.sampled_from(
                [f"{phase}.{n}" for phase in ("build", "test", "scan", "sign", "publish") for n in "xyz"]
                + [f"{phase}.{name}" for phase in ("approve", "verify") for name in environments]
            ),
            unique=True,
            max_size=18,
        )
    )
    names = draw(st.permutations(names))
    sections = []
    for place, name in enumerate(names):
        keys: dict[str, Any] = {"allow_failure": draw(st.booleans())}
        if draw(st.integers(0, 3)) == 0:
            keys["needs"] = draw(st.lists(st.sampled_from(["source", *names[:place]]), max_size=3))
        if name.startswith(("test", "scan")) and environments and draw(st.integers(0, 3)) == 0:
            keys["environment"] = draw(st.sampled_from(environments))
        sections.append(section(name, **keys))
    return project(*sections)


@given(projects())
@settings(max_examples=300, deadline=None)
def test_every_step_comes_after_all_that_it_waits_for(made_of: Project) -> None:
    made = plan.make(made_of, {})

    place = {step.name: index for index, step in enumerate(made.steps)}
    assert set(place) == {entry.name for entry in made_of.sections}
    for step in made.steps:
        for before in ancestors(made, step.name):
            assert place[before] < place[step.name]


@given(projects())
@settings(max_examples=200, deadline=None)
def test_every_step_starts_from_the_source(made_of: Project) -> None:
    made = plan.make(made_of, {})

    assert all("source" in ancestors(made, step.name) for step in made.steps if step.name != "source")


@given(projects())
@settings(max_examples=200, deadline=None)
def test_a_step_without_needs_waits_for_every_step_of_an_earlier_phase(made_of: Project) -> None:
    made = plan.make(made_of, {})
    keys = {entry.name: entry.keys for entry in made_of.sections}
    early = ("source", "build", "test", "sign", "publish")

    for step in made.steps:
        if keys[step.name].needs is None and step.phase in early and step.environment is None:
            earlier = early[: early.index(step.phase)]
            must = {
                other.name
                for other in made.steps
                if other.phase in earlier and other.environment is None and keys[other.name].needs is None
            }
            assert must <= ancestors(made, step.name)


@given(projects())
@settings(max_examples=200, deadline=None)
def test_what_a_deployment_requires_comes_before_it(made_of: Project) -> None:
    made = plan.make(made_of, {})

    for step in made.steps:
        if step.phase == "deploy":
            before = ancestors(made, step.name)
            assert {name for name in step.requires if name in made.by_name} <= before
            phases = {(made.by_name[name].phase, made.by_name[name].environment) for name in before}
            assert "approval" not in step.requires or ("approve", step.environment) in phases
            assert "signature" not in step.requires or ("sign", None) in phases


@given(projects())
@settings(max_examples=200, deadline=None)
def test_dependents_are_the_edges_the_other_way_round(made_of: Project) -> None:
    made = plan.make(made_of, {})

    forward = {(need, name) for name, needs in made.waits_for.items() for need in needs}
    assert forward == {(name, next_) for name, nexts in made.dependents.items() for next_ in nexts}


def edges(made: Plan) -> int:
    return sum(len(needs) for needs in made.waits_for.values())


def test_edges_grow_with_the_steps_and_not_with_their_product() -> None:
    names = [f"{phase}.s{number}" for phase in ("build", "test", "scan", "publish") for number in range(500)]
    made = make(*names, "sign.it", "deploy.staging", "deploy.live")

    assert len(made.steps) == 2004
    # Each step has an edge to a barrier and one from it; a deployment one for each test that it requires.
    assert edges(made) <= 2 * 2004 + 2 * 1001


def test_a_plan_of_a_chain_of_ten_thousand_steps() -> None:
    names = [f"build.s{number}" for number in range(10_000)]
    chain = [section(name, needs=[before]) for before, name in zip(["source", *names], names, strict=False)]

    made = make(*reversed(chain))

    assert [step.name for step in made.steps] == ["source", *names]


# --- variants ---

PYTHONS = ("3.11", "3.12", "3.13")


def variants(name: str, **keys: Any) -> list[Section]:
    return [section(f"{name}[python={python}]", **keys) for python in PYTHONS]


def test_who_needs_a_section_needs_all_its_variants() -> None:
    made_of = make(*variants("test.unit"), section("test.report", needs=["test.unit"]), "sign.it")

    assert parents(made_of, "test.report") == {f"test.unit[python={python}]" for python in PYTHONS}
    assert [step.name for step in made_of.steps][-2:] == ["test.report", "sign.it"]
    assert made_of.by_name["test.report"].needs[0].on == "all of test.unit"


def test_who_needs_a_variant_needs_that_one() -> None:
    made_of = make(*variants("build.wheel"), section("test.unit", needs=["build.wheel[python=3.12]"]))

    assert parents(made_of, "test.unit") == {"build.wheel[python=3.12]"}


def test_a_name_means_a_step_or_all_variants_of_a_section() -> None:
    made_of = make(*variants("test.unit"), "test.style")

    assert made_of.named("test.unit") == tuple(f"test.unit[python={python}]" for python in PYTHONS)
    assert made_of.named("test.unit[python=3.12]") == ("test.unit[python=3.12]",)
    assert made_of.named("test.style") == ("test.style",)
    assert made_of.named("test.uni") == ()
    assert made_of.named("test.unit[python=3.9]") == ()


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("test.unit", {f"test.unit[python={python}]" for python in PYTHONS}),
        ("test.unit[python=3.12]", {"test.unit[python=3.12]"}),
        ("tests", {"test.unit[python=3.11]", "test.unit[python=3.12]", "test.style"}),
    ],
)
def test_a_policy_names_a_section_or_a_variant(entry: str, wanted: set[str]) -> None:
    *units, last = variants("test.unit")
    may_fail = last._replace(keys=Keys(uses="shell", allow_failure=True))

    made_of = make(
        "build.a", *units, may_fail, "test.style", "deploy.live", policies={"live": Policy(require=(entry,))}
    )

    assert set(made_of.by_name["deploy.live"].requires) == wanted
    assert wanted <= ancestors(made_of, "deploy.live")


def test_variants_that_wait_for_themselves() -> None:
    with pytest.raises(ConfigError, match=r"^the step names itself\. Leave it out$"):
        make(*variants("test.unit", needs=["test.unit"]))


def test_a_variant_that_there_is_not_is_named_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r'no step "build.wheel\[python=3.1\]". Did you mean "build.wheel\[python='
    ):
        make(*variants("build.wheel"), section("test.unit", needs=["build.wheel[python=3.1]"]))


def test_edges_between_variants_grow_with_them_and_not_with_their_product() -> None:
    many = [section(f"test.a[n={n}]") for n in range(200)]
    more = [section(f"test.b[n={n}]", needs=["test.a"]) for n in range(200)]

    made_of = make(*many, *more, "sign.it")

    assert sum(len(needs) for needs in made_of.waits_for.values()) < 5 * len(made_of.steps)
    assert {step.name for step in many} <= ancestors(made_of, "test.b[n=7]")


# --- conditions ---


def test_a_plan_knows_what_a_policy_stands_for_where_a_condition_may_leave_some_out() -> None:
    sections = ("build.a", section("test.a", when="dirty"), "test.b", "scan.c", "deploy.live")
    policy = {"live": Policy(require=("tests", "scan", "test.a"))}

    by_default, by_policy = make(*sections), make(*sections, policies=policy)

    assert by_default.by_name["deploy.live"].groups == {"tests": ("test.a", "test.b")}
    assert by_default.by_name["deploy.live"].named == ()
    assert by_policy.by_name["deploy.live"].groups == {"tests": ("test.a", "test.b")}
    assert by_policy.by_name["deploy.live"].named == ("test.a",)
    assert make("build.a", "test.a", "deploy.live").by_name["deploy.live"].groups == {}


def test_a_condition_may_ask_for_any_step_that_is_over_by_then() -> None:
    made = make("build.a", "test.a", section("sign.it", when='result("build.a") == "passed"'))

    assert list(made.conditions) == ["sign.it"]


def test_parameters_are_part_of_the_plan() -> None:
    declared = {"size": Parameter(default=1), "fast": Parameter(default=False)}

    by_default = make("build.a", parameters=declared)
    given = plan.make(project("build.a", parameters=declared), {"shell": "0.1"}, {"size": 2, "fast": True})

    assert by_default.parameters == {"size": 1, "fast": False}
    assert given.parameters == {"size": 2, "fast": True}
    assert given.digest != by_default.digest
    assert Plan.model_validate_json(given.canonical) == given
    assert [type(value) for value in Plan.model_validate_json(given.canonical).parameters.values()] == [
        bool,
        int,
    ]
