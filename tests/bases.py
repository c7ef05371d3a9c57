"""Base images made of Debian's packages, where no registry has any: Python with pip, and PostgreSQL.

They are made once and kept in the tests' cache; nothing is installed on the machine. Dockerfiles use them as they
would use `python:3.11-slim` and `postgres:15`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.engines import Engine
from tests.verifiers.verifiers import default_cache, once

HERE = Path(__file__)
PYTHON, POSTGRES = "penstock-python:3.11", "penstock-postgres:15"
_SMALL = ("base-files", "busybox-static", "libc6", "libgcc-s1", "netbase", "zlib1g")
_PYTHON = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "python3-minimal"),
    *("libpython3-stdlib", "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0"),
    *("libuuid1", "libncursesw6", "libtinfo6", "libreadline8", "libcrypt1", "media-types"),
)
_POSTGRES = (
    *("postgresql-15", "postgresql-client-15", "libpq5", "libicu72", "libldap-2.5-0", "libsasl2-2"),
    *("libpam0g", "libaudit1", "libcap-ng0", "libselinux1", "libpcre2-8-0", "libsystemd0", "liblz4-1"),
    *("libzstd1", "libxml2", "libgcrypt20", "libgpg-error0", "libcap2", "libstdc++6", "libgnutls30"),
    *("libp11-kit0", "libidn2-0", "libunistring2", "libtasn1-6", "libnettle8", "libhogweed6", "libgmp10"),
    *("libssl3", "liblzma5", "libffi8", "libcrypt1", "libkrb5-3", "libk5crypto3", "libkrb5support0"),
    *("libkeyutils1", "libgssapi-krb5-2", "libcom-err2", "libedit2", "libreadline8", "libtinfo6", "tzdata"),
)
_BULK = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug"),
    "usr/lib/postgresql/15/lib/bitcode",
)
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
postgres:x:70:70:postgres:/var/lib/postgresql:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_PIP = "#!/usr/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
# The variables are those of the image that people have from Docker Hub.
_START = """\
#!/bin/sh -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  umask 077
  printf %s "$POSTGRES_PASSWORD" >/tmp/password
  initdb --no-sync --username="${POSTGRES_USER:-postgres}" --encoding=UTF8 --locale=C \\
    ${POSTGRES_PASSWORD:+--pwfile=/tmp/password}
  rm /tmp/password
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >"$PGDATA/pg_hba.conf"
  if [ "${POSTGRES_DB:-postgres}" != postgres ]; then
    echo "create database \\"$POSTGRES_DB\\"" | postgres --single template1 >/dev/null
  fi
fi
"${@:-postgres}" -c listen_addresses='*' -c unix_socket_directories=/tmp &
trap 'kill -INT $!' TERM INT # told to stop, it ends its sessions and does not wait for them
wait $! || wait $!
"""


def import_python(engine: Engine, requirements: Iterable[Path]) -> str:
    """Have an engine know the image with Python, pip, and the wheels that these files of requirements name."""
    files = sorted(requirements)
    told = b"".join(file.read_bytes() for file in files)

    def make(place: Path) -> None:
        tree = _unpacked(place, (*_SMALL, *_PYTHON))
        _add_pip(place, tree, files)
        _pack(tree, place / "image.tar")

    changes = ("ENV PATH=/usr/local/bin:/usr/bin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels",)
    return _import(engine, PYTHON, _made("python", told, make), (*changes, 'CMD ["python3"]'))


def import_postgres(engine: Engine) -> str:
    """Have an engine know the image with PostgreSQL."""

    def make(place: Path) -> None:
        tree = _unpacked(place, (*_SMALL, *_POSTGRES))
        start = tree / "usr/local/bin/start"
        start.write_text(_START)
        start.chmod(0o755)
        data = tree / "var/lib/postgresql/data"
        data.mkdir(parents=True)
        data.chmod(0o700)
        for owned in (data, data.parent):
            shutil.chown(owned, 70, 70)
        _pack(tree, place / "image.tar")

    changes = (
        "ENV PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data",
        *("USER postgres", "EXPOSE 5432", 'ENTRYPOINT ["start"]'),
    )
    return _import(engine, POSTGRES, _made("postgres", b"", make), changes)


def _made(name: str, told: bytes, make: Callable[[Path], None]) -> Path:
    key = hashlib.sha256(HERE.read_bytes() + told).hexdigest()[:16]
    return once(default_cache() / f"base-{name}-{key}", make) / "image.tar"


def _import(engine: Engine, name: str, packed: Path, changes: Iterable[str]) -> str:
    words = [word for change in changes for word in ("--change", change)]
    engine.docker("import", *words, str(packed), name)
    return name


def _unpacked(place: Path, packages: Iterable[str]) -> Path:
    """A tree with the packages' files, and their names where scanners look for them."""
    debs, tree = place / "debs", place / "tree"
    debs.mkdir()
    tree.mkdir(mode=0o755)
    _download(dict.fromkeys(packages), debs)
    known = tree / "var/lib/dpkg/status.d"
    for deb in sorted(debs.glob("*.deb")):
        _run("dpkg-deb", "--extract", deb, tree)
        known.mkdir(parents=True, exist_ok=True)
        (known / deb.name.partition("_")[0]).write_text(_run("dpkg-deb", "--field", deb))
    for bulk in _BULK:
        shutil.rmtree(tree / bulk, ignore_errors=True)
    for applet in _run(tree / "bin/busybox", "--list").split():
        if not any((tree / where / applet).exists() for where in ("bin", "usr/bin", "sbin", "usr/sbin")):
            (tree / "bin" / applet).symlink_to("/bin/busybox")
    for name in ("etc", "root", "proc", "sys", "dev", "tmp", "usr/local/bin"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "etc/passwd").write_text(_PASSWD)
    (tree / "etc/group").write_text("root:x:0:\npostgres:x:70:\nnogroup:x:65534:\n")
    return tree


def _download(packages: Iterable[str], place: Path) -> None:
    words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", *packages]
    if subprocess.run(words, cwd=place, capture_output=True, check=False).returncode != 0:
        _run("apt-get", "-qq", "update")  # the lists are missing, or older than the archive
        _run(*words, cwd=place)


def _add_pip(place: Path, tree: Path, requirements: Iterable[Path]) -> None:
    wheels = tree / "wheels"
    wheels.mkdir()
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    _run(*pip, "-d", place, "pip")
    for file in requirements:
        _run(*pip, "-d", wheels, "-r", file)
    (wheel,) = place.glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree / "usr/lib/python3/dist-packages")
    (tree / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    program = tree / "usr/local/bin/pip"
    program.write_text(_PIP)
    program.chmod(0o755)
    for name in ("python", "python3"):
        (tree / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")


def _pack(tree: Path, packed: Path) -> None:
    """The same tree makes the same archive, whenever it was unpacked."""

    def settled(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime = 0
        return info

    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(tree, ".", filter=settled)
    for done in (tree, tree.parent / "debs"):
        shutil.rmtree(done)


def _run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout
