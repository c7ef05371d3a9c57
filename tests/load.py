"""Requests at a steady rate, whatever becomes of them: what users see while a release goes out.

The loop is open: a request leaves at its time whether or not those before it were answered, so that a service that
stalls is not spared the load. What was answered, by which release, and what was not, is counted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PATIENCE = 15.0


@dataclass(frozen=True)
class Answer:
    """One request: when it left, how long it took, what came back; status 0 where nothing did."""

    at: float
    seconds: float
    status: int
    release: str
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 200


@dataclass(frozen=True)
class Figures:
    """What came of all requests."""

    answers: tuple[Answer, ...]

    @property
    def failures(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failed]

    def by_release(self, *, failed: bool = False) -> Counter[str]:
        """How many requests each release answered; those that nothing answered count for ""."""
        return Counter(answer.release for answer in self.answers if answer.failed or not failed)

    def __str__(self) -> str:
        seconds = max((answer.at for answer in self.answers), default=0.0)
        slowest = sorted(answer.seconds for answer in self.answers)
        middle, late = (slowest[int(len(slowest) * share)] * 1000 for share in (0.5, 0.99))
        return (
            f"{len(self.answers)} requests in {seconds:.1f} s ({len(self.answers) / max(seconds, 0.001):.0f}/s), "
            f"{len(self.failures)} failed; by release {dict(self.by_release())}, "
            f"failed {dict(self.by_release(failed=True))}; median {middle:.0f} ms, 99 % within {late:.0f} ms"
        )


class Load:
    """Asks a URL so often a second, from a thread of its own, for as long as the block lasts."""

    def __init__(self, url: str, *, rate: float = 40.0) -> None:
        parts = urlsplit(url)
        self._name, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._request = (
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        )
        self._rate = rate
        self._answers: list[Answer] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    @property
    def figures(self) -> Figures:
        """What has come back until now."""
        return Figures(tuple(self._answers))

    async def _send(self) -> None:
        begin = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        number = 0
        while not self._over.is_set():
            wait = begin + number / self._rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            number += 1
            task = asyncio.create_task(self._ask(begin))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _ask(self, begin: float) -> None:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                status, release, why = await self._asked()
        except (OSError, ValueError, TimeoutError) as error:
            status, release, why = 0, "", repr(error)
        self._answers.append(Answer(sent - begin, time.monotonic() - sent, status, release, why))

    async def _asked(self) -> tuple[int, str, str]:
        reader, writer = await asyncio.open_connection(self._name, self._port)
        try:
            writer.write(self._request.encode())
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if int(fields.get("content-length", len(body))) != len(body.encode()):
            raise ValueError("the answer was cut off")
        words = first.split()
        if len(words) < 2:
            raise ValueError("there was no answer")
        return int(words[1]), fields.get("x-release", ""), body[:200]
