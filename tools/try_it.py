"""`./try-it`: the example from source to production on this machine, and what runs there then, and why.

Everything is inside the checkout: the environment in `.venv`, the rest in `.try-it`. What was started is
stopped at the end, however it ends.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

from bootstrap import ROOT, SetupError, alone, ensure, environment

VENV = ROOT / ".venv"
PLACE = ROOT / ".try-it"
SHOP = PLACE / "shop"
PORTS = {"staging": 41873, "production": 41874}
_DATE = "2026-01-01T00:00:00+00:00"  # the same files make the same commit, and so the same wheel
_LEAVE_OUT = shutil.ignore_patterns("__pycache__", ".penstock*", ".*_cache", "build", "dist", "*.egg-info")


class DemonstrationError(Exception):
    """What was promised did not happen; the message says what happened instead."""


def main() -> int:
    """Set up, show, stop."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with alone("try-it"):
            sources = [
                ROOT / "tools/workspace.txt",
                ROOT / "core/pyproject.toml",
                *ROOT.glob("plugins/*/pyproject.toml"),
            ]
            ensure(VENV, ("-r", "tools/workspace.txt"), sources)
            return _show()
    except (SetupError, DemonstrationError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 2 if isinstance(error, SetupError) else 1
    except KeyboardInterrupt:
        return 130


def _show() -> int:
    _stop()  # what an earlier try left behind when it was killed
    ports = _prepare()
    try:
        code = _penstock("run", "--approve", "production")
        if code != 0:
            return code
        digest = _tested_and_signed()
        _what_runs_where(ports, digest)
        _why(digest)
    finally:
        stopped = _stop()
        if left := [f"{name} at port {port}" for name, port in ports.items() if _answers(port)]:
            raise DemonstrationError(f"still running, though told to stop: {', '.join(left)}")
        if stopped:
            print(f"\nStopped {' and '.join(stopped)}. Nothing is left running.", flush=True)
    print("Next:  break a test in examples/shop and run it again, or in your own project:")
    print('       pip install "penstock[python]" && penstock init && penstock run')
    return 0


def _prepare() -> dict[str, int]:
    """A copy of the example as a repository of its own, with ports that are free."""
    for old in (SHOP, PLACE / "releases", PLACE / "evidence"):
        if old.exists():
            shutil.rmtree(old)
    shutil.copytree(ROOT / "examples" / "shop", SHOP, ignore=_LEAVE_OUT)
    ports = _free_ports()
    file = SHOP / "penstock.toml"
    text = file.read_text()
    for name, usual in PORTS.items():
        text = text.replace(str(usual), str(ports[name]))
    file.write_text(text)
    for command in (
        ["init", "--quiet", "--template="],
        ["add", "--all"],
        ["commit", "--quiet", "-m", "The shop"],
    ):
        _git(*command)
    print(f"Example: examples/shop, revision {_git('rev-parse', '--short=7', 'HEAD').strip()}\n", flush=True)
    return ports


def _free_ports() -> dict[str, int]:
    """The usual port of each environment, or any other where somebody has that one."""
    found: dict[str, int] = {}
    with contextlib.ExitStack() as held:  # held until all are chosen, so that no two are the same
        for name, usual in PORTS.items():
            for port in (usual, 0):
                probe = held.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    found[name] = probe.getsockname()[1]
                    break
            if found[name] != usual:
                print(f"Port {usual} is taken; {name} gets {found[name]}")
    return found


def _tested_and_signed() -> str:
    """The digest of the wheel that was built, if all signed evidence is about that wheel and no other."""
    run = json.loads(_ask("show", "last", "--json"))
    [build] = [step for step in run["steps"] if step["name"] == "build.wheel"]
    digests: list[str] = [
        artifact["digest"] for artifact in build["artifacts"] if artifact["kind"] == "wheel"
    ]
    [digest] = digests
    evidence = PLACE / "evidence"
    _ask("verify", digest, "--export", str(evidence))
    spoken_of: dict[str, set[str]] = {}
    for bundle in sorted(evidence.glob("*.sigstore.json")):
        statement = json.loads(base64.b64decode(json.loads(bundle.read_text())["dsseEnvelope"]["payload"]))
        subjects = {f"sha256:{subject['digest']['sha256']}" for subject in statement["subject"]}
        spoken_of.setdefault(statement["predicateType"].split("/")[-2], set()).update(subjects)
    for kind in ("test-result", "provenance", "scan", "deployment"):
        if spoken_of.get(kind) != {digest}:
            raise DemonstrationError(
                f"the signed {kind} statements speak of {spoken_of.get(kind)}, and not of {digest}"
            )
    return digest


def _what_runs_where(ports: dict[str, int], digest: str) -> None:
    """Ask both services over HTTP, and Penstock which digest each runs."""
    print("\nWhat runs where")
    for name, port in ports.items():
        status = _get(port)
        [target] = json.loads(_ask("status", name, "--json"))["targets"]
        running = target["release"]
        print(f"  {name:<11} http://127.0.0.1:{port}  {status}  {_short(running)}", flush=True)
        if status != http.HTTPStatus.OK:
            raise DemonstrationError(f"{name} answers {status} and not 200")
        if running != digest:
            raise DemonstrationError(f"{name} runs {running}, and {digest} was tested and signed")


def _why(digest: str) -> None:
    print(f"\nWhy {_short(digest)} was let through", flush=True)
    if _penstock("verify", digest) != 0:
        raise DemonstrationError(f"the evidence for {digest} does not hold")


def _stop() -> list[str]:
    """Stop both services, whatever happens meanwhile; the environments that had something to stop."""
    names = [name for name in PORTS if (PLACE / "releases" / name).is_dir()]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for name in names:
            _ask("local", "stop", str(PLACE / "releases" / name))
    finally:
        signal.signal(signal.SIGINT, before)
    return names


def _penstock(*arguments: str) -> int:
    """Run Penstock in the example, with its output shown; its exit code."""
    # On a terminal both get Ctrl-C, and both stop on Ctrl-Z. Elsewhere it is in a process group of its own
    # and told from here, once: a second word would end it before it has put back what it changed.
    shared = _in_front()
    command = [str(VENV / "bin" / "penstock"), *arguments]
    child = subprocess.Popen(command, cwd=SHOP, env=_environment(), process_group=None if shared else 0)
    try:
        try:
            return child.wait()
        except KeyboardInterrupt:
            if not shared:
                raise
            return child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait()
        except BaseException:
            child.kill()
            raise
        raise


def _in_front() -> bool:
    """Whether what is typed at the terminal comes here."""
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:
        return False


def _ask(*arguments: str) -> str:
    """Run Penstock in the example; what it answers. Raises DemonstrationError where it fails."""
    done = subprocess.run(
        [VENV / "bin" / "penstock", *arguments],
        cwd=SHOP,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise DemonstrationError(f"penstock {' '.join(arguments)} ended with {done.returncode}:\n{said}")
    return done.stdout


def _git(*arguments: str) -> str:
    """Git in the example, by itself: nobody's configuration, hooks or identity."""
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (
            ("NAME", "Penstock's example"),
            ("EMAIL", "example@penstock.invalid"),
            ("DATE", _DATE),
        )
    }
    env = environment(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", **identity)
    done = subprocess.run(["git", *arguments], cwd=SHOP, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemonstrationError(f"git {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Keys are made inside the checkout, not among the user's own."""
    return environment(XDG_DATA_HOME=str(PLACE / "data"))


def _get(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        return connection.getresponse().status


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _short(digest: str) -> str:
    digits = digest.removeprefix("sha256:")
    return f"{digits[:4]}…{digits[-4:]}"


if __name__ == "__main__":
    sys.exit(main())
