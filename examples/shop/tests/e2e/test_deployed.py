"""The service that was deployed, wherever it is: `SHOP_URL` says where."""

import json
import os
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from shop import __version__


@pytest.fixture(scope="session")
def url():
    # Not a skip: tests of a deployment that were not run must not look like success.
    return os.environ.get("SHOP_URL") or pytest.fail("SHOP_URL is not set: which shop is to be tested?")


def ask(method, address, body=None):
    request = Request(address, method=method, data=None if body is None else json.dumps(body).encode())
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_version_that_runs_is_the_one_under_test(url):
    assert ask("GET", f"{url}/health") == (200, {"status": "ok", "version": __version__})


def test_a_customer_buys_and_gets_the_money_back(url):
    before = ask("GET", f"{url}/products/tea")[1]["stock"]
    status, order = ask("POST", f"{url}/orders", {"lines": [{"sku": "tea", "quantity": 1}]})
    assert (status, order["state"], order["total"]) == (201, "paid", 890)
    assert ask("POST", f"{url}/orders/{order['id']}/refund")[1]["state"] == "refunded"
    assert ask("GET", f"{url}/products/tea")[1]["stock"] == before


def test_refund_twice_is_a_conflict(url):
    _, order = ask("POST", f"{url}/orders", {"lines": [{"sku": "cup", "quantity": 1}]})
    assert ask("POST", f"{url}/orders/{order['id']}/refund")[0] == 200
    assert ask("POST", f"{url}/orders/{order['id']}/refund")[0] == 409
