from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock import Check, ConfigError, StepFailed, Verification
from penstock.gates import judge
from penstock.plan import PlanStep
from penstock.testing import StepMaker
from penstock_http import penstock_verify
from penstock_http.settings import Http

Serve = Callable[..., Any]


def ok(body: bytes = b"ok", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def verify(make_step: StepMaker, url: str, **settings: Any) -> Verification:
    values = {"url": url, "interval": 0, "request_timeout": 5, **settings}
    return penstock_verify(Http.model_validate(values), make_step("verify.staging", environment="staging"))


def only(found: Verification) -> Check:
    (check,) = found.checks
    return check


def shape(text: str) -> str:
    """A detail without its times."""
    return re.sub(r"\d+(\.\d+)? m?s\b", "… ms", text)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# --- what passes ---


def test_good_answers(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok())
    step = make_step("verify.staging")
    found = penstock_verify(Http(url=server.url, count=5, interval=0), step)
    check = only(found)
    assert (check.name, check.passed, check.detail) == ("HTTP 200", True, "5 of 5")
    assert len(server.requests) == 5
    assert shape(make_step.log_of(step)) == (
        f"GET {server.url}\n5 of 5 good, … ms on average, … ms at most\n"
    )


def test_request_as_it_is_sent(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok())
    verify(make_step, server.url + "?a=b#part", headers={"X-A": "1", "accept": "text/plain"})
    assert server.requests[0].decode().split("\r\n") == [
        "GET /health?a=b HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Accept-Encoding: identity",
        "Connection: close",
        "User-Agent: penstock-http",
        "X-A: 1",
        "accept: text/plain",
        "",
        "",
    ]


def test_own_host_header_is_the_only_one(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok())
    verify(make_step, server.url, headers={"host": "shop.example.com"})
    assert server.requests[0].lower().count(b"host:") == 1
    assert b"host: shop.example.com\r\n" in server.requests[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_methods(make_step: StepMaker, serve: Serve, method: str) -> None:
    server = serve(ok(b"" if method != "HEAD" else b"x")[: None if method != "HEAD" else -1])
    assert verify(make_step, server.url, method=method).passed
    assert server.requests[0].startswith(method.encode() + b" ")


def test_ipv6(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok(), host="::1")
    assert verify(make_step, server.url).passed
    assert f"Host: [::1]:{server.port}".encode() in server.requests[0]


def test_name_is_asked_at_each_of_its_addresses(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok())  # on 127.0.0.1 alone, where localhost may be ::1 first
    assert verify(make_step, server.url.replace("127.0.0.1", "localhost")).passed


def test_proxies_are_not_used(make_step: StepMaker, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert verify(make_step, serve(ok()).url).passed


@pytest.mark.parametrize("status", ["204 No Content", "200 OK"])
def test_one_of_several_statuses(make_step: StepMaker, serve: Serve, status: str) -> None:
    check = only(verify(make_step, serve(ok(b"", status)).url, status=[200, 204]))
    assert (check.name, check.passed) == ("HTTP 200 or 204", True)


def test_status_that_is_no_success_may_be_wanted(make_step: StepMaker, serve: Serve) -> None:
    assert verify(make_step, serve(ok(b"", "401 Unauthorized")).url, status=401).passed


def test_all_questions_are_checks(make_step: StepMaker, serve: Serve) -> None:
    found = verify(make_step, serve(ok(b'{"a": "up"}')).url, body='"a": *"up"', max_latency="4s", count=2)
    assert [(check.name, check.passed, check.detail) for check in found.checks] == [
        ("HTTP 200", True, "2 of 2"),
        ("body", True, "2 of 2"),
        ("within 4 s", True, "2 of 2"),
    ]


@pytest.mark.parametrize(
    ("raw", "pattern"),
    [
        pytest.param(ok("größe".encode()), "größe", id="UTF-8"),
        pytest.param(
            ok("größe".encode("latin-1"), headers="Content-Type: text/plain; charset=ISO-8859-1\r\n"),
            "größe",
            id="Latin",
        ),
        pytest.param(
            ok(b"gr\xffe", headers="Content-Type: text/plain; charset=punycode\r\n"), "gr.e", id="odd"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n3\r\n and\r\n0\r\n\r\n",
            None,
            id="bad chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n2\r\n !\r\n0\r\n\r\n",
            "up !",
            id="chunks",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nup", "^up$", id="until it closes"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"up"), "^up$", id="100 first"),
    ],
)
def test_bodies(make_step: StepMaker, serve: Serve, raw: bytes, pattern: str | None) -> None:
    found = verify(make_step, serve(raw).url, body=pattern or ".")
    assert found.passed is (pattern is not None)


# --- what does not ---


def test_refused(make_step: StepMaker, closed_port: int) -> None:
    check = only(verify(make_step, f"http://127.0.0.1:{closed_port}/", count=2))
    assert not check.passed
    assert shape(check.detail) == "0 of 2; request 1: connection refused, after … ms"


def test_bad_answers_are_counted_and_shown(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok(), ok(b"no\r\n database \x1b[31m" + b"x" * 500, "503 Service Unavailable"), ok())
    check = only(verify(make_step, server.url, count=4))
    assert not check.passed
    assert shape(check.detail) == (
        f"3 of 4; request 2: 503 after … ms; body: no database \N{REPLACEMENT CHARACTER}[31m{'x' * 103}…"
    )


def test_gate_says_what_was_seen(make_step: StepMaker, serve: Serve) -> None:
    found = verify(make_step, serve(ok(b"", "500 Oops")).url)
    verdict = judge(PlanStep.model_construct(phase="verify"), found)
    assert verdict is not None
    assert (verdict[0], shape(verdict[1])) == ("failed", "HTTP 200: 0 of 1; request 1: 500 after … ms")


def test_body_that_does_not_match(make_step: StepMaker, serve: Serve) -> None:
    status, body = verify(make_step, serve(ok(b"down"), ok(b""), ok(b"up")).url, body="^up$", count=3).checks
    assert status.passed
    assert (body.passed, body.detail) == (False, '1 of 3; request 1: "^up$" is not in it: down')
    body = verify(make_step, serve(ok(b"")).url, body="up").checks[1]
    assert body.detail == '0 of 1; request 1: "up" is not in it: it is empty'


def test_slow_answer(make_step: StepMaker, serve: Serve) -> None:
    def slow(connection: socket.socket, request: bytes) -> None:
        time.sleep(0.15)  # what is measured is time itself
        connection.sendall(ok())

    status, latency = verify(make_step, serve(slow).url, max_latency="100ms").checks
    assert status.passed
    assert (latency.name, latency.passed) == ("within 100 ms", False)
    assert re.fullmatch(r"0 of 1; request 1: it took \d+ ms", latency.detail)


def drip(head: bytes, more: bytes) -> Callable[[socket.socket, bytes], None]:
    """A server that never ends an answer, and never pauses for long."""

    def handle(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        gone = threading.Event()
        while not gone.wait(0.02):
            connection.sendall(more)

    return handle


@pytest.mark.parametrize(
    ("head", "more"),
    [
        pytest.param(b"", b"H", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x", id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="100 again and again"),
    ],
)
def test_drip_is_ended_by_the_timeout(make_step: StepMaker, serve: Serve, head: bytes, more: bytes) -> None:
    started = time.monotonic()
    check = only(verify(make_step, serve(drip(head, more)).url, request_timeout=0.4))
    assert time.monotonic() - started < 2
    assert check.detail.startswith(
        ("0 of 1; request 1: no whole answer within 0.4 s", "0 of 1; request 1: what was")
    )
    assert not check.passed


def test_silence_is_ended_by_the_timeout(make_step: StepMaker, serve: Serve) -> None:
    def silent(connection: socket.socket, request: bytes) -> None:
        connection.recv(1)

    check = only(verify(make_step, serve(silent).url, request_timeout=0.2))
    assert shape(check.detail) == "0 of 1; request 1: no whole answer within … ms, after … ms"


def test_listener_that_never_accepts_is_ended_by_the_timeout(make_step: StepMaker) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert "no whole answer within 0.2 s" in only(verify(make_step, url, request_timeout=0.2)).detail


def test_huge_body_is_read_in_part(make_step: StepMaker, serve: Serve) -> None:
    def endless(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nbegin")
        while True:
            connection.sendall(b"x" * 65536)

    found = verify(make_step, serve(endless).url, body="^begin")
    assert found.passed
    late = verify(make_step, serve(endless).url, body="xend").checks[1]
    assert re.fullmatch(r'0 of 1; request 1: "xend" is not in it: beginx+…', late.detail)


@pytest.mark.parametrize(
    ("head", "more", "said"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"A: " + b"b" * 60_000 + b"\r\n", "is not HTTP", id="headers"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            b"x" * 65536,
            "too large",
            id="chunk of -1",
        ),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "too large", id="100 again and again"),
        pytest.param(b"", b"x" * 65536, "is not HTTP", id="status line"),
    ],
)
def test_flood_is_cut_off(make_step: StepMaker, serve: Serve, head: bytes, more: bytes, said: str) -> None:
    def flood(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(more)

    check = only(verify(make_step, serve(flood).url, request_timeout=20))
    assert said in check.detail


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "is not HTTP: SSH-2.0-OpenSSH_9.2", id="another protocol"),
        pytest.param(b"\x00\xff\xfe\r\n\r\n", "is not HTTP", id="bytes"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", "is not HTTP", id="status"),
        pytest.param(b"HTTP/9.9 200 OK\r\n\r\n", "is not HTTP", id="version"),
        pytest.param(b"", "closed without an answer", id="nothing"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
            "200, but its body ended 8 bytes early",
            id="short body",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx",
            "body ended early",
            id="short chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
            "body ended early",
            id="garbled chunk",
        ),
    ],
)
def test_garbage(make_step: StepMaker, serve: Serve, raw: bytes, said: str) -> None:
    check = only(verify(make_step, serve(raw).url))
    assert not check.passed
    assert said in check.detail


def test_reset(make_step: StepMaker, serve: Serve) -> None:
    def reset(connection: socket.socket, request: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert "closed without an answer" in only(verify(make_step, serve(reset).url)).detail


def test_name_that_does_not_exist(make_step: StepMaker) -> None:
    check = only(verify(make_step, "http://nobody.invalid/"))
    assert "the name can't be resolved" in check.detail or "no whole answer" in check.detail


def test_name_that_is_malformed(make_step: StepMaker) -> None:
    assert "too long" in only(verify(make_step, f"http://{'a' * 70}.invalid/")).detail


# --- how often ---


def test_interval_is_from_begin_to_begin(make_step: StepMaker, serve: Serve) -> None:
    started = time.monotonic()
    verify(make_step, serve(ok()).url, count=3, interval="100ms")
    assert 0.2 <= time.monotonic() - started < 1.5


def test_duration_asks_for_so_long(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok())
    started = time.monotonic()
    check = only(verify(make_step, server.url, duration="400ms", interval="50ms"))
    assert check.passed
    assert 0.3 <= time.monotonic() - started < 2
    assert 2 <= len(server.requests) <= 8
    assert check.detail == f"{len(server.requests)} of {len(server.requests)}"


@pytest.mark.parametrize(("allowed", "passed"), [("0%", False), ("24%", False), ("25%", True)])
def test_allowed_failures(make_step: StepMaker, serve: Serve, allowed: str, passed: bool) -> None:
    server = serve(ok(), ok(b"", "500 Oops"), ok())
    check = only(verify(make_step, server.url, count=4, allowed_failures=allowed))
    assert check.passed is passed
    assert check.detail.startswith("3 of 4; request 2: 500")


def test_dead_service_is_not_asked_to_the_end(make_step: StepMaker, closed_port: int) -> None:
    check = only(verify(make_step, f"http://127.0.0.1:{closed_port}/", count=1000))
    assert check.detail.startswith("0 of 5, 995 more not asked; request 1: connection refused")


def test_service_that_may_still_pass_is_asked_on(make_step: StepMaker, serve: Serve) -> None:
    server = serve(*[ok(b"", "500 Oops")] * 6, ok())
    assert verify(make_step, server.url, count=12, allowed_failures="50%").passed


def test_progress_is_told(make_step: StepMaker, serve: Serve) -> None:
    step = make_step("verify.staging")
    seen: list[tuple[int, int, str]] = []
    step._on_progress = lambda done, total, what: seen.append((done, total, what))
    penstock_verify(Http(url=serve(ok()).url, count=2, interval=0), step)
    assert seen == [(1, 2, "1 of 1 good"), (2, 2, "2 of 2 good")]


# --- waiting ---


def test_wait_gives_a_service_time_to_come(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok(b"", "503 Not Yet"), ok(b"", "503 Not Yet"), ok())
    check = only(verify(make_step, server.url, wait="10s", count=2))
    assert (check.passed, check.detail, len(server.requests)) == (True, "2 of 2", 4)


def test_wait_for_a_port_that_opens_later(make_step: StepMaker, closed_port: int) -> None:
    def open_later() -> None:
        with socket.create_server(("127.0.0.1", closed_port)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ok())

    timer = threading.Timer(0.2, open_later)
    timer.start()
    assert verify(make_step, f"http://127.0.0.1:{closed_port}/", wait="10s").passed
    timer.join()


def test_wait_ends(make_step: StepMaker, closed_port: int) -> None:
    started = time.monotonic()
    check = only(verify(make_step, f"http://127.0.0.1:{closed_port}/", wait="300ms"))
    assert 0.3 <= time.monotonic() - started < 2
    assert re.fullmatch(
        r"no good answer within 300 ms, \d tries; the last: connection refused, after \d+ ms", check.detail
    )
    assert (check.name, check.passed) == ("HTTP 200", False)


def test_bad_answer_after_the_first_good_one_counts(make_step: StepMaker, serve: Serve) -> None:
    server = serve(ok(), ok(b"", "500 Oops"))
    assert only(verify(make_step, server.url, wait="10s", count=2)).detail.startswith(
        "1 of 2; request 2: 500"
    )


# --- redirects ---


def to(url: str, status: str = "302 Found") -> bytes:
    return ok(b"", status, f"Location: {url}\r\n")


def test_redirect_is_not_followed_unless_asked(make_step: StepMaker, serve: Serve) -> None:
    server = serve(to("/login"), ok())
    assert shape(only(verify(make_step, server.url)).detail) == (
        "0 of 1; request 1: 302 to /login (follow_redirects = true follows it) after … ms"
    )
    assert verify(make_step, serve(to("/login")).url, status=302).passed


def test_redirect_is_followed(make_step: StepMaker, serve: Serve) -> None:
    server = serve(to("login?x"), to("/end", "308 Permanent Redirect"), ok(b"end"))
    assert verify(make_step, server.url, follow_redirects=True, body="end").passed
    assert [request.split(b" ")[1] for request in server.requests] == [b"/health", b"/login?x", b"/end"]


def test_redirect_in_a_circle_ends(make_step: StepMaker, serve: Serve) -> None:
    check = only(verify(make_step, serve(to("/again")).url, follow_redirects=True))
    assert "more than 5 redirects" in check.detail


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/", "http://u:p@x/", "http://[", "/a b\xe9"])
def test_redirect_to_what_cant_be_asked(make_step: StepMaker, serve: Serve, url: str) -> None:
    raw = to("X").replace(b"X", url.encode("latin-1"))
    check = only(verify(make_step, serve(raw).url, follow_redirects=True))
    assert "to what can't be asked" in check.detail


def test_post_that_is_redirected_becomes_get(make_step: StepMaker, serve: Serve) -> None:
    server = serve(to("/a", "307 Temporary Redirect"), to("/b", "303 See Other"), ok())
    assert verify(make_step, server.url, method="POST", follow_redirects=True).passed
    assert [request.split(b" ")[0] for request in server.requests] == [b"POST", b"POST", b"GET"]


# --- secrets ---


@pytest.fixture
def secret_step(make_step: StepMaker, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TOKEN", "s3cr3t-value")
    return make_step("verify.staging", secrets={"TOKEN": "env:TOKEN"})


HEADERS = {"Authorization": "Bearer ${secret:TOKEN}", "X-Plain": "1"}


def test_secret_is_sent_and_never_shown(serve: Serve, make_step: StepMaker, secret_step: Any) -> None:
    def echo(connection: socket.socket, request: bytes) -> None:
        connection.sendall(ok(b"x" * 110 + request, "500 Oops", "Location: /s3cr3t-value\r\n"))

    server = serve(echo)
    found = penstock_verify(Http(url=server.url, headers=HEADERS, body="nothing"), secret_step)
    assert b"\r\nAuthorization: Bearer s3cr3t-value\r\n" in server.requests[0]
    shown = found.model_dump_json() + make_step.log_of(secret_step)
    assert "s3cr3t" not in shown
    assert "***" in shown


def test_secret_is_not_sent_to_another_origin(serve: Serve, secret_step: Any) -> None:
    other = serve(ok())
    server = serve(to("/same"), to(other.url))
    settings = Http(url=server.url, headers=HEADERS, follow_redirects=True)
    assert penstock_verify(settings, secret_step).passed
    assert [b"s3cr3t-value" in request for request in server.requests] == [True, True]
    assert b"s3cr3t-value" not in other.requests[0]
    assert b"X-Plain: 1" in other.requests[0]


def test_secret_that_is_not_declared(make_step: StepMaker) -> None:
    with pytest.raises(ConfigError, match="declares no secret"):
        verify(make_step, "http://127.0.0.1:1/", headers=HEADERS)


@pytest.mark.parametrize("value", ["s3cr3t\nX-Evil: 1", "s3cr3t\u20ac"])
def test_secret_that_no_header_can_hold(make_step: StepMaker, tmp_path: Path, value: str) -> None:
    (tmp_path / "token").write_text(value)
    step = make_step("verify.staging", secrets={"TOKEN": f"file:{tmp_path}/token"})
    with pytest.raises(StepFailed) as failed:
        penstock_verify(Http(url="http://127.0.0.1:1/", headers=HEADERS), step)
    assert str(failed.value).startswith("headers: Authorization: a secret in it holds")
    assert "s3cr3t" not in str(failed.value)


# --- TLS ---


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.real
def test_self_signed_certificate_is_refused(make_step: StepMaker, serve: Serve, tls: ssl.SSLContext) -> None:
    check = only(verify(make_step, serve(ok(), tls=tls).url))
    assert shape(check.detail) == (
        "0 of 1; request 1: the certificate is not trusted: self-signed certificate. "
        "Name its issuer's certificate with `ca`, after … ms"
    )


@pytest.mark.real
def test_certificate_that_ca_names_is_trusted(
    make_step: StepMaker, serve: Serve, tls: ssl.SSLContext, certificate: Path
) -> None:
    server = serve(ok(), tls=tls)
    assert verify(make_step, server.url, ca=f"{certificate}.crt").passed
    step = make_step("verify.staging", files={"ca.pem": Path(f"{certificate}.crt").read_text()})
    assert penstock_verify(Http(url=server.url, ca="ca.pem"), step).passed


@pytest.mark.real
def test_certificate_for_another_name_is_refused(
    make_step: StepMaker, serve: Serve, tls: ssl.SSLContext, certificate: Path
) -> None:
    url = serve(ok(), tls=tls).url.replace("127.0.0.1", "localhost")
    detail = only(verify(make_step, url, ca=f"{certificate}.crt")).detail
    assert "the certificate is not trusted: Hostname mismatch" in detail


@pytest.mark.real
def test_drip_over_tls_is_ended_by_the_timeout(
    make_step: StepMaker, serve: Serve, tls: ssl.SSLContext, certificate: Path
) -> None:
    server = serve(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"), tls=tls)
    started = time.monotonic()
    check = only(verify(make_step, server.url, ca=f"{certificate}.crt", request_timeout=0.4))
    assert time.monotonic() - started < 2
    assert "no whole answer within 0.4 s" in check.detail


def test_https_to_a_server_without_tls(make_step: StepMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        check = only(verify(make_step, f"https://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join()
    assert "TLS failed: " in check.detail


def test_handshake_that_never_ends(make_step: StepMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        assert "no whole answer within 0.2 s" in only(verify(make_step, url, request_timeout=0.2)).detail


@pytest.mark.parametrize(
    ("ca", "message"),
    [
        ("missing.pem", "ca: missing.pem can't be read: No such file"),
        ("x.pem", "ca: x.pem holds no certificate"),
    ],
)
def test_ca_that_is_none(make_step: StepMaker, ca: str, message: str) -> None:
    step = make_step("verify.staging", files={"x.pem": "hello"})
    with pytest.raises(StepFailed, match=message):
        penstock_verify(Http(url="https://127.0.0.1:1/", ca=ca), step)


# --- what servers say is not trusted ---


@pytest.mark.parametrize("cut", range(90, 130, 7))
def test_secret_that_is_cut_is_still_masked(
    serve: Serve, make_step: StepMaker, secret_step: Any, cut: int
) -> None:
    def leak(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"y" * cut + b"s3cr3t-value" + b"z" * 300 + b"\r\n\r\n")

    found = penstock_verify(Http(url=serve(leak).url, headers=HEADERS), secret_step)
    assert "s3cr" not in found.model_dump_json() + make_step.log_of(secret_step)
