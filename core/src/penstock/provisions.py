"""What a step is given by whichever enabled plugin has it: the value of a secret, and a launcher."""

from __future__ import annotations

from pydantic import SecretStr

from penstock.errors import ConfigError, PenstockError, PluginError, in_words
from penstock.insides import HOOK
from penstock.launching import Launched, Launcher
from penstock.model import Artifact
from penstock.plugins import Plugins
from penstock.secrets import resolve
from penstock.step import Step
from penstock.stepinfo import StepInfo


def find(plugins: Plugins, reference: str) -> str:
    """The secret that a reference names, by these plugins too. Raises as `resolve`."""

    def ask(reference: str) -> str | None:
        answer = plugins.ask_all("penstock_secret", reference=reference)[0]
        if answer is not None and not isinstance(answer, SecretStr):
            raise PluginError(
                f"penstock_secret must return SecretStr or None, and returned {type(answer).__name__} "
                f'for "{reference}"'
            )
        return None if answer is None else answer.get_secret_value()

    return resolve(reference, ask)


def launcher_of(plugins: Plugins, info: StepInfo, step: Step) -> Launched:
    """What starts the programs of a step inside of what was built. Raises ConfigError where nothing can."""
    assert info.inside is not None
    found = []
    for artifact in info.candidates:
        try:
            [answer] = plugins.ask_all(HOOK, artifact=artifact, limits=info.inside, step=step)
        except PenstockError:
            raise
        except Exception as error:
            raise PluginError(
                f"no program can be started inside {artifact.name}: {in_words(error)}"
            ) from error
        if answer is not None and not isinstance(answer, Launcher):
            raise PluginError(f"a plugin returned from {HOOK} what is no Launcher: {type(answer).__name__}")
        found += [Launched(artifact, answer)] if answer is not None else []
    where = f'[{info.name}] inside = "{info.inside.step}"'
    if len(found) > 1:
        names = ", ".join(each.artifact.name for each in found)
        raise ConfigError(
            f"{where}: that step makes several things that a program can run inside of: {names}"
        )
    if not info.candidates:
        raise ConfigError(f"{where}: that step has made nothing in this run. Was it skipped?")
    if not found:
        made = ", ".join(f"{each.name} ({each.kind})" for each in info.candidates[:5])
        raise ConfigError(
            f"{where}: no enabled plugin can run a program inside of what that step makes, which is {made}. "
            "Name a step that makes an image"
        )
    return found[0]


def ran_inside(info: StepInfo, step: Step) -> Artifact | None:
    """What a step's programs have run inside of. Raises ConfigError where none has, and one should have."""
    if info.inside is not None and step.ran_inside is None:
        raise ConfigError(
            f'[{info.name}] inside = "{info.inside.step}": its plugin has started no program there, so '
            "that its result says nothing about it. Take `inside` out, or use a plugin that runs programs"
        )
    return step.ran_inside
