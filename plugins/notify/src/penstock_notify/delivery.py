"""Takes a message to its receiver: through Apprise, to a webhook, or to a command."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock import StepFailed, TryLater

from penstock_notify.messages import Message
from penstock_notify.settings import Notify, is_reference

_PATIENCE = 4.0
"""Seconds that a receiver has to answer: fewer than observers have after a run."""
_COMMAND = 60.0
_AGAIN = (408, 425, 429)
"""What a receiver answers that may take the message later, beside all from 500."""
_OWN_JSON = ("json", "jsons", "xml", "xmls", "form", "forms")
"""Apprise's addresses of receivers that one writes oneself: those are told the id in a header, too."""
_TYPE = {"failure": "failure", "recovery": "success", "waiting": "warning", "deployed": "success"}

Find = Callable[[str], str]


def deliver(settings: Notify, message: Message, root: Path, find_secret: Find) -> None:
    """Take it there. Raises TryLater where that may go better soon, and StepFailed where it won't."""
    try:
        if settings.webhook:
            _post(settings, message, find_secret)
        elif settings.command:
            _run(settings.command, message, root)
        else:
            _apprise(_plain(str(settings.url), find_secret), message)
    except TryLater as error:
        if time.time() - message.time > settings.keep_trying:
            raise StepFailed(f'"{message.title}" was not told: {error}') from None
        raise TryLater(f'"{message.title}" is not told yet: {error}') from None


def _plain(text: str, find_secret: Find) -> str:
    return find_secret(text).strip() if is_reference(text) else text


# --- webhook ---


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Who is led elsewhere would ask there with GET, and leave the message behind."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(settings: Notify, message: Message, find_secret: Find) -> None:
    headers = {name: _plain(value, find_secret) for name, value in settings.headers.items()}
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "penstock-notify",
        **headers,
        "Idempotency-Key": message.id,
    }
    try:
        request = urllib.request.Request(  # noqa: S310 - the settings allow http and https alone
            _plain(str(settings.webhook), find_secret), message.as_json, headers, method="POST"
        )
        if request.type not in ("http", "https"):
            raise StepFailed("the webhook's address is none of http or https")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_PATIENCE):
            return
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _AGAIN or error.code >= 500:
            raise TryLater(f"the webhook answered {error.code}") from None
        raise StepFailed(f'"{message.title}" was not told: the webhook answered {error.code}') from None
    except (OSError, urllib.error.URLError) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TryLater(f"the webhook can't be reached: {why}") from None
    except (ValueError, http.client.InvalidURL):  # it may hold a secret: it is not shown
        raise StepFailed("the webhook's address, or a header, is none that can be sent") from None
    except http.client.HTTPException as error:
        raise TryLater(f"the webhook does not speak HTTP: {type(error).__name__}") from None


# --- command ---


def _run(command: tuple[str, ...], message: Message, root: Path) -> None:
    try:
        child = subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise TryLater(f"{command[0]} can't be run: {error.strerror}") from None
    try:
        _, complaint = child.communicate(message.as_json, timeout=_COMMAND)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise TryLater(f"{command[0]} took longer than {_COMMAND:.0f} s") from None
    if child.returncode != 0:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise TryLater(f"{command[0]} ended with {child.returncode}" + (f": {last}" if last else ""))


# --- Apprise ---


def _apprise(url: str, message: Message) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what its many services import
        _send(url, message)


def _send(url: str, message: Message) -> None:
    import logging

    import apprise  # half a second

    if url.partition("://")[0].lower() in _OWN_JSON:
        url += ("&" if "?" in url else "?") + f"+Idempotency-Key={message.id}"
    # What it says of an address may show the secrets in it.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    receiver = apprise.Apprise()
    if not receiver.add(url):
        raise StepFailed(
            f'"{message.title}" was not told: the url is none that Apprise knows. They are listed at '
            "https://appriseit.com/services/"
        )
    sent = receiver.notify(
        body=message.text,
        title=message.title,
        notify_type=_TYPE.get(message.kind, "info"),
        body_format=apprise.NotifyFormat.TEXT,  # a commit's subject is no markup
    )
    if not sent:
        service = url.partition("://")[0]
        raise TryLater(f"Apprise could not send it to {service}://…, which may be down, or refuse it")
