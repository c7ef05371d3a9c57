"""What needs no engine: settings, names, manifests, and what is said where none can be reached."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import Artifact, ConfigError, StepFailed, StepRefused
from penstock_docker import (
    Image,
    Service,
    archive,
    complaints,
    containers,
    ending,
    engine,
    health,
    image,
    registry,
    ssh,
)
from penstock_docker.image import Blob, Contents
from pydantic import ValidationError

digests = st.binary(max_size=8).map(lambda data: "sha256:" + hashlib.sha256(data).hexdigest())
blobs = st.builds(Blob, digests, st.integers(0, 1 << 40))


@given(st.builds(Contents, blobs, st.lists(blobs, max_size=5).map(tuple)))
def test_a_manifest_is_read_as_it_was_written(contents: Contents) -> None:
    raw = image.manifest(contents)

    assert image.contents(raw) == contents
    assert json.loads(raw)["mediaType"] == image.MANIFEST


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"config": 1, "layers": []}', b"\xff"])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(StepRefused, match="manifest in the store is none"):
        image.contents(raw)


def test_a_manifest_with_more_in_it_is_refused() -> None:
    raw = image.manifest(Contents(Blob("sha256:" + "0" * 64, 1), ()))
    more = json.dumps({**json.loads(raw), "annotations": {}}, sort_keys=True, separators=(",", ":"))

    with pytest.raises(StepRefused, match="not one that this plugin wrote"):
        image.contents(more.encode())


@pytest.mark.parametrize(
    ("repository", "host", "name"),
    [
        ("shop", "docker.io", "library/shop"),
        ("ana/shop", "docker.io", "ana/shop"),
        ("registry.example.com/shop", "registry.example.com", "shop"),
        ("localhost/shop", "localhost", "shop"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b"),
    ],
)
def test_a_repository_is_read_as_docker_reads_it(repository: str, host: str, name: str) -> None:
    assert Image(repository=repository).repository == repository
    assert registry.split(repository) == (host, name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"repository": "https://registry.example.com/shop"},
        {"repository": "Shop"},
        {"repository": "registry.example.com/shop:latest"},
        {"args": {"A B": "x"}},
        {"builder": "kaniko"},
    ],
)
def test_settings_of_a_build_that_are_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Image.model_validate(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"health": "/health"}, "is a path, which needs a port"),
        ({"hosts": ["local", "local"]}, "names one of them twice"),
        ({"hosts": []}, "at least 1"),
        ({"hosts": ["web-1"]}, '"web-1" is no address of a Docker Engine'),
        ({"hosts": ["ssh://"]}, '"ssh://" is no address of a Docker Engine'),
        ({"ports": ["eighty:80"]}, "should match pattern"),
        ({"volumes": ["data"]}, "should match pattern"),
    ],
)
def test_settings_of_a_deploy_step_that_are_wrong(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Service.model_validate(wrong)


def test_ports_as_the_engine_wants_them() -> None:
    service = Service(ports=("8000:80", "8443:80", "127.0.0.1:53:53/udp"))

    assert containers.ports(service) == {"80/tcp": [8000, 8443], "53/udp": [("127.0.0.1", 53)]}


@pytest.mark.parametrize(
    ("host", "path", "url"),
    [
        ("ssh://deploy@web-1", "/health", "http://web-1:8000/health"),
        ("tcp://10.0.0.7:2376", "/", "http://10.0.0.7:8000/"),
        ("unix:///run/docker.sock", "/", "http://127.0.0.1:8000/"),
        ("ssh://deploy@web-1:2222", "https://{host}/health", "https://web-1/health"),
    ],
)
def test_where_a_host_is_asked_for_its_health(host: str, path: str, url: str) -> None:
    settings = Service(hosts=(host,), ports=("127.0.0.1:8000:80",), health=path)

    assert health.url(host, settings) == url


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(StepFailed, match=r"can't be reached: there is no such socket\. Start it"),
        engine.connected(f"unix://{tmp_path}/none.sock"),
    ):
        pytest.fail("it was reached")


def test_an_engine_that_nobody_is(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StepFailed, match="nobody listens there"), engine.connected(where):
            pytest.fail("it was reached")


@pytest.mark.parametrize(
    "where", ["ssh://ana:secret@web-1", "ssh://web-1:port", "ssh://web-1/srv", "ssh://:22"]
)
def test_an_ssh_address_that_is_none(where: str) -> None:
    with pytest.raises(ConfigError, match=r"no address of a host.* Write ssh://USER@HOST"):
        ssh.argv(where)


def test_the_command_that_reaches_a_host() -> None:
    words = ssh.argv("ssh://deploy@web-1:2222")

    assert words[0] == "ssh"
    assert "BatchMode=yes" in words
    assert words[-8:] == [
        "ServerAliveCountMax=3",
        "-l",
        "deploy",
        "-p",
        "2222",
        "--",
        "web-1",
        "docker system dial-stdio",
    ]


KILLED_IN_A_TUNNEL = """
import os, signal
from penstock_docker import ssh
with ssh.tunnel("ssh://web-1"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """As `tmp_path`, with a name that leaves room for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="it needs the program ssh")
def test_what_a_killed_process_has_left_for_ssh_goes_with_the_next_tunnel(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_A_TUNNEL], env={**os.environ, "TMPDIR": str(short_path)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    [left] = short_path.iterdir()

    with ssh.tunnel("ssh://web-1"):
        [mine] = short_path.iterdir()
        assert mine != left
        with ssh.tunnel("ssh://web-2"):
            assert mine in short_path.iterdir()
    assert list(short_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("ssh") is None, reason="it needs the program ssh")
@pytest.mark.parametrize("length", [50, 51, 90, 200])
def test_a_long_name_of_the_temporary_directory_hinders_no_tunnel(
    length: int, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = short_path / ("x" * (length - len(str(short_path)) - 1))
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))

    with ssh.tunnel("ssh://web-1") as made:
        path = Path(made.address.removeprefix("unix://"))
        assert path.is_socket()
        assert len(str(path.with_name("master.0123456789abcdef"))) <= 107
        assert path.is_relative_to(place) == (length == 50)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("TERM", 15), ("SIGQUIT", 3), ("sigwinch", 28), ("9", 9)),
        *(("SIGRTMIN+3", signal.SIGRTMIN + 3), ("SIGNOTHING", 15), ("SIGRTMIN+x", 15)),
    ],
)
def test_what_a_signal_s_name_means(name: str, number: int) -> None:
    assert ending._number(name) == number


def test_what_docker_says_of_an_ssh_connection_that_broke_is_put_in_words() -> None:
    said = 'time="2026-11-26T00:40:51Z" level=error msg="error while CloseRead (stream to stdout): close tcp '
    said += '192.0.2.1:43338->192.0.2.1:2375: shutdown: transport endpoint is not connected"'

    assert complaints.of_connection(said).startswith("it has gone away in the middle. See whether")


def test_a_registry_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        repository = f"127.0.0.1:{taken.getsockname()[1]}/shop"
        with (
            pytest.raises(StepFailed, match=r"registry 127\.0\.0\.1:\d+ can't be reached"),
            registry.opened(repository) as place,
        ):
            place.has_blob("sha256:" + "0" * 64)


def test_an_image_of_another_plugin_is_said() -> None:
    with pytest.raises(StepFailed, match="built by another plugin"):
        archive.engine_digest(Artifact(name="x", kind="image", digest="sha256:" + "0" * 64))
