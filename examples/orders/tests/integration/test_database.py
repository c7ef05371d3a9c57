"""Against a real database: Penstock starts it beside the step, and says where it is."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from orders import database
from orders.store import ConflictError, NotFoundError, Store
from pg8000.exceptions import Error


@pytest.fixture(scope="session", autouse=True)
def schema():
    with database.connection() as connection:
        assert database.migrate(connection) == [name for name, _ in database.MIGRATIONS]


@pytest.fixture
def store():
    pool = database.Pool(4)
    yield Store(pool)
    pool.close()


def test_migrating_again_changes_nothing():
    with database.connection() as connection:
        assert database.migrate(connection) == []


def test_an_order_is_there_afterwards_and_its_goods_are_gone(store):
    before = {row["sku"]: row["stock"] for row in store.products()}["tea"]
    order = store.buy("tea", 2)
    assert store.order(order.id) == order
    assert {row["sku"]: row["stock"] for row in store.products()}["tea"] == before - 2


def test_an_order_of_more_than_there_is_changes_nothing(store):
    with pytest.raises(ConflictError, match="there are 12 of pot left, and not 13"):
        store.buy("pot", 13)
    with pytest.raises(NotFoundError, match="there is no product coffee"):
        store.buy("coffee", 1)
    assert {row["sku"]: row["stock"] for row in store.products()}["pot"] == 12


def test_the_last_one_is_sold_once(store):
    def buy(_):
        try:
            return store.buy("pot", 12).quantity
        except ConflictError:
            return 0

    with ThreadPoolExecutor(8) as buyers:
        assert sorted(buyers.map(buy, range(8))) == [*[0] * 7, 12]


def test_a_connection_that_broke_is_made_anew(store):
    with database.connection() as other:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        store.check()
        other.run(f"{others} AND backend_type = 'client backend'")
    with pytest.raises((Error, OSError)):
        store.check()
    store.check()
