"""PostgreSQL: connections, and the schema, step by step."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pg8000.native
from pg8000.exceptions import Error

MIGRATIONS = (
    (
        "1-products",
        "CREATE TABLE products (sku text PRIMARY KEY, name text NOT NULL, price integer NOT NULL,"
        " stock integer NOT NULL CHECK (stock >= 0))",
    ),
    (
        "2-orders",
        "CREATE TABLE orders (id serial PRIMARY KEY, sku text NOT NULL REFERENCES products,"
        " quantity integer NOT NULL, total integer NOT NULL, at timestamptz NOT NULL DEFAULT now())",
    ),
    (
        "3-catalogue",
        "INSERT INTO products VALUES ('tea', 'Assam, second flush, 100 g', 890, 100000),"
        " ('pot', 'Tea pot, cast iron', 4900, 12)",
    ),
)
"""Names and statements, in order. Each is for the release before, too: both serve while a rollout lasts."""
_LOCK = 41873  # of those who migrate; any number that nobody else uses


def connect() -> pg8000.native.Connection:
    """A connection to the database that DATABASE_HOST and its like name."""
    return pg8000.native.Connection(
        os.environ.get("DATABASE_USER", "orders"),
        host=os.environ.get("DATABASE_HOST", "127.0.0.1"),
        port=int(os.environ.get("DATABASE_PORT", "5432")),
        database=os.environ.get("DATABASE_NAME", "orders"),
        password=os.environ.get("DATABASE_PASSWORD"),
        timeout=5,
    )


@contextmanager
def connection() -> Iterator[pg8000.native.Connection]:
    """A connection for one job."""
    made = connect()
    try:
        yield made
    finally:
        made.close()


def migrate(connection: pg8000.native.Connection) -> list[str]:
    """Apply what is missing, all of it or nothing; the names of what was applied."""
    connection.run("BEGIN")
    try:
        connection.run("SELECT pg_advisory_xact_lock(:lock)", lock=_LOCK)
        connection.run("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
        known = {name for (name,) in connection.run("SELECT name FROM migrations")}
        new = [(name, statement) for name, statement in MIGRATIONS if name not in known]
        for name, statement in new:
            connection.run(statement)
            connection.run("INSERT INTO migrations VALUES (:name)", name=name)
    except BaseException:
        connection.run("ROLLBACK")
        raise
    connection.run("COMMIT")
    return [name for name, _ in new]


class Pool:
    """Connections for threads to borrow, a number at the most; one that broke is made anew."""

    def __init__(self, size: int) -> None:
        self._places: queue.LifoQueue[pg8000.native.Connection | None] = queue.LifoQueue()
        for _ in range(size):
            self._places.put(None)

    @contextmanager
    def borrowed(self) -> Iterator[Any]:
        """A connection, for as long as the caller needs it."""
        kept = self._places.get(timeout=10)
        try:
            kept = kept or connect()
            yield kept
        except (OSError, Error):
            if kept is not None:
                _close(kept)
            kept = None
            raise
        finally:
            self._places.put(kept)

    def close(self) -> None:
        """Close those that nobody has borrowed."""
        while not self._places.empty():
            kept = self._places.get()
            if kept is not None:
                _close(kept)


def _close(connection: pg8000.native.Connection) -> None:
    with suppress(OSError, Error):  # whatever became of it
        connection.close()
