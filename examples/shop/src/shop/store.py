"""Products and orders in SQLite. An order or a refund happens as a whole or not at all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shop.errors import ConflictError, NotFoundError
from shop.orders import Line, Order, Product

_TABLES = """
CREATE TABLE IF NOT EXISTS products (
  sku TEXT PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL, stock INTEGER NOT NULL CHECK (stock >= 0)
);
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS lines (
  order_id INTEGER NOT NULL REFERENCES orders, sku TEXT NOT NULL, quantity INTEGER NOT NULL,
  price INTEGER NOT NULL
);
"""
_PRODUCTS = "SELECT sku, name, price, stock FROM products"

CATALOGUE = (
    Product("tea", "Assam, second flush, 100 g", 890, 100),
    Product("pot", "Tea pot, cast iron", 4900, 12),
    Product("cup", "Cup, stoneware", 1450, 40),
)
"""What a new shop sells."""


class Store:
    """The shop's memory; any thread may use it."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.executescript(_TABLES)
        with self._change() as database:
            rows = [(p.sku, p.name, p.price, p.stock) for p in CATALOGUE]
            database.executemany("INSERT OR IGNORE INTO products VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def products(self) -> list[Product]:
        """Everything for sale."""
        with self._lock:
            rows = self._database.execute(f"{_PRODUCTS} ORDER BY sku").fetchall()
        return [Product(*row) for row in rows]

    def product(self, sku: str) -> Product:
        """One product. Raises NotFoundError."""
        with self._lock:
            return self._product(sku)

    def order(self, number: int) -> Order:
        """One order. Raises NotFoundError."""
        with self._lock:
            return self._order(number)

    def buy(self, lines: tuple[Line, ...]) -> Order:
        """Take the products out of stock. Raises NotFoundError or ConflictError and leaves all as it was."""
        with self._change() as database:
            products = [self._product(line.sku) for line in lines]
            for line, product in zip(lines, products, strict=True):
                if product.stock < line.quantity:
                    raise ConflictError(
                        f"there are {product.stock} of {line.sku} left, and not {line.quantity}"
                    )
            number = database.execute("INSERT INTO orders (state) VALUES ('paid')").lastrowid
            assert number is not None  # an INSERT that did not raise has made a row
            for line, product in zip(lines, products, strict=True):
                self._restock(line.sku, -line.quantity)
                row = (number, line.sku, line.quantity, product.price)
                database.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", row)
            return self._order(number)

    def refund(self, number: int) -> Order:
        """Take the whole order back. Raises NotFoundError, or ConflictError where that was done before."""
        with self._change() as database:
            order = self._order(number)
            if order.state == "refunded":
                raise ConflictError(f"order {number} was refunded before")
            database.execute("UPDATE orders SET state = 'refunded' WHERE id = ?", (number,))
            for line in order.lines:
                self._restock(line.sku, line.quantity)
            return self._order(number)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _product(self, sku: str) -> Product:
        row = self._database.execute(f"{_PRODUCTS} WHERE sku = ?", (sku,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no product {sku}")
        return Product(*row)

    def _order(self, number: int) -> Order:
        row = self._database.execute("SELECT state FROM orders WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no order {number}")
        query = "SELECT sku, quantity, price FROM lines WHERE order_id = ? ORDER BY rowid"
        lines = self._database.execute(query, (number,)).fetchall()
        return Order(number, tuple(Line(*line) for line in lines), row[0])

    def _restock(self, sku: str, change: int) -> None:
        self._database.execute("UPDATE products SET stock = stock + ? WHERE sku = ?", (change, sku))
