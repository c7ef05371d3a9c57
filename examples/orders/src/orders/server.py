"""HTTP: requests into calls, results into JSON. Every answer says which release gave it."""

from __future__ import annotations

import json
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from orders import __version__
from orders.store import ConflictError, NotFoundError, Order

LIMIT = 4096


class Shop(Protocol):
    """What is served."""

    def check(self) -> None: ...
    def products(self) -> list[dict[str, object]]: ...
    def buy(self, sku: str, quantity: int) -> Order: ...
    def order(self, number: int) -> Order: ...


class InvalidError(Exception):
    """The request is not as it should be."""


def answer(shop: Shop, method: str, path: str, body: bytes) -> tuple[int, object]:
    """The status and the value for a request."""
    try:
        return _answer(shop, method, path, body)
    except InvalidError as error:
        return 400, {"error": str(error)}
    except NotFoundError as error:
        return 404, {"error": str(error)}
    except ConflictError as error:
        return 409, {"error": str(error)}
    except Exception as error:  # the database: whoever asks is told, and the next request may be answered
        print(f"{method} {path}: {error!r}", flush=True)
        return 503, {"error": "the database does not answer"}


def _answer(shop: Shop, method: str, path: str, body: bytes) -> tuple[int, object]:
    if (method, path) == ("GET", "/health"):
        shop.check()
        return 200, {"status": "ok", "version": __version__}
    if (method, path) == ("GET", "/products"):
        return 200, shop.products()
    if (method, path) == ("POST", "/orders"):
        sku, quantity = _wanted(body)
        return 201, asdict(shop.buy(sku, quantity))
    number = path.removeprefix("/orders/")
    if method == "GET" and number != path and number.isdecimal() and len(number) < 10:
        return 200, asdict(shop.order(int(number)))
    raise NotFoundError(f"there is no {path}")


def _wanted(body: bytes) -> tuple[str, int]:
    try:
        value = json.loads(body)
        sku, quantity = value["sku"], value["quantity"]
    except (ValueError, KeyError, TypeError):
        raise InvalidError('an order looks like {"sku": "tea", "quantity": 2}') from None
    if not isinstance(sku, str) or type(quantity) is not int or not 1 <= quantity <= 1000:
        raise InvalidError("sku is a text, and quantity a number from 1 to 1000")
    return sku, quantity


class Server(ThreadingHTTPServer):
    """Ends when the requests are answered that it has taken."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, shop: Shop) -> None:
        super().__init__(("", port), Handler)
        self.shop = shop


class Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10

    def do_GET(self) -> None:
        self._reply("GET", b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LIMIT:
            self._send(413, {"error": f"a body has at most {LIMIT} bytes"})
            return
        self._reply("POST", self.rfile.read(int(length)))

    def log_message(self, *_: object) -> None:
        """Nothing for every request: what went wrong is printed where it does."""

    def _reply(self, method: str, body: bytes) -> None:
        self._send(*answer(self.server.shop, method, self.path, body))

    def _send(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Release", __version__)
        self.end_headers()
        self.wfile.write(body)
