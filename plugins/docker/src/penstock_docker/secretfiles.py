"""Secrets as files in a container: there before its program starts, and in nothing that describes it.

They lie in the container's own layer, which belongs to root of that host, and not in memory: a container
that its engine starts again, after a crash or when the host was off, needs them when nobody is there to hand
them over.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from penstock import StepFailed

from penstock_docker.engine import DockerClient

PLACE = "run/secrets"


def put(client: DockerClient, container: str, values: Mapping[str, str]) -> None:
    """Write the secrets into a container that does not run yet."""
    if not values:
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, value in values.items():
            data = value.encode(errors="surrogateescape")
            member = tarfile.TarInfo(f"{PLACE}/{name}")
            # As Swarm does it: whatever user the image runs as can read them.
            member.size, member.mode = len(data), 0o444
            tar.addfile(member, io.BytesIO(data))
    if not client.api.put_archive(container, "/", packed.getvalue()):
        raise StepFailed("the engine did not take the files of secret_files")
