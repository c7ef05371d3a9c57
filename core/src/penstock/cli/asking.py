"""Asks the plugins of a project something, each request in a worker process, outside any run."""

from __future__ import annotations

from typing import Any

from penstock.cli.common import Opened
from penstock.errors import PluginError
from penstock.executor import Done, LocalPool
from penstock.plugins import Plugins
from penstock.request import Request, Response
from penstock.worker import Worker


def ask_worker(opened: Opened, plugins: Plugins, request: Request) -> Response:
    """Have one request worked on outside a run, in a worker process."""
    pool = LocalPool(lambda: Worker(opened.root, plugins, opened.home), in_child=lambda: None)
    try:
        pool.submit("ask", request)
        while True:
            for news in pool.wait(None):
                if isinstance(news, Done):
                    return news.response
    finally:
        pool.close()


def must_pass(response: Response, what: str) -> dict[str, Any]:
    """The response's data. Raises PluginError where the request did not pass."""
    if response.outcome != "passed":
        raise PluginError(f"{what}: {response.reason}")
    return response.data
