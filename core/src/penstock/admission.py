"""What the enabled plugins have against a deployment: each is asked, and who fails has not agreed."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import PenstockError, PluginError, in_words
from penstock.model import Evidence, Refusal
from penstock.outcomes import Stopped
from penstock.plugins import Plugins
from penstock.step import Step

_HOOK = "penstock_admit"


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
