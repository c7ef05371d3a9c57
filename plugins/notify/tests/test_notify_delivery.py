from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from penstock import StepFailed, TryLater
from penstock_notify.delivery import deliver
from penstock_notify.messages import Message
from penstock_notify.settings import Notify

from .conftest import Receiver

MESSAGE = Message(
    id="a" * 32,
    kind="failure",
    project="shop",
    run=12,
    time=time.time(),
    title="shop: run 12 failed at test.unit",
    look="penstock show 12",
    reason="é",
)
SECRETS = {"env:URL": "http://{}/secret", "env:TOKEN": "Bearer hunter22"}
Receive = Callable[..., Receiver]


def send(
    message: Message = MESSAGE, find: Callable[[str], str] = SECRETS.__getitem__, **settings: Any
) -> None:
    deliver(Notify.model_validate(settings), message, Path(__file__).parent, find)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_webhook_is_posted_the_message_with_its_key(receive: Receive) -> None:
    receiver = receive()

    send(webhook=receiver.url, headers={"Authorization": "env:TOKEN", "Idempotency-Key": "mine"})

    assert receiver.bodies == [json.loads(MESSAGE.as_json)]
    [headers] = receiver.headers
    assert headers["Idempotency-Key"] == MESSAGE.id
    assert headers["Authorization"] == "Bearer hunter22"
    assert headers["Content-Type"] == "application/json"


def test_a_webhook_s_address_may_be_kept_elsewhere(receive: Receive) -> None:
    receiver = receive()
    send(find=lambda reference: f"http://{receiver.address}/{reference}\n", webhook="env:URL")
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_a_webhook_may_take_later_is_tried_again(receive: Receive, status: int) -> None:
    receiver = receive(status)
    with pytest.raises(TryLater) as caught:
        send(webhook=receiver.url)
    assert str(caught.value) == f'"{MESSAGE.title}" is not told yet: the webhook answered {status}'
    send(webhook=receiver.url)
    assert [headers["Idempotency-Key"] for headers in receiver.headers] == [MESSAGE.id] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404])
def test_what_a_webhook_will_never_take_is_let_go(receive: Receive, status: int) -> None:
    with pytest.raises(StepFailed, match=f"was not told: the webhook answered {status}$"):
        send(webhook=receive(status).url)


def test_a_receiver_that_is_down_is_tried_until_the_message_is_old() -> None:
    webhook = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(TryLater, match="the webhook can't be reached: "):
        send(webhook=webhook)
    old = replace(MESSAGE, time=time.time() - 100)
    with pytest.raises(TryLater):
        send(old, webhook=webhook)
    with pytest.raises(StepFailed, match="was not told: the webhook can't be reached: "):
        send(old, webhook=webhook, keep_trying="90s")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "no address", "http://x y/"])
def test_a_secret_that_is_no_address_is_not_shown(url: str) -> None:
    with pytest.raises((StepFailed, TryLater)) as caught:
        send(find=lambda _: url, webhook="env:URL")
    assert url not in str(caught.value)


def test_a_command_gets_the_message_on_its_input(tmp_path: Path) -> None:
    send(command=["sh", "-c", 'test -e conftest.py && cat > "$0"', str(tmp_path / "told")])
    assert json.loads((tmp_path / "told").read_text()) == json.loads(MESSAGE.as_json)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["sh", "-c", "echo one >&2; echo two >&2; exit 3"], "sh ended with 3: two"),
        (["false"], "false ended with 1"),
        (["./not-there"], "./not-there can't be run: No such file or directory"),
    ],
    ids=["says why", "says nothing", "is not there"],
)
def test_a_command_that_fails_is_tried_again(command: list[str], why: str) -> None:
    with pytest.raises(TryLater) as caught:
        send(command=command)
    assert str(caught.value) == f'"{MESSAGE.title}" is not told yet: {why}'


def test_a_command_that_does_not_read_is_no_failure() -> None:
    send(replace(MESSAGE, reason="x" * 1_000_000), command=["true"])


def test_apprise_takes_it_to_an_address(receive: Receive) -> None:
    receiver = receive()

    send(url=f"json://{receiver.address}/path")
    send(find=lambda _: f"json://{receiver.address}/?format=text", url="env:URL")

    first, second = receiver.bodies
    assert first["title"] == second["title"] == MESSAGE.title
    assert first["message"] == "reason: é\nlook: penstock show 12"
    assert first["type"] == "failure"
    assert [headers["Idempotency-Key"] for headers in receiver.headers] == [MESSAGE.id] * 2


def test_apprise_that_can_t_send_it_shows_no_address(
    receive: Receive, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TryLater) as caught:
        send(url=f"json://ana:hunter22@{receive(500).address}/")
    assert str(caught.value) == (
        f'"{MESSAGE.title}" is not told yet: Apprise could not send it to json://…, which may be down, or refuse it'
    )
    with pytest.raises(StepFailed, match="the url is none that Apprise knows"):
        send(url="slakc://hunter22/x")
    assert capfd.readouterr() == ("", "")


def test_what_sends_is_imported_when_something_is_sent() -> None:
    code = "import sys, penstock_notify; print({'apprise', 'urllib.request', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
