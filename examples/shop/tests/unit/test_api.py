from contextlib import closing

import pytest
from shop import __version__
from shop.api import answer
from shop.store import Store


@pytest.fixture
def store():
    with closing(Store()) as store:
        yield store


def test_health_names_the_version(store):
    assert answer(store, "GET", "/health") == (200, {"status": "ok", "version": __version__})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("GET", "/nowhere", b"", 404, id="no such path"),
        pytest.param("GET", "/products/coffee", b"", 404, id="no such product"),
        pytest.param("GET", "/orders/1", b"", 404, id="no such order"),
        pytest.param("GET", "/orders/-1", b"", 404, id="no number of an order"),
        pytest.param("DELETE", "/orders/1", b"", 405, id="no such method"),
        pytest.param("POST", "/orders", b"{", 400, id="not JSON"),
    ],
)
def test_what_cannot_be_answered_has_its_status(store, method, path, body, status):
    found, value = answer(store, method, path, body)
    assert found == status
    assert value.keys() == {"error"}
