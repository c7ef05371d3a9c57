"""A real package index on loopback, a proxy before it that misbehaves on demand, and toys to publish."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from penstock.testing import write_wheel

_SERVE = """
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import pypiserver
from wsgiref.simple_server import make_server
options = json.loads(sys.argv[1])
if "users" in options:
    users = options.pop("users")
    options["auther"] = lambda name, password: users.get(name) == password
    options["password_file"] = "unused"
else:
    options |= {"password_file": ".", "authenticate": []}
app = pypiserver.app(roots=[pathlib.Path(sys.argv[2])], **options)
server = make_server("127.0.0.1", 0, app)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def pypiserver(directory: Path, **options: object) -> Iterator[str]:
    """The address of a pypiserver over a directory; `users` are names with their passwords."""
    directory.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-c", _SERVE, json.dumps(options), str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        yield f"http://127.0.0.1:{port}/"
    finally:
        child.kill()
        child.communicate()


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes


Change = Callable[["Request", Callable[[], Answer]], Answer]


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def uploads(self) -> str | None:
        """The name of the file that it uploads."""
        _, found, rest = self.body[:100_000].partition(b'name="content"; filename="')
        return rest.partition(b'"')[0].decode() if found else None


@dataclass
class Proxy:
    """Passes requests on, each by way of `change`, and remembers them."""

    upstream: str
    change: Change = field(default=lambda request, pass_on: pass_on())
    seen: list[Request] = field(default_factory=list)
    url: str = ""

    @property
    def uploads(self) -> list[str]:
        """The files that were uploaded, in order."""
        return [name for request in self.seen if (name := request.uploads)]

    def answer(self, request: Request) -> Answer:
        """What the client gets."""
        self.seen.append(request)
        return self.change(request, lambda: self._pass_on(request))

    def _pass_on(self, request: Request) -> Answer:
        host = self.upstream.removeprefix("http://").rstrip("/")
        with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            connection.request(request.method, request.path, request.body or None, request.headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())


@contextmanager
def proxy(upstream: str, change: Change | None = None) -> Iterator[Proxy]:
    """A proxy before an index."""
    made = Proxy(upstream)
    if change is not None:
        made.change = change

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            answer = made.answer(
                Request(self.command, self.path, dict(self.headers), self.rfile.read(length))
            )
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "date", "server", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_POST = do_HEAD = do_GET  # noqa: N815 - the names that http.server asks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_METADATA = ("Summary: a toy", "Description-Content-Type: text/markdown", "", "# A toy")


def build_wheel(place: Path, text: str, name: str = "demo", version: str = "1.0") -> Path:
    files = {f"{name}/__init__.py": text}
    return write_wheel(place, files, name=name, version=version, metadata=_METADATA)


def build_sdist(place: Path, text: str, name: str = "demo", version: str = "1.0") -> Path:
    path = place / f"{name}-{version}.tar.gz"
    described = "\n".join(("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *_METADATA, ""))
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for member, content in {"PKG-INFO": described, f"{name}.py": text}.items():
            info = tarfile.TarInfo(f"{name}-{version}/{member}")
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    path.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    return path
