"""Where a step may run inside what another built: what is wrong with a section's key `inside`, in words."""

from __future__ import annotations

from penstock.faults import Place
from penstock.keys import Keys
from penstock.plugins import Plugins

HOOK = "penstock_launcher"
_WHY_NOT = {
    "source": "nothing is built before there is a source",
    "sign": "evidence that comes later is signed with the same settings, outside of this step",
    "approve": "a person's word needs no program",
    "deploy": "targets are changed from here; what is to run in the release itself belongs to its deployment",
}


def check(keys: Keys, section: str, phase: str, plugins: Plugins, source: Place, errors: list[str]) -> None:
    """Add to `errors` what is wrong with it; that there is such a build step is the plan's to say."""
    if keys.inside is None:
        return
    if phase in _WHY_NOT:
        message = f"has no place in this phase: {_WHY_NOT[phase]}. Leave it out"
        errors.append(source.error(section, "inside", message))
    elif not plugins.broken and not any(plugins.has(name, HOOK) for name in plugins.modules):
        enabled = ", ".join(plugins.modules) or "none"
        message = (
            "no enabled plugin can start a program inside of something that was built "
            f"(enabled: {enabled}). Add one to plugins in [penstock] that implements {HOOK}, such as the one "
            f"that builds {keys.inside.step} where it makes images"
        )
        errors.append(source.error(section, "inside", message))
