from contextlib import closing

import pytest
from shop.errors import ConflictError, NotFoundError
from shop.orders import Line
from shop.store import Store


@pytest.fixture
def store():
    with closing(Store()) as store:
        yield store


def test_buying_takes_out_of_stock_and_keeps_the_price(store):
    order = store.buy((Line("tea", 2),))
    assert (order.lines, order.state, order.total) == ((Line("tea", 2, 890),), "paid", 1780)
    assert store.product("tea").stock == 98


def test_buying_more_than_there_is_changes_nothing(store):
    with pytest.raises(ConflictError, match="there are 12 of pot left, and not 13"):
        store.buy((Line("tea", 1), Line("pot", 13)))
    assert store.product("tea").stock == 100
    with pytest.raises(NotFoundError):
        store.order(1)


def test_buying_what_is_not_for_sale_is_refused(store):
    with pytest.raises(NotFoundError, match="there is no product coffee"):
        store.buy((Line("coffee", 1),))


def test_refund_puts_back_into_stock(store):
    order = store.buy((Line("cup", 3),))
    assert store.refund(order.id).state == "refunded"
    assert store.product("cup").stock == 40


def test_refund_twice_is_refused_and_restocks_once(store):
    order = store.buy((Line("cup", 3),))
    store.refund(order.id)
    with pytest.raises(ConflictError, match="order 1 was refunded before"):
        store.refund(order.id)
    assert store.product("cup").stock == 40
