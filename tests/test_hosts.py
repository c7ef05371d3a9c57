"""What the tests put onto a machine for their Docker hosts is gone again, also when a session was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import hosts
from tests.projects import ROOT

pytestmark = [pytest.mark.real, pytest.mark.slow]

SESSION = """\
import sys
import time
from pathlib import Path
from tests.hosts import made_hosts
with made_hosts(Path(sys.argv[1])) as made:
    print(made.registry, flush=True)
    sys.stdin.read()
"""


def put_there(number: int) -> list[str]:
    """What a session has put onto the machine."""
    said = [
        subprocess.run(words, capture_output=True, text=True, check=True).stdout
        for words in (["ip", "netns"], ["ip", "-br", "link"], ["iptables", "-w", "-S", "FORWARD"])
    ]
    names = tuple(f"{prefix}{number}" for prefix in ("penstock-hosts-", "pskh", "pskv"))
    lines = [line for text in said for line in text.splitlines() if any(name in line for name in names)]
    return [*lines, *map(str, Path("/run").glob(f"*-{number}"))]


@pytest.mark.parametrize("end", [signal.SIGKILL, None], ids=["killed", "to its end"])
def test_nothing_of_a_session_is_left(end: signal.Signals | None, tmp_path: Path) -> None:
    if hosts.missing():
        pytest.skip(f"Docker hosts need {', '.join(hosts.missing())}")
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION, tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdout is not None
    assert session.stdout.readline()
    assert put_there(session.pid)
    if end:
        session.send_signal(end)
    session.communicate()
    deadline = time.monotonic() + 30
    while True:
        hosts.sweep()  # another session may be at it as well, and the kernel lets go of a network when it can
        if not (left := put_there(session.pid)) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert left == []
