"""The load that other tests judge a rollout by: it has to see what goes wrong."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from tests.load import Load
from tests.projects import free_port

RATE = 50.0
GOOD = "HTTP/1.0 200 OK\r\nX-Release: {}\r\nContent-Length: 4\r\n\r\nwell"


@contextmanager
def served(answer: Callable[[int], str]) -> Iterator[str]:
    """A service that answers its requests, by their number, with these bytes; its address."""
    numbers = count()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer(next(numbers)).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def until(load: Load, requests: int) -> None:
    """Wait until so many have been answered."""
    reached = threading.Event()
    while len(load.figures.answers) < requests:
        reached.wait(0.01)


def test_each_release_s_answers_are_counted() -> None:
    with served(lambda number: GOOD.format(number % 2)) as url, Load(url, rate=RATE) as load:
        until(load, 20)
    figures = load.figures
    assert figures.failures == []
    assert figures.by_release().keys() == {"0", "1"}
    assert sum(figures.by_release().values()) == len(figures.answers)


@pytest.mark.parametrize(
    ("bad", "release"),
    [
        pytest.param("HTTP/1.0 503 No\r\nX-Release: 2\r\n\r\n", "2", id="an error"),
        pytest.param(GOOD.format("2").removesuffix("ll"), "", id="an answer that is cut off"),
        pytest.param("", "", id="no answer"),
        pytest.param("nonsense\r\n\r\n", "", id="no HTTP"),
    ],
)
def test_what_goes_wrong_is_a_failure(bad: str, release: str) -> None:
    with served(lambda number: GOOD.format("1") if number % 4 else bad) as url, Load(url, rate=RATE) as load:
        until(load, 20)
    figures = load.figures
    assert figures.by_release(failed=True).keys() == {release}
    assert len(figures.failures) >= len(figures.answers) // 4


def test_where_nobody_listens_every_request_fails() -> None:
    with Load(f"http://127.0.0.1:{free_port()}/", rate=RATE) as load:
        until(load, 10)
    assert load.figures.failures == list(load.figures.answers)


def test_a_service_that_stalls_is_asked_all_the_same() -> None:
    """The loop is open: nobody waits for an answer before the next request leaves."""
    going_on = threading.Event()

    def stall(number: int) -> str:
        if number == 19:
            going_on.set()
        going_on.wait(10)
        return GOOD.format("1")

    with served(stall) as url, Load(url, rate=RATE) as load:
        until(load, 20)
    assert load.figures.failures == []
