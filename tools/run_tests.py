"""`./run-tests`: every check of tox.ini, or those that the arguments ask tox for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

from bootstrap import ROOT, SetupError, alone, ensure, environment

TOX = ("tox>=4.30,<5", "tox-uv>=1.28,<2")
_CLOSING = re.compile(r"(?:=+ )?(\d+ (?:passed|failed|skipped|deselected|errors?).* in [\d.]+s.*?)(?: =+)?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Run tox, and end with pytest's own closing line: that is what people look for."""
    tools = ROOT / ".tox" / ".run-tests"
    try:
        with alone("set-up"):
            tools.parent.mkdir(exist_ok=True)
            ensure(tools, TOX)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    colour = "yes" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else "no"
    command = [str(tools / "bin" / "tox"), "run", "--colored", colour, *sys.argv[1:]]
    tox = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert tox.stdout is not None
    # tox gets Ctrl-C from the terminal itself and stops its commands; its last words are still read.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: tox.terminate())
    closing = ""
    for line in tox.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        found = _CLOSING.fullmatch(_COLOUR.sub("", line.decode(errors="replace")).strip())
        closing = found[1] if found else closing
    code = tox.wait()
    if closing:
        print(f"\n{closing}")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
