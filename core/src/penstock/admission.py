"""What the store and the enabled plugins have against a deployment: who fails has not agreed."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import PenstockError, PluginError, StepRefused, in_words
from penstock.home import Home
from penstock.model import Artifact, Evidence, Refusal
from penstock.outcomes import Stopped
from penstock.plugins import Plugins
from penstock.proof import check_bytes
from penstock.step import Step

_HOOK = "penstock_admit"


def same_bytes(home: Home, artifacts: Sequence[Artifact]) -> list[Refusal]:
    """What the store has against them: bytes that are not what their digests say."""
    found = []
    for artifact in artifacts:
        try:
            check_bytes(home, artifact)
        except StepRefused as error:
            way_out = "Build it again: penstock run"
            found.append(Refusal(rule="same bytes", reason=str(error), way_out=way_out))
    return found


def refusals(plugins: Plugins, step: Step, on_record: Sequence[Evidence]) -> list[Refusal]:
    """Their refusals. Raises PluginError naming the one that fails or answers with something else."""
    found = []
    for name in plugins.modules:
        if not plugins.has(name, _HOOK):
            continue
        try:
            answers = plugins.call(name, _HOOK, step=step, evidence=list(on_record))
        except (PenstockError, Stopped):
            raise
        except BaseException as error:
            raise PluginError(f'the plugin "{name}" failed in {_HOOK}: {in_words(error)}') from error
        for answer in answers:
            if not isinstance(answer, Refusal):
                raise PluginError(
                    f'the plugin "{name}" returned {type(answer).__name__} from {_HOOK}, which must return '
                    "Refusal or None"
                )
            found.append(answer)
    return found
