"""An engine to work with, and what was built on it: for tests of the docker plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock import Artifact, Release, Revision, Step, Target
from penstock.testing import StepMaker
from penstock_docker import Image, Service, penstock_build, penstock_targets

from tests.engines import BASE, Engine

DOCKERFILE = f"FROM {BASE}\nCOPY www /www\nEXPOSE 8080\n"
SERVING = DOCKERFILE + 'CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]\n'


class Bench:
    def __init__(self, made: Engine, make_step: StepMaker) -> None:
        self.engine = made
        self.make_step = make_step
        self.step: Step | None = None

    def build(self, text: str, files: Mapping[str, str], **settings: Any) -> Artifact:
        secrets = settings.pop("secrets", None)
        self.step = self.make_step("build.image", files={"Dockerfile": text, **files}, secrets=secrets)
        [made] = penstock_build(settings=Image(host=self.engine.host, **settings), step=self.step)
        return made

    def release(self, artifact: Artifact) -> Release:
        revision = Revision(commit="c" * 40)
        return Release(
            digest=artifact.digest, artifacts=(artifact,), revision=revision, run=1, environment="staging"
        )

    @property
    def log(self) -> str:
        assert self.step is not None
        return self.make_step.log_of(self.step)

    def target(self, host: str | None = None, **settings: Any) -> tuple[Target, Callable[[], Step]]:
        """The target of a host, by default the engine's, and what makes a step for it."""

        def step() -> Step:
            named = (*settings.get("service_secrets", ()), *settings.get("secret_files", ()))
            secrets = {name: f"env:{name}" for name in named}
            return self.make_step("deploy.staging", environment="staging", secrets=secrets)

        hosts = (host or self.engine.host,)
        [found] = penstock_targets(settings=Service(hosts=hosts, **settings), step=step())
        return found, step
