"""Images that are not whole, and images in files: what keeps the gate shut before Trivy is asked."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from penstock import Artifact, ScanReport, StepFailed, StepRefused
from penstock.testing import StepMaker
from penstock_trivy import Trivy, penstock_scan
from penstock_trivy.image import look_through, made

from tests.images import digest_of, image, tar

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("trivy")]

KEY = "AKIA" + "Q3EGRZ7T4WLP2NXA"  # in two parts, or a scan of this repository would find it
LEAK = f'\nAWS_KEY = "{KEY}"\n'
CLEAN = {"app/main.py": "x = 1\n"}
SECRETS: dict[str, Any] = {"scanners": ("secret",), "sbom": False}


def scan(make_step: StepMaker, artifact: Artifact, **settings: Any) -> ScanReport:
    step = make_step("scan.image", artifacts=[artifact])
    return penstock_scan(Trivy.model_validate({"targets": "artifacts", **settings}), step)


def places(report: ScanReport) -> list[tuple[str, str]]:
    return [(finding.id, finding.location) for finding in report.blocking]


def spoiled(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :]


def test_other_bytes_in_the_store_are_refused(make_step: StepMaker) -> None:
    for which in ("digest", 0, 1):
        made = image(make_step, {"app/x.py": f"x = {which!r}\n"})
        digest = made.digest if which == "digest" else made.parts[int(which)]
        path = make_step.store.path(digest)
        path.chmod(0o644)
        path.write_bytes(spoiled(path.read_bytes()))
        with pytest.raises(StepRefused, match="shop can't be scanned: the bytes in the store are not those"):
            scan(make_step, made, **SECRETS)


def test_a_missing_part_is_named(make_step: StepMaker) -> None:
    for which in (0, 1):
        made = image(make_step, {"app/x.py": f"y = {which!r}\n"})
        make_step.store.path(made.parts[which]).unlink()
        with pytest.raises(StepRefused) as caught:
            scan(make_step, made, **SECRETS)
        assert str(caught.value) == (
            f"shop can't be scanned: {made.parts[which]} can't be read from the store: No such file or directory"
        )


LAYER = tar(CLEAN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"parts": ()}, "which is none of its parts", id="a part that it does not name"),
        pytest.param({"digest": "sha256:" + "0" * 64}, "can't be read from the store", id="no manifest"),
        pytest.param(
            {"digests": {"image ID": "sha256:" + "0" * 64}},
            "and it was built as sha256:000",
            id="another image",
        ),
        pytest.param(
            {"diff_ids": ["sha256:" + "0" * 64]}, "and its configuration says sha256:000", id="another layer"
        ),
        pytest.param(
            {"diff_ids": [digest_of(LAYER)] * 2},
            "1 layers, and its configuration names 2",
            id="too few layers",
        ),
    ],
)
def test_an_image_that_is_not_what_it_says_is_refused(
    make_step: StepMaker, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((StepFailed, StepRefused), match=r"^shop can't be scanned: ") as caught:
        scan(make_step, image(make_step, LAYER, **changes), **SECRETS)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "packed", "message"),
    [
        pytest.param(LAYER[:700], True, "layer 1/1 can't be unpacked", id="cut off"),
        pytest.param(b"no archive" * 100, True, "layer 1/1 can't be unpacked", id="no archive"),
        pytest.param(
            b"\x1f\x8b\x08" + b"x" * 100, False, "layer 1/1 can't be unpacked", id="not compressed so"
        ),
        pytest.param(LAYER + LAYER, True, "something stands behind its end", id="continued"),
        pytest.param(b"\x28\xb5\x2f\xfd" + LAYER, False, "is compressed with zstd", id="zstd"),
        pytest.param(tar({"../x": "y"}), True, "would be written outside of it", id="leads outside"),
    ],
)
def test_a_layer_that_cannot_be_read_keeps_the_gate_shut(
    make_step: StepMaker, layer: bytes, message: str, *, packed: bool
) -> None:
    with pytest.raises(StepFailed) as caught:
        scan(make_step, image(make_step, layer, packed=packed), **SECRETS)
    assert str(caught.value).startswith("shop can't be scanned: its layer 1/1")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"config": 1, "layers": []}', b"\xff", b"[" * 99999]
)
def test_what_is_no_image_is_said(make_step: StepMaker, content: bytes) -> None:
    made = Artifact(name="shop", kind="image", digest=make_step.store.add_bytes(content))
    with pytest.raises(StepFailed, match="shop can't be scanned: its manifest is none"):
        scan(make_step, made, **SECRETS)


def test_a_directory_is_no_image(make_step: StepMaker, tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_text("{}")
    digest, _ = make_step.store.add_tree(tmp_path / "layout")
    with pytest.raises(StepFailed, match=r"is a directory\. This plugin scans images that are kept as"):
        scan(make_step, Artifact(name="shop", kind="image", digest=digest), **SECRETS)


# --- images in files ---

SAVED = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(LAYER)]}}


def saved(make_step: StepMaker, tmp_path: Path, files: dict[str, str | bytes]) -> Artifact:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(files))
    return make_step.store.keep(path, "file")


def listing(config: str = "c.json", layer: str = "1/layer.tar") -> str:
    return json.dumps([{"Config": config, "RepoTags": None, "Layers": [layer]}])


def test_a_file_that_holds_an_image_is_scanned_as_one(make_step: StepMaker, tmp_path: Path) -> None:
    layer = tar({"app/x.py": LEAK})
    config = json.dumps({**SAVED, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}})
    files = {"c.json": config, "1/layer.tar": layer, "manifest.json": listing(), "beside.py": LEAK}
    report = scan(make_step, saved(make_step, tmp_path, files), scanners=("secret",))
    assert places(report) == [
        ("aws-access-key-id", "image.tar: beside.py:2"),
        ("aws-access-key-id", "image.tar: layer 1/1: app/x.py:2"),
    ]
    assert report.sbom is not None
    assert "archives inside" not in report.not_looked_for


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param(
            {"manifest.json": listing()}, "can't be unpacked (\"filename 'c.json' not found", id="no config"
        ),
        pytest.param(
            {"manifest.json": listing(), "c.json": json.dumps(SAVED)},
            "'1/layer.tar' not found",
            id="no layer",
        ),
        pytest.param(
            {"manifest.json": listing(), "c.json": "{}", "1/layer.tar": LAYER},
            "configuration is none",
            id="no image",
        ),
        pytest.param(
            {
                "manifest.json": listing(),
                "c.json": json.dumps(SAVED),
                "1/layer.tar": LAYER[:-512] + b"x" * 512,
            },
            "something stands behind its end",
            id="another layer",
        ),
        pytest.param(
            {"manifest.json": listing("0" * 64 + ".json"), "0" * 64 + ".json": "{}"},
            "its configuration 000",
            id="another config",
        ),
        pytest.param({"oci-layout": "{}", "index.json": "{}"}, "it is an image as an OCI archive", id="oci"),
    ],
)
def test_a_file_whose_image_is_not_whole_keeps_the_gate_shut(
    make_step: StepMaker, tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    with pytest.raises((StepFailed, StepRefused), match=r"^image\.tar can't be scanned: ") as caught:
        scan(make_step, saved(make_step, tmp_path, files), **SECRETS)
    assert message in str(caught.value)


def test_a_file_that_only_has_a_manifest_is_an_archive(make_step: StepMaker, tmp_path: Path) -> None:
    made = saved(make_step, tmp_path, {"manifest.json": '{"name": "x"}', "x.py": LEAK})
    assert places(scan(make_step, made, **SECRETS)) == [("aws-access-key-id", "image.tar: x.py:2")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(LAYER) - 1), st.binary(min_size=1, max_size=16)), min_size=1))
def test_every_layer_is_looked_through_or_refused(tmp_path: Path, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(LAYER)
    for at, new in changes:
        data[at : at + len(new)] = new
    path = tmp_path / "layer"
    path.write_bytes(data)
    config = {"rootfs": {"type": "layers", "diff_ids": [digest_of(bytes(data))]}}
    made_of = made("shop", None, json.dumps(config).encode(), [(path, digest_of(bytes(data)))])
    with suppress(StepFailed):
        look_through(made_of, lambda number, name, size, content: content.read(size))


def test_a_size_that_no_file_can_have_is_refused(make_step: StepMaker, tmp_path: Path) -> None:
    head = bytearray(LAYER[:512])
    head[124:136] = b"\x80" + b"\x7f" * 11
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    broken = bytes(head) + LAYER[512:]
    with pytest.raises(StepFailed, match="layer 1/1 can't be unpacked"):
        scan(make_step, image(make_step, broken), **SECRETS)
    (tmp_path / "x.tar").write_bytes(broken)
    with pytest.raises(StepFailed, match=r"^x\.tar can't be scanned: it can't be unpacked"):
        scan(make_step, make_step.store.keep(tmp_path / "x.tar", "file"), **SECRETS)


def test_an_image_without_a_layer_and_one_with_a_strange_name_are_scanned(make_step: StepMaker) -> None:
    strange = tar({"x": LEAK}).replace(b"x" + b"\0" * 99, b"\xff" + b"\0" * 99)
    assert scan(make_step, image(make_step), **SECRETS).findings == ()
    with pytest.raises(StepFailed, match="can't be unpacked"):  # its checksum is of the other name
        scan(make_step, image(make_step, strange), **SECRETS)
    [(_, place)] = places(scan(make_step, image(make_step, tar({"\udcff": LEAK})), **SECRETS))
    assert place.startswith("shop: layer 1/1: ")
