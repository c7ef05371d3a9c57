"""What `tox config` says about each environment → what is expected of it. Pure, and read leniently."""

from __future__ import annotations

import re

from penstock import Model

_HEADER = re.compile(r"\[testenv:(.+)\]")
_ERROR = "HandledError| "
_LINES = 12  # of what tox says


class Environment(Model):
    """One environment that is to run."""

    name: str
    installs: bool = True
    """Whether it installs the package."""
    python: str = ""
    """The Pythons that it may run on."""
    platform: str = ""
    ignored: bool = False
    """Whether its failure does not count, as the project says."""

    @property
    def why_skipped(self) -> str:
        """What tox skips it for, as far as can be told."""
        reasons = [f"no Python for {self.python} on this machine"] if self.python else []
        reasons += [f'the platform is not "{self.platform}"'] if self.platform else []
        return "tox skipped it: " + (" or ".join(reasons) or "the log says why")


def parse(output: str) -> list[Environment]:
    """The environments in what tox printed, in its order."""
    found: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    key = ""
    for line in output.splitlines():
        if header := _HEADER.fullmatch(line.strip()):
            values = found.setdefault(header[1], {})
            key = ""
        elif line[:1] in (" ", "\t") and key:
            values[key] = f"{values[key]} {line.strip()}".strip()
        elif "=" in line and not line.startswith("#"):
            key, _, value = (part.strip() for part in line.partition("="))
            values[key] = value
    return [
        Environment(
            name=name,
            installs=values.get("package") != "skip",
            python=values.get("base_python", ""),
            platform=values.get("platform", ""),
            ignored=values.get("ignore_outcome") == "True",
        )
        for name, values in found.items()
    ]


def complaint(output: str) -> str:
    """The heart of what tox printed when it refused its configuration or the environments' names."""
    _, found, said = output.rpartition(_ERROR)
    lines = [line.rstrip() for line in (said if found else output).splitlines() if line.strip()]
    return "\n".join(lines[:_LINES] if found else lines[-_LINES:])
