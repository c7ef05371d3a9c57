"""What `penstock init` says about images. Asks the engine what it has, and builds, pulls and runs nothing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from penstock import Proposal, StepFailed

_PATIENCE = 5.0
_FILES = ("Dockerfile", "Containerfile")
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)
_ARG = re.compile(r"^\s*ARG\s+(\w+)=[\"']?([^\s\"']+)", re.IGNORECASE | re.MULTILINE)
_EXPOSE = re.compile(r"^\s*EXPOSE\s+(\d+)(?:/tcp)?\s*$", re.IGNORECASE | re.MULTILINE)
_ADD = "penstock init --add build.image --uses docker"


def propose(root: Path, add: str | None) -> Proposal | None:
    """An image where there is a Dockerfile; where a section is asked for, what suits the project."""
    file = next((root / name for name in _FILES if (root / name).is_file()), None)
    if file is None:
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    settings: dict[str, Any] = {} if file.name == _FILES[0] else {"dockerfile": file.name}
    if add is None:
        return _begin(file.name, text, settings)
    if add.startswith("build."):
        return Proposal(saw=file.name, sections={add: settings})
    return _deploy(root, text, add) if add.startswith("deploy.") else None


def bases(text: str) -> list[str]:
    """The images that a Dockerfile begins from, without its own stages."""
    defaults = dict(_ARG.findall(text))
    stages: set[str] = {"scratch"}
    found: list[str] = []
    for image, stage in _FROM.findall(text):
        image = re.sub(r"\$\{?(\w+)[^}]*\}?", lambda match: defaults.get(match[1], match[0]), image)
        if image.lower() not in stages and image not in found:
            found.append(image)
        stages.add(stage.lower())
    return found


def _begin(name: str, text: str, settings: dict[str, Any]) -> Proposal:
    from penstock_docker import engine  # as long as all the rest of it takes, where there is no Dockerfile

    def there(client: engine.DockerClient, image: str) -> bool:
        try:
            client.images.get(image)
        except engine.ImageNotFound:
            return False
        return True

    try:
        with engine.connected(None, patience=_PATIENCE) as client:
            missing = [image for image in bases(text) if not there(client, image)]
            version = client.api.version()["Version"]
    except StepFailed as error:
        return _left_out(name, f"{error}. Then: {_ADD}")
    if missing:
        why = f"{missing[0]} is not on this engine yet, and nothing was pulled to see whether it can be"
        return _left_out(name, f"{why}. Then: {_ADD}")
    return Proposal(
        saw=f"{name}, and Docker {version}; added as build.image", sections={"build.image": settings}
    )


def _deploy(root: Path, text: str, add: str) -> Proposal:
    """The hosts are for somebody to say; the repository is where the build step puts the image."""
    settings: dict[str, Any] = {"hosts": ["local"]}
    repository = next((one["repository"] for one in _builds(root) if "repository" in one), None)
    if repository:
        settings["repository"] = repository
    ports = _EXPOSE.findall(text)
    unsure = ['"local" is this machine\'s engine; others are such as "ssh://deploy@web-1"']
    if ports:
        settings["ports"] = [f"{ports[0]}:{ports[0]}"]
        unsure.append('add `health`, such as "/health", where it answers when it is well')
    else:
        unsure.append("the Dockerfile exposes no port: `ports` publishes one")
    saw = "an image, for a container on each host"
    return Proposal(saw=saw, sections={add: settings}, unsure=tuple(unsure))


def _left_out(name: str, why: str) -> Proposal:
    return Proposal(saw=name, unsure=(f"not added: {why}",), enable=False)


def _builds(root: Path) -> list[dict[str, Any]]:
    """The sections that build with this plugin."""
    try:
        found = tomllib.loads((root / "penstock.toml").read_text(encoding="utf-8")).get("build", {})
        return [one for one in found.values() if one.get("uses") == "docker"]
    except (OSError, ValueError, AttributeError):
        return []
