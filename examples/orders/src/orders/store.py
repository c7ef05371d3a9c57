"""Products and orders in the database. An order happens as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from orders import prices
from orders.database import Pool


class NotFoundError(Exception):
    """There is no such thing."""


class ConflictError(Exception):
    """It can't be done as things are."""


@dataclass(frozen=True)
class Order:
    id: int
    sku: str
    quantity: int
    total: int


class Store:
    """Any thread may use it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def check(self) -> None:
        """Raise where the database is not there, or not as this release needs it."""
        with self._pool.borrowed() as connection:
            connection.run("SELECT 1 FROM products LIMIT 1")

    def products(self) -> list[dict[str, object]]:
        """Everything for sale."""
        with self._pool.borrowed() as connection:
            rows = connection.run("SELECT sku, name, price, stock FROM products ORDER BY sku")
        return [dict(zip(("sku", "name", "price", "stock"), row, strict=True)) for row in rows]

    def buy(self, sku: str, quantity: int) -> Order:
        """Take products out of stock. Raises NotFoundError or ConflictError, and changes nothing then."""
        with self._pool.borrowed() as connection:
            connection.run("BEGIN")
            try:
                rows = connection.run(
                    "SELECT price, stock FROM products WHERE sku = :sku FOR UPDATE", sku=sku
                )
                if not rows:
                    raise NotFoundError(f"there is no product {sku}")
                [[price, stock]] = rows
                total = prices.total(price, quantity)
                if stock < quantity:
                    raise ConflictError(f"there are {stock} of {sku} left, and not {quantity}")
                connection.run("UPDATE products SET stock = stock - :n WHERE sku = :sku", n=quantity, sku=sku)
                [[number]] = connection.run(
                    "INSERT INTO orders (sku, quantity, total) VALUES (:sku, :n, :total) RETURNING id",
                    sku=sku,
                    n=quantity,
                    total=total,
                )
            except BaseException:
                connection.run("ROLLBACK")
                raise
            connection.run("COMMIT")
        return Order(number, sku, quantity, total)

    def order(self, number: int) -> Order:
        """One order. Raises NotFoundError."""
        query = "SELECT id, sku, quantity, total FROM orders WHERE id = :id"
        with self._pool.borrowed() as connection:
            rows = connection.run(query, id=number)
        if not rows:
            raise NotFoundError(f"there is no order {number}")
        return Order(*rows[0])
