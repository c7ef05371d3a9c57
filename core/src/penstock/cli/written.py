"""`logs ENV`: what the service that is deployed to an environment writes, on all of its targets."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from penstock.cli.common import load_plan, open_project, seconds_of
from penstock.cli.lines import Look
from penstock.cli.text import coloured, harmless
from penstock.configfile import find
from penstock.errors import StepFailed
from penstock.executor import LocalPool, Progress
from penstock.plan import Plan
from penstock.request import Reading, Request, Response, make_request
from penstock.state import RunState
from penstock.worker import Worker

_LINES = 100
"""Of each target, where nobody says how many."""


def show(environment: str, *, follow: bool, since: str | None, tail: int | None) -> int:
    """Print the lines of all targets, each with its target before it."""
    reading = Reading(
        since=None if since is None else time.time() - seconds_of("--since", since),
        tail=_LINES if since is None and tail is None else tail,
        follow=follow,
    )
    path = find(Path.cwd())
    _, plugins, plan = load_plan(path)
    opened = open_project(path)
    pool = LocalPool(lambda: Worker(opened.root, plugins, opened.home), in_child=lambda: None)
    try:
        requests = list(_requests(plan, environment, reading, pool))
        return _read(pool, requests)
    finally:
        pool.close()


def _requests(plan: Plan, environment: str, reading: Reading, pool: LocalPool) -> Iterator[Request]:
    """One request a target: a slow one keeps no other back."""
    for step in plan.deploys(environment):
        asked = make_request(plan, RunState(plan, 0), step.name, "logs", reading=reading)
        pool.submit(step.name, asked)
        response = _answer(pool)
        if response.outcome != "passed":
            raise StepFailed(f"{step.name}: {response.reason}")
        for target in response.data["targets"]:
            yield asked.model_copy(update={"target": target})


def _answer(pool: LocalPool) -> Response:
    while True:
        for news in pool.wait(None):
            if not isinstance(news, Progress):
                return news.response


def _read(pool: LocalPool, requests: list[Request]) -> int:
    width = max(len(str(request.target)) for request in requests)
    for request in requests:
        pool.submit(str(request.target), request)
    left, failed = len(requests), False
    while left:
        for news in pool.wait(None):
            if isinstance(news, Progress):
                click.echo(f"{news.ticket:<{width}} | {_shown(news.what)}")
                continue
            left -= 1
            if news.response.outcome != "passed":
                failed = True
                click.echo(f"penstock: {news.ticket}: {news.response.reason}", err=True)
        sys.stdout.flush()
    return 1 if failed else 0


def _shown(line: str) -> str:
    # A terminal would obey what a program printed; a file gets it as it is.
    if not sys.stdout.isatty():
        return line
    return coloured(line) if Look.of(sys.stdout).colour else harmless(line)
