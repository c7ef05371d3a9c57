"""The whole service in this process, on a port that is free, over a database in a file."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from shop import __version__
from shop.server import LIMIT, Server
from shop.store import Store


@pytest.fixture
def database(tmp_path):
    return str(tmp_path / "shop.sqlite")


@pytest.fixture
def port(database):
    with closing(Store(database)) as store, Server(0, store) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(port):
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:

        def ask(method, path, body=None, headers=None):
            connection.request(method, path, None if body is None else json.dumps(body), headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        yield ask


def test_health_is_served_with_the_version(ask):
    assert ask("GET", "/health") == (200, {"status": "ok", "version": __version__})


def test_an_order_is_in_the_database_when_it_was_answered(ask, database):
    status, order = ask("POST", "/orders", {"lines": [{"sku": "tea", "quantity": 2}]})
    assert status == 201
    with closing(Store(database)) as other:
        assert other.order(order["id"]).total == 1780
        assert other.product("tea").stock == 98


def test_refund_twice_is_a_conflict(ask):
    _, order = ask("POST", "/orders", {"lines": [{"sku": "cup", "quantity": 1}]})
    assert ask("POST", f"/orders/{order['id']}/refund")[0] == 200
    status, value = ask("POST", f"/orders/{order['id']}/refund")
    assert (status, value) == (409, {"error": f"order {order['id']} was refunded before"})


def test_one_connection_serves_one_request_after_another(ask):
    assert [ask("GET", path)[0] for path in ("/products", "/nowhere", "/products/pot")] == [200, 404, 200]


def test_a_body_that_is_too_long_is_not_read(ask):
    status, value = ask("POST", "/orders", headers={"Content-Length": str(LIMIT + 1)})
    assert (status, value) == (413, {"error": "a body has at most 65536 bytes"})


def test_the_last_one_is_sold_once(port):
    order = json.dumps({"lines": [{"sku": "pot", "quantity": 12}]})

    def buy(_):
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("POST", "/orders", order)
            return connection.getresponse().status

    with ThreadPoolExecutor(8) as buyers:
        assert sorted(buyers.map(buy, range(8))) == [201, *[409] * 7]
