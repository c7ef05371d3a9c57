"""Other people's verifiers of Sigstore bundles, driven for real: npm's, cosign, and Python's.

Each is fetched once into a cache directory of the tests and nothing is installed on the machine. What
can't be fetched raises: a verifier that is missing must not look like one that accepts.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).parent
_PYTHON_PACKAGES = ("securesystemslib==1.6.0", "sigstore-models==0.0.6")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SID = ("cosign", "oras")
_MINUTES = 60.0


@dataclass(frozen=True)
class Verdict:
    """What a verifier said of one bundle."""

    accepted: bool
    reason: str = ""


def default_cache() -> Path:
    """Where the verifiers are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "penstock-tests"


class NpmVerifier:
    """The npm packages `@sigstore/bundle` and `@sigstore/verify`, at the versions of package-lock.json."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or default_cache()

    def verify(self, directory: Path) -> dict[str, Verdict]:
        """A verdict for each `*.sigstore.json` in a directory, by file name, with the keys `*.pub` there."""
        script = self._installed / "verify.mjs"
        return _verdicts(_run(["node", script, directory], timeout=5 * _MINUTES))

    @property
    def packages(self) -> Path:
        """Where the packages are, a directory `node_modules`."""
        return self._installed / "node_modules"

    @cached_property
    def _installed(self) -> Path:
        files = [HERE / name for name in ("package.json", "package-lock.json", "verify.mjs")]
        name = "npm-" + hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

        def install(place: Path) -> None:
            for file in files:
                shutil.copy(file, place)
            _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place)

        return once(self._cache / name, install)


class PythonVerifier:
    """securesystemslib for the signature, and sigstore-models for the bundle's form."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or default_cache()

    def verify(self, directory: Path) -> dict[str, Verdict]:
        """As `NpmVerifier.verify`."""
        env = {"PYTHONPATH": str(self._installed)}
        return _verdicts(_run([sys.executable, HERE / "verify.py", directory], env=env))

    @cached_property
    def _installed(self) -> Path:
        name = "python-" + hashlib.sha256(" ".join(_PYTHON_PACKAGES).encode()).hexdigest()[:16]

        def install(place: Path) -> None:
            # What they need (cryptography, pydantic) is what Penstock needs, so it is there.
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--no-deps", "--target", place, *_PYTHON_PACKAGES])

        return once(self._cache / name, install)


class CosignVerifier:
    """cosign 3, from Debian's suite sid, on the mirror that this machine has configured."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or default_cache()

    def verify(
        self, bundle: Path, key: Path, *, predicate_type: str, artifact: Path | None = None, sha256: str = ""
    ) -> Verdict:
        """Whether cosign accepts a bundle, by this key, as an attestation of this type about this artifact.

        The artifact is a file, or only its SHA-256 in hexadecimal, where its bytes are not at hand.
        """
        argv = attestation_argv(self.program, bundle, key, predicate_type, artifact, sha256)
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                argv, env={"PATH": os.defpath, "HOME": home}, capture_output=True, text=True, timeout=_MINUTES
            )
        return Verdict(done.returncode == 0, "" if done.returncode == 0 else done.stderr.strip())

    @cached_property
    def program(self) -> Path:
        """cosign's path."""
        return _from_sid(self._cache) / "usr/bin/cosign"

    @cached_property
    def version(self) -> str:
        """The version of the Debian package."""
        return (self.program.parents[2] / "version").read_text().strip()

    def verify_in_registry(self, image: str, key: Path, predicate_type: str) -> list[str]:
        """The payloads of the attestations of a type that cosign finds beside an image and accepts by this key.

        Raises RuntimeError where it finds or accepts none. The registry speaks HTTP.
        """
        argv: list[str | Path] = [self.program, "verify-attestation", "--key", key, "--type", predicate_type]
        argv += ["--insecure-ignore-tlog=true", "--allow-http-registry", "--new-bundle-format", image]
        with tempfile.TemporaryDirectory() as home:
            lines = _run(argv, env={"HOME": home}).splitlines()
        return [json.loads(line)["payload"] for line in lines if line.startswith("{")]


class OrasClient:
    """oras, from the same suite: what it finds beside an image in a registry that speaks HTTP."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or default_cache()

    def discover(self, image: str) -> list[Mapping[str, str]]:
        """The descriptors of the referrers of an image."""
        found = json.loads(self._run("discover", "--plain-http", "--format", "json", image))
        listed: list[Mapping[str, str]] = found.get("referrers") or found.get("manifests") or []
        return listed

    def pull(self, artifact: str, place: Path) -> list[Path]:
        """The files of an artifact, in a directory."""
        self._run("pull", "--plain-http", "--output", str(place), artifact)
        return sorted(place.iterdir())

    def _run(self, *words: str) -> str:
        with tempfile.TemporaryDirectory() as home:
            return _run([_from_sid(self._cache) / "usr/bin/oras", *words], env={"HOME": home})


def attestation_argv(
    program: Path, bundle: Path, key: Path, predicate_type: str, artifact: Path | None, sha256: str
) -> list[str | Path]:
    """The command line of cosign that verifies one attestation with a key, offline."""
    argv: list[str | Path] = [program, "verify-blob-attestation", "--key", key, "--bundle", bundle]
    argv += ["--insecure-ignore-tlog=true", "--type", predicate_type]
    if artifact is not None:
        return [*argv, artifact]
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError("cosign needs the artifact, or its SHA-256: without either it would check less")
    return [*argv, "--digest", sha256, "--digestAlg", "sha256"]


def mirror(uris: str, suite: str) -> str:
    """The archive that serves a suite, out of what `apt-get update --print-uris` prints."""
    found = re.search(rf"^'(\S+)/dists/{re.escape(suite)}/InRelease'", uris, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"apt has no source for Debian's suite {suite}: cosign can't be fetched")
    return found[1]


def _from_sid(cache: Path) -> Path:
    """Where the programs of Debian's suite sid are unpacked: one fetch of its lists for all of them."""
    return once(cache / f"{'-'.join(_SID)}-sid-{platform.machine()}", _unpack_sid)


def _unpack_sid(place: Path) -> None:
    release = dict(
        line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    # Asks apt for its sources, not the lists of packages that it may or may not have fetched.
    uris = _run(["apt-get", "update", "--print-uris"])
    archive = mirror(uris, release.get("VERSION_CODENAME", "").strip('"'))
    work = place / "apt"
    (work / "lists" / "partial").mkdir(parents=True)
    signed_by = f" [signed-by={_KEYRING}]" if _KEYRING.exists() else ""
    (work / "sources.list").write_text(f"deb{signed_by} {archive} sid main\n")
    apt = ["apt-get", "--quiet", "--option", f"Dir::Etc::sourcelist={work}/sources.list"]
    for option in (
        "Dir::Etc::sourceparts=-",
        f"Dir::State::lists={work}/lists",
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
        "Acquire::Languages=none",
        "APT::Sandbox::User=",  # the user _apt may not write here
    ):
        apt += ["--option", option]
    _run([*apt, "update"])
    _run([*apt, "download", *_SID], cwd=work)
    for package in work.glob("*.deb"):
        _run(["dpkg-deb", "--extract", package, place])
    (package,) = work.glob("cosign_*.deb")
    (place / "version").write_text(_run(["dpkg-deb", "--field", package, "Version"]))
    shutil.rmtree(work)


def once(target: Path, install: Callable[[Path], None]) -> Path:
    """A directory that is there whole or not at all, however many test runs want it at once."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        install(place)
        place.rename(target)
    except OSError:
        if not target.exists():  # otherwise another run was first, and its copy is as good
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return target


def _run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 10 * _MINUTES,
) -> str:
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=timeout
        )
    except FileNotFoundError:
        raise RuntimeError(f"{words[0]} is not on this machine, and this verifier needs it") from None
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{output}")
    return done.stdout


def _verdicts(output: str) -> dict[str, Verdict]:
    found: dict[str, str | None] = json.loads(output)
    return {name: Verdict(reason is None, reason or "") for name, reason in found.items()}
