"""The answers, with a shop that is none: no database, no socket."""

import json

import pytest
from orders import __version__
from orders.server import answer
from orders.store import ConflictError, NotFoundError, Order


class Shop:
    def check(self):
        pass

    def products(self):
        return [{"sku": "tea"}]

    def buy(self, sku, quantity):
        if sku == "pot":
            raise ConflictError("there are 12 of pot left, and not 13")
        return Order(1, sku, quantity, 890)

    def order(self, number):
        raise NotFoundError(f"there is no order {number}")


class Broken(Shop):
    def check(self):
        raise ConnectionError("password: geheim")


def order(sku, quantity=1):
    return json.dumps({"sku": sku, "quantity": quantity}).encode()


def test_health_names_the_release():
    assert answer(Shop(), "GET", "/health", b"") == (200, {"status": "ok", "version": __version__})


def test_without_its_database_it_is_not_well_and_says_no_more():
    assert answer(Broken(), "GET", "/health", b"") == (503, {"error": "the database does not answer"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("GET", "/products", b"", 200, id="the products"),
        pytest.param("POST", "/orders", order("tea"), 201, id="an order"),
        pytest.param("POST", "/orders", order("pot", 13), 409, id="more than there is"),
        pytest.param("POST", "/orders", b"{", 400, id="no JSON"),
        pytest.param("POST", "/orders", b"[]", 400, id="no order"),
        pytest.param("POST", "/orders", order("tea", True), 400, id="a truth value"),
        pytest.param("GET", "/orders/7", b"", 404, id="no such order"),
        pytest.param("GET", "/orders/x", b"", 404, id="no number"),
        pytest.param("DELETE", "/products", b"", 404, id="no such method"),
    ],
)
def test_each_request_has_its_status(method, path, body, status):
    assert answer(Shop(), method, path, body)[0] == status
