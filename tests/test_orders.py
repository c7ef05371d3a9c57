"""The example `orders`: built, tested inside its image, scanned, signed, published, and on three hosts in waves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engines import engine
from tests.hosts import hosts, proxy
from tests.load import Load
from tests.orders import Orders, make_orders, parts

__all__ = ["engine", "hosts", "make_orders", "parts", "proxy"]

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def orders(make_orders: Callable[[], Orders]) -> Orders:
    """The example, in production."""
    made = make_orders()
    print(made.passes("run", "--approve", "production", timeout=600).said)
    return made


def test_the_digest_that_serves_is_the_digest_that_was_tested(orders: Orders) -> None:
    [artifact] = orders.step("build.image")["artifacts"]
    assert orders.runs() == {host.name: [artifact["digests"]["image ID"]] for host in orders.parts.hosts}
    assert orders.serves() == {"1.0.0"}
    assert {target["release"] for target in orders.json("status", "production")["targets"]} == {
        artifact["digest"]
    }


def test_a_healthy_release_goes_out_without_a_failed_request(orders: Orders) -> None:
    orders.release("1.1.0")
    with Load(f"{orders.parts.proxy.url}/products") as load:
        print(orders.passes("run", "--approve", "production", timeout=600).said)
    print(load.figures)
    assert orders.serves() == {"1.1.0"}
