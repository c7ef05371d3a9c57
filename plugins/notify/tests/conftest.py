from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from penstock import Event, Observed
from penstock.home import Home
from penstock.journal import Journal, New
from penstock.plugins import Plugins
from penstock.provisions import find
from penstock_notify import messages
from penstock_notify.messages import Message

COMMIT = "4f2c1e9" + "0" * 33
DIGEST = "sha256:" + "9b1f" * 16


class Record:
    """A journal, in which a test says what happened."""

    def __init__(self, root: Path) -> None:
        self.journal = Journal(Home.of(root).journal)
        self.observed = Observed("observe.chat", "shop", root, self.journal, partial(find, Plugins()))
        self.last: Event | None = None

    def began(self, ref: str | None = "main", **data: Any) -> int:
        """A run begins, and has its source; its number."""
        run, _ = self.journal.begin([New("run.started", None, {"plan": "p", **data}, 1.0)])
        if "release" not in data:
            self.tell(run, "step.finished", "source", state="passed", revision=revision(ref))
        return run

    def tell(self, run: int, kind: str, step: str | None = None, **data: Any) -> Event:
        """Something happens, at the second that is its number."""
        at = float(len(self.journal.since(0)) + 1)
        [self.last] = self.journal.append(run, [New(kind, step, data, at)])
        return self.last

    def about(self, event: Event | None = None) -> list[Message]:
        """What there is to tell of the last event."""
        event = event or self.last
        assert event is not None
        return messages.about(event, self.observed)


def revision(ref: str | None) -> dict[str, Any]:
    return {"commit": COMMIT, "ref": ref, "author": "Ana <ana@example.com>", "subject": "Fix the refund"}


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    made = Record(tmp_path)
    yield made
    made.journal.close()


class Receiver:
    """A real receiver on loopback, which answers with these statuses, then with 200."""

    def __init__(self, statuses: list[int]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                receiver.headers.append(dict(self.headers))
                self.send_response(statuses.pop(0) if statuses else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                raise AssertionError("a message was left behind")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.address}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Receiver]]:
    """Starts receivers; what they are sent goes through no proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made: list[Receiver] = []

    def start(*statuses: int) -> Receiver:
        made.append(Receiver(list(statuses)))
        return made[-1]

    yield start
    for receiver in made:
        receiver.close()
