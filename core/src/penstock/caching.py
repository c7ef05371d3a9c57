"""Where a result may be taken over at all: what is wrong with a section's key `cache`, in words."""

from __future__ import annotations

from penstock.faults import Place
from penstock.keys import Keys

PHASES = ("build", "test", "scan")
"""The phases whose results say something about bytes, and nothing about a world that moves on."""
_WHY_NOT = {
    "source": "what there is to build is looked at in every run",
    "sign": "what one run has on record is signed in that run",
    "publish": "what is there already is found out where it is published",
    "approve": "a person's word is given for one run",
    "deploy": "what runs there is looked at in every run",
    "verify": "what runs there is looked at in every run",
}


def check(keys: Keys, section: str, phase: str, source: Place, errors: list[str]) -> None:
    """Add to `errors` what is wrong with a section's key `cache`."""
    cache = keys.cached
    if cache is None:
        return
    if phase not in PHASES:
        message = f"has no place in this phase: {_WHY_NOT[phase]}. It is for build, test and scan"
        errors.append(source.error(section, "cache", message))
    elif keys.environment is not None:
        message = (
            f"can't stand beside environment: what runs in {keys.environment} may have changed though no "
            "input of this step has. Leave one of them out"
        )
        errors.append(source.error(section, "cache", message))
    if keys.secrets and not cache.ignore_secrets:
        message = (
            "the step is handed secrets, whose values are not compared: with another one it might come to "
            "another result. If not, say so: cache = { ignore_secrets = true }"
        )
        errors.append(source.error(section, "cache", message))
    if cache.inputs is not None and cache.inputs and all(entry.startswith("!") for entry in cache.inputs):
        message = 'names only files that do not count. Begin with those that do, such as "**"'
        errors.append(source.error(section, "cache.inputs", message))
    for name in cache.env:
        if name in keys.secrets:
            message = f"{name} is a secret of this step, and no secret's value is compared"
            errors.append(source.error(section, "cache.env", message))
