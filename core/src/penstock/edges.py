"""What each step waits for, and why: the edges of a plan, and the barriers that keep them few. Pure."""

from collections.abc import Mapping

from penstock.keys import Section
from penstock.model import Model


class Need(Model):
    """An edge: what a step waits for, and why."""

    on: str
    why: str


class Barrier(Model):
    """A node without work: all steps of a stage, and of those before, or all variants of a section."""

    name: str
    needs: tuple[str, ...]


def barriers_of(stages: Mapping[str, int], sections: Mapping[str, Section]) -> dict[int, Barrier]:
    """By stage the barrier behind it."""
    members: dict[int, list[str]] = {}
    for name, stage in stages.items():
        members.setdefault(stage, []).append(name)
    barriers: dict[int, Barrier] = {}
    before: tuple[str, ...] = ()
    for stage, names in sorted(members.items()):
        # Where `needs` took the place of the default order, what is behind might not wait for all before.
        own_way = any(sections[name].keys.needs is not None for name in names)
        needs = (*(before if own_way else ()), *names)
        barriers[stage] = Barrier(name=f"after {_label(names)}", needs=needs)
        before = (barriers[stage].name,)
    return barriers


def _label(names: list[str]) -> str:
    phases = dict.fromkeys(name.partition(".")[0] for name in names)
    return f"{' and '.join(phases)} ({names[0]}{', …' if len(names) > 1 else ''})"


def needs_of(
    section: Section,
    stages: Mapping[str, int],
    barriers: Mapping[int, Barrier],
    groups: Mapping[str, Barrier],
) -> tuple[Need, ...]:
    """What a step waits for: by its own words or the default order, and what it runs inside of."""
    found = _in_order(section, stages, barriers, groups)
    inside = section.keys.inside
    if inside is None:
        return found
    why = f"inside = {inside.step}"
    if any(need.on == inside.step for need in found):
        both = Need(on=inside.step, why=f"needs, {why}")
        return tuple(both if need.on == inside.step else need for need in found)
    return (*found, Need(on=inside.step, why=why))


def _in_order(
    section: Section,
    stages: Mapping[str, int],
    barriers: Mapping[int, Barrier],
    groups: Mapping[str, Barrier],
) -> tuple[Need, ...]:
    if section.keys.needs:
        return tuple(
            Need(on=groups[need].name if need in groups else need, why="needs")
            for need in dict.fromkeys(section.keys.needs)
        )
    if section.keys.needs is not None:
        if stages[section.name] == 0 or 0 not in barriers:
            return ()
        return (Need(on=barriers[0].name, why="every step starts from the source"),)
    earlier = [stage for stage in barriers if stage < stages[section.name]]
    if not earlier:
        return ()
    return (Need(on=barriers[max(earlier)].name, why=f"default order: {section.phase} comes after"),)
