"""The gates hold: each of these stops before the next environment, says why, and leaves what ran before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.projects import Shop

pytestmark = [pytest.mark.real, pytest.mark.slow]

# Put together at run time: this file is no leak.
AWS_KEY = "AKIA" + "QWERTYUIOPASDFGH"[:16]
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYqwertyuiop12"[:18]


@pytest.fixture(scope="module")
def deployed(make_shop: Callable[[], Shop]) -> Shop:
    """The example with a first release in both environments."""
    shop = make_shop()
    shop.passes("run", "--approve", "production")
    return shop


@pytest.fixture
def shop(deployed: Shop) -> Iterator[Shop]:
    """The same, to which something is about to happen; whatever it is, the first release still serves."""
    head = deployed.git("rev-parse", "HEAD").strip()
    yield deployed
    deployed.git("reset", "-q", "--hard", head)
    deployed.git("clean", "-qfd", "-e", ".penstock")
    assert deployed.get("production")[0] == 200
    assert deployed.release("production") == deployed.digest(run="1")


@pytest.fixture
def staged(shop: Shop) -> Iterator[Shop]:
    """The same; nor does anything get as far as staging."""
    before = shop.release("staging")
    yield shop
    assert shop.states()["deploy.staging"] == "skipped"
    assert shop.release("staging") == before


def change(shop: Shop) -> None:
    """Make the next build a different one."""
    file = "src/shop/errors.py"
    text = (shop.root / file).read_text()
    shop.commit({file: text + f"\n# {len(text)}\n"})


def stopped_at(shop: Shop, step: str, state: str) -> str:
    """The reason, after asserting that this step ended so and nothing was deployed after it."""
    states = shop.states()
    assert states[step] == state
    for name in ("deploy.production", "verify.production"):
        assert states[name] in ("skipped", "refused", "failed", "pending"), states
    return str(shop.step(step)["reason"])


def test_one_failing_test_closes_the_gate(staged: Shop) -> None:
    file = "tests/unit/test_orders.py"
    text = (staged.root / file).read_text()
    staged.commit({file: text + "\n\ndef test_that_is_wrong():\n    assert 200 == 409\n"})
    done = staged.run("run", "--approve", "production")
    assert done.code == 1
    assert stopped_at(staged, "test.unit", "failed") == "1 of 29 failed"
    assert "test_that_is_wrong" in done.out
    assert "assert 200 == 409" in done.out
    assert "– sign.release        not started: test.unit failed" in done.out


def test_no_test_found_at_all_closes_the_gate(staged: Shop) -> None:
    staged.git("rm", "-rq", "tests/unit")
    staged.commit({"tests/unit/README.md": "none\n"})
    done = staged.run("run", "--approve", "production")
    assert done.code == 1
    assert "no test was found" in stopped_at(staged, "test.unit", "refused")


def test_an_aws_key_in_what_was_built_closes_the_gate(staged: Shop) -> None:
    text = f'KEY = "{AWS_KEY}"\nSECRET = "{AWS_SECRET}"\n'
    staged.commit({"src/shop/cloud.py": text})
    done = staged.run("run", "--approve", "production")
    assert done.code == 1
    reason = stopped_at(staged, "scan.wheel", "refused")
    assert "critical secret aws-access-key-id in" in reason
    assert "cloud.py" in reason
    assert AWS_KEY not in done.said + staged.logs()


def test_bytes_that_were_changed_in_the_store_are_not_deployed(shop: Shop) -> None:
    change(shop)
    assert shop.run("run").code == 3
    built = shop.stored(shop.digest())
    built.chmod(0o644)
    built.write_bytes(built.read_bytes()[:-1] + b"!")
    done = shop.run("approve", "production")
    assert done.code == 1
    reason = stopped_at(shop, "deploy.production", "refused")
    assert "they were changed after they were kept" in reason
    # built.unlink() is what the message's way out leads to: a new build puts good bytes there
    assert "Build it again: penstock run" in reason
    built.unlink()


def test_a_refused_approval_closes_the_gate(shop: Shop) -> None:
    change(shop)
    assert shop.run("run").code == 3
    done = shop.run("reject", "production", "--why", "not on a Friday")
    assert done.code == 1
    reason = stopped_at(shop, "approve.production", "refused")
    assert reason.startswith("rejected by ")
    assert reason.endswith(": not on a Friday")


def test_an_approval_of_another_digest_is_none(shop: Shop) -> None:
    change(shop)
    assert shop.run("run").code == 3
    done = shop.run("approve", "production", "--digest", shop.digest(run="1"))
    assert done.code == 1
    assert f"not with {shop.digest(run='1')}. Nothing was approved" in done.err
    assert shop.states()["approve.production"] == "waiting"


def test_a_release_that_is_not_healthy_is_taken_back(shop: Shop) -> None:
    file = "src/shop/api.py"
    text = (shop.root / file).read_text()
    # Healthy where it is tested and in staging, and not on production's port.
    broken = text.replace(
        'case ["health"]:\n',
        'case ["health"]:\n'
        "            import sys\n\n"
        f'            if "{shop.ports["production"]}" in sys.argv:\n'
        '                raise NotFoundError("not here")\n',
    )
    assert broken != text
    shop.commit({file: broken})
    toml = (shop.root / "penstock.toml").read_text()
    patience = 'rollout = { healthy_within = "3s" }\nhealth = "/health"'
    shop.write({"penstock.toml": toml.replace('health = "/health"', patience)})
    done = shop.run("run", "--approve", "production")
    assert done.code == 1
    reason = stopped_at(shop, "deploy.production", "failed")
    assert "404" in reason
    assert "put back to what ran before" in reason
    assert shop.get("production")[0] == 200


def test_evidence_that_is_missing_closes_the_gate(shop: Shop) -> None:
    """The policy asks for a test that this environment's own default would not."""
    toml = (shop.root / "penstock.toml").read_text()
    shop.write({"penstock.toml": toml + '\n[policy.production]\nrequire = ["provenance", "test.nothing"]\n'})
    done = shop.run("run")
    assert done.code == 2
    assert 'require: "test.nothing" is no test, scan or verify step that comes before' in done.err
