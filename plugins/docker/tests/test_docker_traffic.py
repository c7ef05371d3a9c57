"""Traffic, shifted by a real HAProxy: drained, waited for, given back, in shares; and what goes wrong."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from penstock import ConfigError, Step, StepFailed, Target
from penstock.testing import StepMaker
from penstock_docker import Service, penstock_targets, traffic
from penstock_docker.settings import Proxy
from pydantic import ValidationError

_PATIENCE = 30.0


@dataclass
class Balanced:
    """A HAProxy before two servers, each of which answers with its name."""

    admin: Path
    reader: Path
    port: int
    servers: dict[str, ThreadingHTTPServer] = field(default_factory=dict)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set once a slow request has come to a server."""
    go_on: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str = "/") -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=_PATIENCE) as answer:
            return str(answer.read().decode())

    def counted(self, requests: int = 100) -> Counter[str]:
        return Counter(self.get() for _ in range(requests))

    def proxy(self, **more: object) -> Proxy:
        return Proxy.model_validate(
            {"haproxy": str(self.admin), "backend": "shop", "server": "web{number}", **more}
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(balanced: Balanced, name: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/slow":
                balanced.asked.set()
                balanced.go_on.wait(_PATIENCE)
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(name.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def haproxy(balanced: Balanced, place: Path, weight: int) -> Iterator[None]:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("traffic needs haproxy (Debian's package of that name)")
    lines = [
        "global",
        f"  stats socket {balanced.admin} mode 600 level admin",
        f"  stats socket {balanced.reader} mode 600 level user",
        "defaults",
        "  mode http",
        *(f"  timeout {what} 60s" for what in ("connect", "client", "server")),
        "frontend all",
        f"  bind 127.0.0.1:{balanced.port}",
        "  default_backend shop",
        "backend shop",
        "  balance roundrobin",
        *(
            f"  server {name} 127.0.0.1:{server.server_port} weight {weight} check inter 100ms fall 2 rise 1"
            for name, server in balanced.servers.items()
        ),
    ]
    (place / "haproxy.cfg").write_text("\n".join(lines) + "\n")
    with (place / "haproxy.log").open("wb") as log:
        child = subprocess.Popen([program, "-db", "-f", place / "haproxy.cfg"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            assert child.poll() is None, (place / "haproxy.log").read_text()
            with suppress(OSError):
                balanced.get()
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        child.kill()
        child.wait()


@contextmanager
def balanced(place: Path, weight: int = 100) -> Iterator[Balanced]:
    with ExitStack() as stack:
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-", dir="/tmp")))
        made = Balanced(short / "admin.sock", short / "reader.sock", free_port())
        for name in ("web1", "web2"):
            made.servers[name] = serve(made, name)
            stack.callback(made.servers[name].server_close)
            stack.callback(made.servers[name].shutdown)
        stack.callback(made.go_on.set)
        stack.enter_context(haproxy(made, place, weight))
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    with balanced(tmp_path_factory.mktemp("haproxy")) as made:
        yield made


@pytest.fixture
def shop(shared: Balanced, step: Step) -> Iterator[Balanced]:
    """The one that the tests of this file share, with all traffic where it belongs afterwards."""
    yield shared
    shared.go_on.set()
    for name in shared.servers:
        traffic.shift(shared.proxy(), name, 1.0, step)
    shared.asked.clear()
    shared.go_on.clear()


@pytest.fixture
def step(make_step: StepMaker) -> Step:
    return make_step("deploy.staging")


@pytest.mark.real
def test_a_drained_server_gets_nothing_and_then_its_share_again(shop: Balanced, step: Step) -> None:
    traffic.shift(shop.proxy(), "web1", 0.0, step)
    traffic.shift(shop.proxy(), "web1", 0.0, step)  # the same call twice is one
    assert shop.counted(20) == {"web2": 20}

    traffic.shift(shop.proxy(), "web1", 0.25, step)
    assert shop.counted() == {"web1": 20, "web2": 80}  # 25 to 100

    traffic.shift(shop.proxy(), "web1", 1.0, step)
    assert shop.counted() == {"web1": 50, "web2": 50}


@pytest.mark.real
def test_a_drain_waits_until_the_last_request_is_over(shop: Balanced, step: Step) -> None:
    traffic.shift(shop.proxy(), "web2", 0.0, step)
    said: list[str] = []
    slow = threading.Thread(target=lambda: said.append(shop.get("/slow")))
    slow.start()
    assert shop.asked.wait(_PATIENCE)
    traffic.shift(shop.proxy(), "web2", 1.0, step)
    done = threading.Event()

    def drain() -> None:
        traffic.shift(shop.proxy(drain=600), "web1", 0.0, step)
        done.set()

    draining = threading.Thread(target=drain)
    draining.start()
    deadline = time.monotonic() + _PATIENCE
    while traffic.look(shop.proxy(), "web1").status != "DRAIN":
        assert time.monotonic() < deadline
    assert shop.counted(20) == {"web2": 20}
    assert not done.is_set()
    shop.go_on.set()

    draining.join(_PATIENCE)
    slow.join(_PATIENCE)
    assert done.is_set()
    assert said == ["web1"]


@pytest.mark.real
def test_a_drain_has_its_time(shop: Balanced, step: Step, make_step: StepMaker) -> None:
    traffic.shift(shop.proxy(), "web2", 0.0, step)
    slow = threading.Thread(target=lambda: shop.get("/slow"))
    slow.start()
    assert shop.asked.wait(_PATIENCE)

    traffic.shift(shop.proxy(drain="300ms"), "web1", 0.0, step)

    assert "1 requests are still under way after 0.3 s: they are cut off" in make_step.log_of(step)
    shop.go_on.set()
    slow.join(_PATIENCE)


@pytest.mark.real
def test_traffic_is_given_to_what_haproxy_sees_alone(tmp_path: Path, step: Step) -> None:
    with balanced(tmp_path) as shop:
        traffic.shift(shop.proxy(), "web1", 0.0, step)
        shop.servers["web1"].shutdown()
        shop.servers["web1"].server_close()
        deadline = time.monotonic() + _PATIENCE
        while not traffic.look(shop.proxy(), "web1").status.startswith("DOWN"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

        with pytest.raises(
            StepFailed, match=r"says after 0.2 s that shop/web1 is DOWN.*Compare that with `health`"
        ):
            traffic.shift(shop.proxy(ready="200ms"), "web1", 1.0, step)


@pytest.mark.real
def test_a_share_that_the_weight_does_not_have_is_refused(tmp_path: Path, step: Step) -> None:
    with (
        balanced(tmp_path, weight=1) as shop,
        pytest.raises(StepFailed, match="a weight of 1, of which 5% is none"),
    ):
        traffic.shift(shop.proxy(), "web1", 0.05, step)


@pytest.mark.real
@pytest.mark.parametrize(
    ("about", "server", "said"),
    [
        ({}, "web9", "No such server"),
        ({"backend": "shoe"}, "web1", "No such backend"),
        ({"haproxy": "reader"}, "web1", "level admin"),
        ({"haproxy": "/nowhere.sock"}, "web1", "can't be reached: No such file or directory"),
        ({"haproxy": "127.0.0.1:1"}, "web1", "can't be reached: Connection refused"),
    ],
    ids=["server", "backend", "rights", "socket", "port"],
)
def test_what_haproxy_does_not_do_is_said(
    shop: Balanced, step: Step, about: dict[str, str], server: str, said: str
) -> None:
    if about.get("haproxy") == "reader":
        about = {"haproxy": str(shop.reader)}

    for share in (0.0, 0.5, 1.0):
        with pytest.raises(StepFailed, match=said):
            traffic.shift(shop.proxy(**about), server, share, step)


def test_a_host_is_known_to_the_proxy_by_its_name_or_its_number(make_step: StepMaker) -> None:
    proxy = Proxy(haproxy="/run/haproxy.sock", backend="shop", server="{host}-{number}")

    assert traffic.server(proxy, "ssh://deploy@web-1:2222", 3) == "web-1-3"
    assert traffic.server(proxy, "unix:///run/docker.sock", 1) == "local-1"


def test_the_targets_of_a_proxy_shift_and_others_do_not(make_step: StepMaker) -> None:
    def targets(**more: object) -> list[Target]:
        settings = Service.model_validate({"hosts": ["tcp://web-1:2376", "tcp://web-2:2376"], **more})
        return list(penstock_targets(settings=settings, step=make_step("deploy.staging")))

    proxy = {"haproxy": "/run/haproxy.sock", "backend": "shop"}
    assert [target.shifts for target in targets()] == [False, False]
    assert [target.shifts for target in targets(proxy=proxy)] == [True, True]
    with pytest.raises(ConfigError, match="which is no name"):
        targets(hosts=["tcp://a;b:2376"], proxy=proxy)
    with pytest.raises(
        ConfigError, match=r"makes web of tcp://web-1:2376 and of tcp://web-2:2376\. Tell them apart"
    ):
        targets(proxy={**proxy, "server": "web"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"haproxy": "haproxy.sock"},
        {"backend": "a b"},
        {"server": "a;b"},
        {"server": "a\nset weight"},
        {"drain": -1},
    ],
    ids=str,
)
def test_what_a_proxy_can_not_be_called_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Proxy.model_validate({"haproxy": "/run/haproxy.sock", "backend": "shop", **wrong})
