"""`python -m shop --port 8000`: open the shop, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import threading
from contextlib import closing, suppress

from shop import __version__
from shop.server import Server
from shop.store import Store


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="shop", description="A small shop over HTTP.")
    parser.add_argument("--port", type=int, required=True, help="the port of 127.0.0.1 to listen at")
    parser.add_argument("--database", default=":memory:", help="an SQLite file; otherwise nothing is kept")
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args()
    with closing(Store(options.database)) as store, Server(options.port, store) as server:
        # `shutdown` waits for `serve_forever` to end, so it must be called from another thread.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"shop {__version__} at http://127.0.0.1:{server.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
