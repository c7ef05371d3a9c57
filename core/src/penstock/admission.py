"""What the enabled plugins have against a deployment. Who can't be asked may have had something."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import PenstockError, PluginError, in_words
from penstock.model import Evidence, Refusal
from penstock.outcomes import Stopped
from penstock.plan import PlanStep
from penstock.plugins import Plugins
from penstock.step import Step

_HOOK = "penstock_admit"


def refusals(
    plugins: Plugins, plan_step: PlanStep, step: Step, on_record: Sequence[Evidence]
) -> list[Refusal]:
    """Their refusals. Raises PluginError naming the one that fails or answers with something else."""
    found = [] if _returns(plan_step) else [_missing(str(broken)) for broken in plugins.broken.values()]
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


def _returns(plan_step: PlanStep) -> bool:
    """Whether it was admitted once, and returns: going back must not hang on a plugin that broke since."""
    return "deployment" in plan_step.requires


def _missing(why: str) -> Refusal:
    return Refusal(
        rule="every enabled plugin may refuse",
        reason=why,
        way_out="Repair it, or take it out of plugins in [penstock].",
    )
