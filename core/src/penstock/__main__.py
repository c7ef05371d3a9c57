"""`penstock`, the program, and `python -m penstock`."""

from __future__ import annotations

import gc


def main() -> None:
    """Run a command, and end the process with its exit code."""
    gc.disable()  # while modules are imported nothing becomes garbage; who goes on for longer enables it
    from penstock import cli  # only now, since that begins with it

    cli.main()


if __name__ == "__main__":
    main()
