"""Project → Plan: the steps as a directed acyclic graph, and why each edge is there. Pure.

A step with no `needs` waits for all steps of the nearest earlier stage that has any. The stages, in order:
source, build, test and scan side by side, sign, publish, and then for each environment, in the order of
the deploy sections: approve, deploy, verify, and what is tested there. Between stages stands a barrier, a
node of its own, so that the edges grow with the steps and not with their product; and one stands for all
variants of a section with a matrix, where a step needs them all.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from penstock import beside
from penstock.beside import Beside
from penstock.config import Keys, Project
from penstock.edges import Barrier, Need, barriers_of, needs_of
from penstock.errors import ConfigError, did_you_mean
from penstock.inhouse import PluginFile
from penstock.matrix import base_of
from penstock.model import Digest, Model, sha256_of
from penstock.observe import Observe
from penstock.parameters import Given, effective
from penstock.quarantine import Quarantine, of_step
from penstock.stages import (
    check_cached,
    check_inside,
    check_judges,
    check_needs,
    check_results,
    meant_by,
    stages_of,
)

if TYPE_CHECKING:
    from penstock.terms import Node

_TESTS = ("test", "scan")
_DEFAULT = ("provenance", "tests", "scan", "signature", "approval")
_ENTRIES = ("provenance", "tests", "scan", "approval", "signature")
"""What `require` may ask for beside steps."""
_NAMED = 12  # names in one message
DEFAULT_POLICY = "the default policy"


class PlanStep(Model):
    """A step: what a section became."""

    name: str
    phase: str
    uses: str | None
    settings: dict[str, JsonValue] = {}
    keys: Keys = Keys.model_construct()
    environment: str | None = None
    needs: tuple[Need, ...] = ()
    requires: tuple[str, ...] = Field(
        default=(), description="A deploy step's policy: provenance, signature, approval, and step names."
    )
    policy: str = Field(default="", description="Which rule asks for `requires`, as a refusal names it.")
    supersede: bool = Field(default=True, description="Whether a newer run ends it while it waits.")
    groups: dict[str, tuple[str, ...]] = Field(
        default={},
        description="What `tests` and `scan` stand for in it, where a condition may leave some out.",
    )
    named: tuple[str, ...] = Field(default=(), description="The steps that the policy itself names.")
    variant: dict[str, JsonValue] = Field(default={}, description="The values of a matrix that it is for.")
    services: tuple[Beside, ...] = Field(default=(), description="What runs beside it, in order.")
    quarantine: tuple[Quarantine, ...] = Field(
        default=(), description="Of a test step: whose failure does not count, and until when."
    )


class Plan(Model):
    """The whole graph. It never changes; another configuration makes another plan."""

    name: str
    config: Digest
    plugins: dict[str, str] = Field(description="The enabled plugins and their versions.")
    files: tuple[PluginFile, ...] = Field(
        default=(), description="Those plugins that are files of the project."
    )
    broken: tuple[str, ...] = Field(
        default=(), description="Enabled plugins that can't be used, and so can't say whether to deploy."
    )
    steps: tuple[PlanStep, ...] = Field(description="In an order in which they could run.")
    barriers: tuple[Barrier, ...]
    environments: tuple[str, ...]
    roles: dict[str, tuple[str, ...]] = {}
    parameters: dict[str, Given] = Field(
        default={}, description="All parameters, as they were given or by default."
    )
    observers: tuple[Observe, ...] = ()

    @cached_property
    def canonical(self) -> bytes:
        """The plan's canonical JSON: the same plan gives the same bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @cached_property
    def digest(self) -> str:
        """The hash of the plan's canonical JSON."""
        return sha256_of(self.canonical)

    @cached_property
    def by_name(self) -> dict[str, PlanStep]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    @cached_property
    def waits_for(self) -> dict[str, tuple[str, ...]]:
        """For each node, step or barrier, the nodes that it waits for."""
        edges = {step.name: tuple(dict.fromkeys(need.on for need in step.needs)) for step in self.steps}
        return edges | {barrier.name: barrier.needs for barrier in self.barriers}

    @cached_property
    def dependents(self) -> dict[str, tuple[str, ...]]:
        """For each node the nodes that wait for it."""
        found: dict[str, list[str]] = {name: [] for name in self.waits_for}
        for name, needs in self.waits_for.items():
            for need in needs:
                found[need].append(name)
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The references to secrets of all steps and observers."""
        held = [each for step in self.steps for each in (step.keys.secrets, *beside.secrets(step.services))]
        steps = (reference for each in held for reference in each.values())
        observers = (reference for observer in self.observers for reference in observer.references)
        return frozenset((*steps, *observers))

    @cached_property
    def conditions(self) -> dict[str, "Node"]:
        """The conditions of the steps that have one."""
        found = {step.name: step.keys.when for step in self.steps if step.keys.when is not None}
        if not found:
            return {}
        from penstock import conditions

        return {
            name: conditions.parse(text, conditions.known(self.parameters, self.by_name[name].variant))
            for name, text in found.items()
        }

    @cached_property
    def signer(self) -> PlanStep | None:
        """The step whose plugin signs what comes after it, if the pipeline has one."""
        return next((step for step in self.steps if step.phase == "sign"), None)

    def named(self, name: str) -> tuple[str, ...]:
        """The steps that a name means: a step, or all variants of a section; none if there is no such."""
        if name in self.by_name:
            return (name,)
        return tuple(step.name for step in self.steps if base_of(step.name) == name)

    def closure(self, names: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> set[str]:
        """These nodes and all that are reached from them along `edges`."""
        found: set[str] = set()
        queue = list(names)
        while queue:
            name = queue.pop()
            if name not in found:
                found.add(name)
                queue.extend(edges[name])
        return found

    def deploys(self, environment: str) -> list[PlanStep]:
        """The deploy steps of an environment."""
        return [s for s in self.steps if s.phase == "deploy" and s.environment == environment]


def make(
    project: Project, versions: Mapping[str, str], parameters: Mapping[str, Given] | None = None
) -> Plan:
    """The plan of a project, with these values for its parameters, or their defaults.

    Raises ConfigError for a cycle, or where something names a step that it can't mean.
    """
    services = project.services
    sections = {section.name: beside.with_needs(section, services) for section in project.sections}
    meant = meant_by(sections)
    environments = _environments(project)
    check_needs(sections, meant)
    check_judges(sections, meant)
    check_inside(sections, meant)
    stages = stages_of(sections, environments, meant)
    check_cached(sections, stages)
    barriers = barriers_of(stages, sections)
    wanted = dict.fromkeys(need for section in sections.values() for need in section.keys.needs or ())
    groups = {
        name: Barrier(name=f"all of {name}", needs=meant[name]) for name in wanted if name not in sections
    }
    steps = {}
    for name in sorted(sections, key=lambda name: stages[name]):  # stable: sections keep their order
        section = sections[name]
        steps[name] = PlanStep(
            name=name,
            phase=section.phase,
            uses=section.plugin,
            settings=dict(section.settings),
            keys=section.keys,
            environment=section.environment,
            variant=dict(section.variant),
            services=tuple(services[each] for each in section.keys.services),
            needs=needs_of(section, stages, barriers, groups),
            quarantine=of_step(project.quarantine, name) if section.phase == "test" else (),
        )
    steps = {name: _with_policy(step, steps, stages, project) for name, step in steps.items()}
    made = Plan(
        name=project.name,
        config=project.digest,
        plugins={name: versions[name] for name in project.plugins if name in versions},
        files=project.files,
        broken=tuple(name for name in project.plugins if name not in versions),
        steps=tuple(steps[name] for name in _in_order(steps, stages, groups.values())),
        barriers=(*barriers.values(), *groups.values()),
        environments=environments,
        roles=dict(project.roles),
        parameters=dict(effective(project.parameters, ()) if parameters is None else parameters),
        observers=project.observers,
    )
    for name, condition in made.conditions.items():
        check_results(sections[name], condition, meant, partial(made.closure, [name], made.waits_for))
    return made


def _environments(project: Project) -> tuple[str, ...]:
    deployed = [s.environment for s in project.sections if s.phase == "deploy" and s.environment]
    others = [s.environment for s in project.sections if s.environment]
    for section in project.sections:
        if section.phase == "approve" and section.environment not in deployed:
            raise ConfigError(
                f"there is no [deploy.{section.environment}] for it to approve. "
                "Add one, or name another with environment",
                section=section.name,
            )
    for environment in project.policies:
        if environment not in deployed:
            near = did_you_mean(environment, [name for name in deployed if name])
            message = f"there is no [deploy.{environment}] that it could guard{near}"
            raise ConfigError(message, section=f"policy.{environment}")
    return tuple(dict.fromkeys([*deployed, *others]))


def _with_policy(
    step: PlanStep, steps: Mapping[str, PlanStep], stages: Mapping[str, int], project: Project
) -> PlanStep:
    policy = project.policies.get(step.environment or "")
    if policy and not policy.supersede and step.phase in ("approve", "deploy"):
        step = step.model_copy(update={"supersede": False})
    if step.phase != "deploy" or step.environment is None:
        return step
    before = [other for other in steps.values() if stages[other.name] < stages[step.name]]
    own = policy.require if policy else None
    rule = DEFAULT_POLICY if own is None else f"policy.{step.environment}"
    wanted = _DEFAULT if own is None else own
    requires: list[str] = []
    groups: dict[str, tuple[str, ...]] = {}
    named: list[str] = []
    for entry in wanted:
        found = _requirement(entry, step, before, rule, explicit=own is not None)
        requires.extend(found)
        if entry in ("tests", "scan") and any(steps[name].keys.when is not None for name in found):
            groups[entry] = tuple(found)
        elif entry not in _ENTRIES:
            named.extend(found)
    for entry in ("signature", "approval"):  # who has such a step means it, whatever else the policy names
        requires.extend(_requirement(entry, step, before, rule, explicit=False))
    waited = {need.on for need in step.needs}
    edges = tuple(
        Need(on=name, why=rule)
        for name in dict.fromkeys(name for entry in requires for name in _made_by(entry, step, before))
        if name not in waited
    )
    return step.model_copy(
        update={
            "requires": tuple(dict.fromkeys(requires)),
            "policy": rule,
            "groups": groups,
            "named": tuple(named),
            "needs": (*step.needs, *edges),
        }
    )


def _requirement(
    entry: str, step: PlanStep, before: list[PlanStep], rule: str, *, explicit: bool
) -> list[str]:
    """What one entry of `require` means here: step names, or what the gate checks by itself."""
    counted = [other for other in before if not other.keys.allow_failure]
    if entry in ("tests", "scan"):
        phase = "test" if entry == "tests" else "scan"
        found = [other.name for other in counted if other.phase == phase]
        if not found and explicit:
            raise _asked_in_vain(entry, f"{phase} step that must pass", rule)
        return found
    if entry == "provenance":
        return ["provenance"] if any(other.phase == "build" for other in before) or explicit else []
    if entry in ("approval", "signature"):
        phase = "approve" if entry == "approval" else "sign"
        able = any(
            other.phase == phase and (phase == "sign" or other.environment == step.environment)
            for other in before
        )
        if not able and explicit:
            raise _asked_in_vain(entry, f"{phase} step", rule)
        return [entry] if able else []
    judging = [other.name for other in before if other.phase in (*_TESTS, "verify")]
    named = [name for name in judging if entry in (name, base_of(name))]
    if not named:
        bases = dict.fromkeys(base_of(name) for name in judging)
        entries = (*_ENTRIES, *bases)
        can_be = f"Entries are {', '.join(json.dumps(name) for name in entries[:_NAMED])}"
        near = did_you_mean(entry, (*entries, *judging), otherwise=can_be)
        message = f'"{entry}" is no test, scan or verify step that comes before {step.name}{near}'
        raise ConfigError(message, section=rule, key="require")
    return named


def _asked_in_vain(entry: str, what: str, rule: str) -> ConfigError:
    message = f'"{entry}" is asked for, but no {what} comes before. Add one, or take "{entry}" out'
    return ConfigError(message, section=rule, key="require")


def _made_by(requirement: str, step: PlanStep, before: list[PlanStep]) -> list[str]:
    """The steps that make the evidence for a requirement: without them it could only be refused."""
    if requirement == "approval":
        return [
            other.name
            for other in before
            if (other.phase, other.environment) == ("approve", step.environment)
        ]
    if requirement == "signature":
        return [other.name for other in before if other.phase == "sign"]
    return [] if requirement == "provenance" else [requirement]


def _in_order(
    steps: Mapping[str, PlanStep], stages: Mapping[str, int], groups: Iterable[Barrier]
) -> list[str]:
    """An order in which the steps could run: by stage, and within it what is needed first."""
    behind = {name: (name,) for name in steps} | {group.name: group.needs for group in groups}
    order: dict[str, None] = {}
    for start in sorted(steps, key=lambda name: stages[name]):
        queue = [(start, False)]
        while queue:
            name, done = queue.pop()
            if name in order:
                continue
            if done:
                order[name] = None
                continue
            queue.append((name, True))
            queue.extend((on, False) for need in steps[name].needs for on in behind.get(need.on, ()))
    return list(order)
