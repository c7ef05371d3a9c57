"""A request in, an answer out: which function of the shop a method and a path lead to. No socket here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus

from shop import __version__
from shop.errors import InvalidError, NotAllowedError, NotFoundError, ShopError
from shop.orders import read_lines
from shop.store import Store

Answer = tuple[HTTPStatus, object]
_Route = Callable[[], Answer]


def answer(store: Store, method: str, path: str, body: bytes = b"") -> Answer:
    """The status and the JSON value for a request."""
    try:
        routes = _routes(store, path, body)
        if method not in routes:
            raise NotAllowedError(f"{path} can be asked with {', '.join(routes)} only")
        return routes[method]()
    except ShopError as error:
        return error.status, {"error": str(error)}


def _routes(store: Store, path: str, body: bytes) -> Mapping[str, _Route]:
    """What can be asked at a path, by method."""
    match path.strip("/").split("/"):
        case ["health"]:
            return {"GET": lambda: (HTTPStatus.OK, {"status": "ok", "version": __version__})}
        case ["products"]:
            return {"GET": lambda: (HTTPStatus.OK, [asdict(product) for product in store.products()])}
        case ["products", sku]:
            return {"GET": lambda: (HTTPStatus.OK, asdict(store.product(sku)))}
        case ["orders"]:
            return {"POST": lambda: (HTTPStatus.CREATED, store.buy(read_lines(_json(body))).as_json())}
        case ["orders", number]:
            return {"GET": lambda: (HTTPStatus.OK, store.order(_number(number)).as_json())}
        case ["orders", number, "refund"]:
            return {"POST": lambda: (HTTPStatus.OK, store.refund(_number(number)).as_json())}
    raise NotFoundError(f"there is nothing at {path}")


def _json(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except ValueError:
        raise InvalidError("the body is not JSON") from None
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise NotFoundError(f"there is no order {text}")
    return int(text)
