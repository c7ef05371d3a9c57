"""The database fetched from a real registry by the real Trivy."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin

import pytest
from penstock import ScanReport, StepFailed
from penstock.testing import StepMaker
from penstock_trivy import Trivy, penstock_scan

from tests import vulnerabilities
from tests.engines import registry, registry_files

__all__ = ["registry", "registry_files"]

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("trivy")]

_LAYER = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def send(url: str, data: bytes, method: str, kind: str = "application/octet-stream") -> str:
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return str(answer.headers["Location"])


def put_blob(repository: str, data: bytes, kind: str) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    place = urljoin(repository, send(f"{repository}/blobs/uploads/", b"", "POST"))
    send(f"{place}{'&' if '?' in place else '?'}digest={digest}", data, "PUT")
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def publish(registry: str, name: str, directory: Path) -> str:
    """Put a database into the registry, as Trivy's own is in its; the setting that names it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for file in ("trivy.db", "metadata.json"):
            tar.add(directory / "db" / file, file)
    repository = f"http://{registry}/v2/{name}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": put_blob(repository, b"{}", "application/vnd.aquasec.trivy.config.v1+json"),
        "layers": [put_blob(repository, packed.getvalue(), _LAYER)],
    }
    layer = manifest["layers"][0]
    assert isinstance(layer, dict)
    layer["annotations"] = {"org.opencontainers.image.title": "db.tar.gz"}
    send(f"{repository}/manifests/2", json.dumps(manifest).encode(), "PUT", _MANIFEST)
    return f"{registry}/{name}:2"


def scan(make_step: StepMaker, repository: str, **settings: object) -> ScanReport:
    step = make_step("scan.all", files={"requirements.txt": "leaky==1.0\n"})
    more = {"scanners": ("vulnerability",), "database_repository": repository, "sbom": False, **settings}
    return penstock_scan(Trivy.model_validate(more), step)


def test_the_database_is_fetched_from_the_repository_that_is_configured(
    make_step: StepMaker, tmp_path: Path, registry: str
) -> None:
    fresh = publish(registry, "fresh", vulnerabilities.write(tmp_path / "fresh", timedelta(hours=30)))

    report = scan(make_step, fresh)

    assert [finding.id for finding in report.blocking] == ["CVE-2099-0002", "CVE-2099-0001"]
    assert report.database is not None
    assert report.database.startswith("1 day old, of ")
    assert (tmp_path / "cache" / "trivy" / "db" / "trivy.db").is_file()
    # It is there now, and its next edition is not due: nobody is asked again.
    assert scan(make_step, "127.0.0.1:9/none/db:2").blocking == report.blocking


def test_a_database_that_is_fetched_and_too_old_keeps_the_gate_shut(
    make_step: StepMaker, tmp_path: Path, registry: str
) -> None:
    stale = publish(registry, "stale", vulnerabilities.write(tmp_path / "stale", timedelta(days=9)))

    with pytest.raises(StepFailed, match="is 9 days old, and max_database_age allows 7 days: nothing was"):
        scan(make_step, stale)

    assert len(scan(make_step, stale, max_database_age="10d").blocking) == 2
