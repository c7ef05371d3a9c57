"""`python -m orders serve`, `migrate` or `health`; the environment says which database."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from urllib.error import URLError
from urllib.request import urlopen

from orders import __version__, database
from orders.server import Server
from orders.store import Store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m orders", description=__doc__)
    parser.add_argument("command", choices=["serve", "migrate", "health"])
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    if given.command == "migrate":
        return migrate()
    return healthy(given.port) if given.command == "health" else serve(given.port)


def migrate() -> int:
    """Bring the database to what this release needs. It may be called again, and by several at once."""
    with database.connection() as connection:
        for name in database.migrate(connection):
            print(f"applied {name}")
    return 0


def healthy(port: int) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError):
        return 1


def serve(port: int) -> int:
    """Serve until SIGTERM, and answer what was asked before."""
    pool = database.Pool(8)
    server = Server(port, Store(pool))

    def stop(*_: object) -> None:
        # From another thread: shutdown waits for the loop that this handler has interrupted.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    print(f"orders {__version__} serves on port {server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    pool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
