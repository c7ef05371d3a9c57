"""What runs beside a step: entered before its plugin's hook, and left after it, in whatever way that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from penstock.beside import HOOK, PHASE, Beside, secrets
from penstock.errors import PenstockError, PluginError, StepFailed, in_words
from penstock.home import served
from penstock.model import Service, Tool
from penstock.plan import PlanStep
from penstock.plugins import Plugins
from penstock.request import Response
from penstock.step import Step
from penstock.stepinfo import StepInfo, secret_variables

Entered = AbstractContextManager[Any]


def references(step: PlanStep) -> tuple[str, ...]:
    """All secrets that may show up in what a step with services, or one of these, prints."""
    if not step.services:
        return ()
    held = (step.keys.secrets, *secrets(step.services))
    return tuple(dict.fromkeys(reference for each in held for reference in each.values()))


def used(step: Step, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """The tools of a step, with what its services were started from."""
    return (*tools, *(tool for service in step.services.values() for tool in service.tools))


@dataclass(eq=False, repr=False)
class Serving:
    """The services of one step."""

    plugins: Plugins
    plan_step: PlanStep
    info: StepInfo
    make_step: Callable[[StepInfo, PlanStep], Step]
    unsure: bool = False
    """Whether something of them may be left."""
    _entered: list[tuple[Beside, Entered]] = field(default_factory=list)

    @contextmanager
    def beside(self, step: Step) -> Iterator[None]:
        """While they serve. Raises what a plugin raises that can't start one; leaving fails no step."""
        try:
            for service in self.plan_step.services:
                step.serve(self._enter(service, step))
            yield
        finally:
            try:
                step.leave()  # what runs inside of something is on the services' network
            finally:
                self._leave_all(step)

    def may_have_left(self, response: Response, steps: Iterable[Step]) -> bool:
        """Whether something outside the worker's processes may be left."""
        cut_off = response.outcome == "cancelled" and self.info.inside is not None
        return self.unsure or cut_off or any(step.untidy for step in steps)

    def _enter(self, wanted: Beside, step: Step) -> Service:
        own = self._step_of(wanted)
        step.log(f"Starting service {wanted.name}")
        self.unsure = True  # one that is entered only half is not known to have cleaned up after itself
        try:
            context = self.plugins.call(
                wanted.plugin,
                HOOK,
                settings=self.plugins.settings(wanted.plugin, HOOK, wanted.settings),
                service=own,
                step=step,
            )
            if not isinstance(context, AbstractContextManager):
                raise PluginError(_wrong(wanted, "a context manager", context))
            service = context.__enter__()
        except PenstockError as error:
            error.args = (f"service {wanted.name}: {own.mask(str(error))}",)
            raise
        except Exception as error:
            raise PluginError(
                f'service {wanted.name}: the plugin "{wanted.plugin}" failed: {own.mask(in_words(error))}'
            ) from error
        self._entered.append((wanted, context))
        self.unsure = False
        if not isinstance(service, Service):
            raise PluginError(
                f"service {wanted.name}: {_wrong(wanted, 'a context manager of Service', service)}"
            )
        inside = self.plan_step.keys.inside
        if inside and service.network is None:
            raise StepFailed(
                f"service {wanted.name} is on no network that programs inside of {inside.step} could join. "
                'Leave out "inside", or have a plugin start it that can do both'
            )
        return service.model_copy(update={"name": wanted.name})

    def _step_of(self, service: Beside) -> Step:
        """A step for the service alone, with a log and secrets of its own."""
        name = served(self.plan_step.name, service.name)
        own = {"name": f"{PHASE}.{service.name}", "phase": PHASE, "env": {}, "secrets": service.secrets}
        hidden = (*self.info.hidden, *sorted(secret_variables(self.info)))
        return self.make_step(
            self.info.model_copy(update={**own, "hidden": hidden, "inside": None}),
            self.plan_step.model_copy(update={"name": name, "uses": service.plugin}),
        )

    def _leave_all(self, step: Step) -> None:
        """The latest first. What goes wrong is for whoever reaps, and not a result of the step."""
        stopped: BaseException | None = None
        while self._entered:
            service, context = self._entered.pop()
            try:
                context.__exit__(None, None, None)
            except Exception as error:
                self.unsure = True
                step.log(f"service {service.name} could not be removed: {in_words(error)}")
            except BaseException as error:  # told to stop, or to end: the others are left all the same
                self.unsure, stopped = True, error
        if stopped is not None:
            raise stopped


def _wrong(wanted: Beside, right: str, answer: object) -> str:
    kind = type(answer).__name__
    return f'the plugin "{wanted.plugin}" returned {kind} from {HOOK}, which must return {right}'
