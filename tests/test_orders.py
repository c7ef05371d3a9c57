"""The example `orders`: built, tested inside its image, scanned, signed, published, and on three hosts in waves."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Callable

import pytest

from tests import killing
from tests.engines import engine
from tests.hosts import hosts, proxy
from tests.load import Load
from tests.orders import Orders, killed, make_orders, parts, wait_for, wait_for_failure
from tests.verifiers.verifiers import CosignVerifier, OrasClient

__all__ = ["engine", "hosts", "make_orders", "parts", "proxy"]

KILLS = int(os.environ.get("PENSTOCK_HOST_KILLS", "2"))
SEED = int(os.environ.get("PENSTOCK_HOST_KILLS_SEED") or random.SystemRandom().randrange(10**6))

CHECK = "    def check(self) -> None:"
PATIENT, SHORT = (f'answer_within = "{time}"' for time in ("20s", "8s"))
BAD = {
    "server": {
        "return 200, shop.products()": "return 500 if os.environ.get('STAGE') == 'production' else 200, []",
        "import json\n": "import json\nimport os\n",
    },
    "store": {
        CHECK: """    def check(self) -> None:
        self.alone = getattr(self, "alone", None) or database.connect()
        if self.alone.run("SELECT pg_try_advisory_lock(1)") != [[True]]:
            raise ConflictError("there is another one")
        self.check_tables()

    def check_tables(self) -> None:""",
        "from orders.database import Pool": "from orders import database\nfrom orders.database import Pool",
    },
}

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def orders(make_orders: Callable[[], Orders]) -> Orders:
    """The example, in production."""
    made = make_orders()
    print(made.passes("run", "--approve", "production", timeout=600).said)
    made.leave_out(
        "service.db", "test.integration", "scan.image"
    )  # later releases are about what comes after
    return made


def test_the_digest_that_serves_is_the_digest_that_was_tested(orders: Orders) -> None:
    [artifact] = orders.step("build.image")["artifacts"]
    assert orders.runs() == {host.name: [artifact["digests"]["image ID"]] for host in orders.parts.hosts}
    assert orders.serves() == {"1.0.0"}
    assert {target["release"] for target in orders.json("status", "production")["targets"]} == {
        artifact["digest"]
    }


def test_oras_and_cosign_read_the_evidence_beside_the_image(
    orders: Orders, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [artifact] = orders.step("build.image")["artifacts"]
    digest = artifact["digest"]
    both = {digest, artifact["digests"]["image ID"]}
    image = f"{orders.parts.hosts.registry}/orders@{digest}"
    place = tmp_path_factory.mktemp("evidence")
    orders.passes("verify", digest, "--export", str(place))
    [key] = place.glob("*.pub")
    exported = {path.read_bytes(): path for path in place.glob("*.sigstore.json")}

    oras = OrasClient()
    beside = oras.discover(image)
    pulled = []
    for number, referrer in enumerate(beside):
        [file] = oras.pull(f"{orders.parts.hosts.registry}/orders@{referrer['digest']}", place / str(number))
        pulled.append(file.read_bytes())
    assert len(set(pulled)) == len(pulled) >= 2
    assert set(pulled) <= set(exported)

    cosign = CosignVerifier()
    kinds = {referrer["annotations"]["dev.sigstore.bundle.predicateType"] for referrer in beside}
    assert kinds >= {"https://slsa.dev/provenance/v1", "https://in-toto.io/attestation/test-result/v0.1"}
    for kind in kinds:
        payloads = cosign.verify_in_registry(image, key, kind)
        statements = [json.loads(base64.b64decode(payload)) for payload in payloads]
        assert statements
        for statement in statements:
            assert statement["predicateType"] == kind
            assert {f"sha256:{s['digest']['sha256']}" for s in statement["subject"]} == both
    other = Orders.generated_key(place / "other.pub")
    with pytest.raises(RuntimeError, match="verify-attestation"):
        cosign.verify_in_registry(image, other, "https://slsa.dev/provenance/v1")


def test_a_healthy_release_goes_out_without_a_failed_request(orders: Orders) -> None:
    orders.release("1.1.0")
    with Load(f"{orders.parts.proxy.url}/products") as load:
        orders.passes("run", "--approve", "production", timeout=600)
    print(f"healthy: {load.figures}")
    assert load.figures.failures == []
    assert set(load.figures.by_release()) == {"1.0.0", "1.1.0"}
    assert orders.serves() == {"1.1.0"}
    assert settled(orders)


def test_a_release_that_is_unwell_in_wave_two_is_put_back_on_all_hosts(orders: Orders) -> None:
    """It is well in staging. In production it fails every customer, and only one of it is well at a time."""
    before, served = orders.runs(), orders.serves()
    orders.as_at_first()
    orders.release("2.0.0", **BAD)
    with Load(f"{orders.parts.proxy.url}/products") as load:
        done = orders.run("run", "--approve", "production", timeout=600)
    print(f"bad: {load.figures}")
    assert done.code == 1, done.said
    assert "put back to what ran before" in done.said
    assert orders.runs() == before
    assert orders.serves() == served
    assert settled(orders)
    # One host of three had it, for a part of the time: nobody else saw a failure.
    assert set(load.figures.by_release(failed=True)) == {"2.0.0"}
    assert load.figures.by_release()["2.0.0"] < len(load.figures.answers) / 3
    assert all(target["health"] == "healthy" for target in orders.json("status", "production")["targets"])


def test_killed_in_every_wave_it_goes_on_to_its_end(orders: Orders) -> None:
    orders.as_at_first()
    orders.release("2.1.0")
    with Load(f"{orders.parts.proxy.url}/products") as load:
        killed(orders, "run", "--approve", "production", operation="apply", target=0, after=0.1)
        killed(orders, "resume", operation="apply", target=1, after=0.5)
        killed(orders, "resume", operation="probe", target=2)
        orders.passes("resume", timeout=600)
    print(f"killed: {load.figures}")
    assert load.figures.failures == []
    assert orders.serves() == {"2.1.0"}
    assert [len(found) for found in orders.runs().values()] == [1, 1, 1]
    assert settled(orders)


def test_killed_while_it_is_put_back_it_is_put_back(orders: Orders) -> None:
    before = orders.runs()
    orders.as_at_first()
    orders.release("3.0.0", **BAD)
    killed(orders, "run", "--approve", "production", operation="restore", target=1)
    done = orders.run("resume", timeout=600)
    assert done.code == 1, done.said
    assert "put back to what ran before" in done.said
    assert orders.runs() == before
    assert settled(orders)


def test_a_host_that_goes_away_is_named_and_put_back_when_it_is_there_again(orders: Orders) -> None:
    """Its network is cut while it is changed; the others serve the earlier release all the time."""
    before, served = orders.runs(), orders.serves()
    orders.as_at_first()
    orders.replace("penstock.toml", {PATIENT: SHORT})
    orders.release("3.1.0")
    host = orders.parts.hosts[1]
    child = orders.start("run", "--approve", "production")
    wait_for(orders, child, "apply", host)
    host.unplug()
    try:
        wait_for_failure(orders, child, "restore", host)
    finally:
        host.plug()
    out, err = child.communicate(timeout=600)
    assert child.returncode == 1, out + err
    assert f"the Docker engine at {host.host} can't be reached" in out + err
    assert "put back to what ran before" in out + err
    assert orders.runs() == before
    assert orders.serves() == served
    assert settled(orders)
    orders.replace("penstock.toml", {SHORT: PATIENT})


def test_an_engine_that_dies_is_named_and_what_it_ran_is_there_again(orders: Orders) -> None:
    before, served = orders.runs(), orders.serves()
    orders.as_at_first()
    orders.release("3.2.0")
    host = orders.parts.hosts[2]
    child = orders.start("run", "--approve", "production")
    wait_for(orders, child, "apply", host)
    host.kill()
    try:
        wait_for_failure(orders, child, "restore", host)
    finally:
        host.start()
    out, err = child.communicate(timeout=600)
    assert child.returncode == 1, out + err
    assert f"the Docker engine at {host.host} can't be reached" in out + err
    assert orders.runs() == before
    assert orders.serves() == served
    assert settled(orders)


def test_killed_at_random_moments_it_comes_to_the_end_that_it_would_have_come_to(orders: Orders) -> None:
    """Engine, worker or both, anywhere in the command and in those that resume it."""
    chance, kills, number = random.Random(SEED), 0, 0
    orders.leave_out("test.unit", "deploy.staging", "verify.staging")  # so that most of it is the rollout
    try:
        while kills < KILLS:
            kills += one_deployment(orders, chance, number, min(KILLS - kills, 2))
            number += 1
    except BaseException as error:
        error.add_note(f"after {kills} kills. Again: PENSTOCK_HOST_KILLS_SEED={SEED}")
        raise


def one_deployment(orders: Orders, chance: random.Random, number: int, kills: int) -> int:
    """Every second one is bad; how often it was killed."""
    before, [served] = orders.runs(), orders.serves()
    way, waves = list(killing.WAYS.items())[number % len(killing.WAYS)]
    bad, version = number % 2 == 1, f"4.{number}.0"
    killing.change_way(orders, way)
    orders.as_at_first()
    orders.release(version, **(BAD if bad else {}))
    with Load(f"{orders.parts.proxy.url}/products") as load:
        deployed = killing.deploy(orders, chance, kills, "run", "--approve", "production")
    print(f"{'bad' if bad else 'healthy'}, {', '.join(deployed.kills) or 'not killed'}: {load.figures}")
    assert deployed.done.code == bad, deployed.done.said
    assert set(load.figures.by_release(failed=True)) <= ({version} if bad else set())
    killing.check_journal(orders, deployed.run, waves)
    assert orders.serves() == {served if bad else version}
    [image] = before["web-1"] if bad else [orders.step("build.image")["artifacts"][0]["digests"]["image ID"]]
    killing.check_hosts(orders, image)
    assert settled(orders)
    orders.passes("audit")
    killing.until(lambda: killing.processes(orders) == [])
    return len(deployed.kills)


def settled(orders: Orders) -> bool:
    """Nothing is left over, and every host takes its full part of the traffic."""
    assert orders.left_over() == []
    assert set(orders.parts.proxy.weights().values()) == {"100 ready"}
    return True
