from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from penstock import Event, config
from penstock.errors import ConfigError
from penstock_notify import penstock_event
from penstock_notify.settings import Notify

from .conftest import Receiver, Record
from .test_notify_messages import ended

HEAD = '[penstock]\nplugins = ["git", "shell", "notify"]\n[test.it]\nuses = "shell"\nrun = "true"\n[observe.x]\nuses = "notify"\n'
WRONG = {
    'url = "chat"': '[observe.x] url: must be an address such as "slack://…", or where it is kept: "env:CHAT_URL"',
    'webhook = "ftp://x/"': '[observe.x] webhook: must be an address such as "https://…", or where it is kept: "env:HOOK_URL"',
    'webhook = "http://"': '[observe.x] webhook: must be an address such as "https://…", or where it is kept: "env:HOOK_URL"',
    'webhook = "http://[x/"': '[observe.x] webhook: must be an address such as "https://…", or where it is kept: "env:HOOK_URL"',
    "command = ['']": '[observe.x] command: must begin with the name of a program, such as ["./tell.sh", "--quiet"]',
    "command = 'x'": "[observe.x] command: must be a list",
    'command = ["x"]\non = ["success"]': "[observe.x] on.0: ",
    'command = ["x"]\nurl = "a://b"': "[observe.x] url and command stand side by side",
    "": "[observe.x] nobody is named to be told: a section has one of url, webhook and command",
    'command = ["x"]\nheaders = {A = "b"}': "[observe.x] headers are sent with a webhook, and there is none",
    'command = ["x"]\ncomand = 1': '[observe.x] comand: there is no such key. Did you mean "command"?',
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text(HEAD + text + "\n")

    with pytest.raises(ConfigError) as caught:
        config.load(path)

    assert WRONG[text] in str(caught.value)
    assert str(caught.value).startswith("penstock.toml:")


def test_only_what_is_asked_for_is_told(record: Record, receive: Any) -> None:
    receiver: Receiver = receive()
    settings = Notify(webhook=receiver.url, on=("recovery",))
    ended(record, "failed")
    ended(record, "passed")

    for run in (1, 2):
        for event in record.journal.events(run):
            penstock_event(settings, event, record.observed)

    assert [body["kind"] for body in receiver.bodies] == ["recovery"]


def test_an_event_of_another_kind_costs_nothing(record: Record) -> None:
    event = Event(id=1, run=99, time=0.0, type="step.started", step="deploy.x")
    penstock_event(Notify(command=("false",)), event, record.observed)
