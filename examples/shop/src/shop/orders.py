"""What an order is and how one is read from a request. Pure: no database, no HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from shop.errors import InvalidError

MOST = 1000
"""More of one thing than anybody buys here."""


@dataclass(frozen=True)
class Product:
    """Something for sale; the price is in cents, so that no sum is ever rounded."""

    sku: str
    name: str
    price: int
    stock: int


@dataclass(frozen=True)
class Line:
    """So many of one product, at the price of that moment."""

    sku: str
    quantity: int
    price: int = 0


@dataclass(frozen=True)
class Order:
    """What somebody bought."""

    id: int
    lines: tuple[Line, ...]
    state: str

    @property
    def total(self) -> int:
        """What it costs, in cents."""
        return total(self.lines)

    def as_json(self) -> dict[str, object]:
        """How it is shown to the customer."""
        return {**asdict(self), "total": self.total}


def total(lines: Iterable[Line]) -> int:
    """The sum of some lines, in cents."""
    return sum(line.quantity * line.price for line in lines)


def read_lines(body: object) -> tuple[Line, ...]:
    """The lines of an order that was sent as JSON; lines of the same product become one.

    Raises InvalidError where it is anything but a list of products with quantities.
    """
    if not isinstance(body, dict) or not isinstance(body.get("lines"), list):
        raise InvalidError('an order looks like {"lines": [{"sku": "tea", "quantity": 2}]}')
    wanted: dict[str, int] = {}
    for entry in body["lines"]:
        line = _read_line(entry)
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    if not wanted:
        raise InvalidError("an order has at least one line")
    return tuple(Line(sku, quantity) for sku, quantity in wanted.items())


def _read_line(entry: object) -> Line:
    if not isinstance(entry, dict) or not isinstance(entry.get("sku"), str):
        raise InvalidError('a line looks like {"sku": "tea", "quantity": 2}')
    quantity = entry.get("quantity")
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 1 <= quantity <= MOST:
        raise InvalidError(f"a quantity is a whole number from 1 to {MOST}, and not {quantity!r}")
    return Line(entry["sku"], quantity)
