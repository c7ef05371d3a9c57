from __future__ import annotations

import pytest
from penstock.answers import all_handed
from penstock.errors import PluginError
from penstock.model import Artifact, Publication
from penstock.plan import PlanStep

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
STEP = PlanStep(name="publish.x", phase="publish", uses="index")
HANDED = [Artifact(name="shop.whl", kind="wheel", digest=A), Artifact(name="shop", kind="image", digest=B)]


def test_a_step_publishes_what_it_was_handed_by_any_of_its_digests() -> None:
    image = HANDED[1].model_copy(update={"digests": {"manifest": C}})
    published = [Publication(artifact=digest, location="there") for digest in (A, B, C)]
    all_handed(STEP, published, [HANDED[0], image])


def test_a_step_that_published_something_else_is_a_fault_of_its_plugin() -> None:
    with pytest.raises(PluginError) as caught:
        all_handed(STEP, [Publication(artifact=C, location="there")], HANDED)
    assert str(caught.value) == (
        f'the plugin "index" says that it published {C}, which is none of the artifacts that the step was handed'
    )
