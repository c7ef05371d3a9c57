"""With a real Docker Engine and a real registry: built, kept, put, pulled, deployed, put back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from penstock import Artifact, Evidence, StepFailed, StepRefused, TargetState
from penstock_docker import (
    Published,
    archive,
    engine,
    penstock_publish,
)
from penstock_docker.registry import opened

from tests.bench import DOCKERFILE, SERVING, Bench
from tests.engines import BASE

pytestmark = pytest.mark.real

SECRET = "c0rrect horse"


# --- build ---


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_the_same_files_make_the_same_image(bench: Bench, builder: str) -> None:
    files = {"www/index.html": f"hello {builder}\n"}
    text = DOCKERFILE + f"RUN echo {builder} > /built\n"

    first = bench.build(text, files, builder=builder)
    again = bench.build(text, files, builder=builder)

    assert first == again
    assert first.digests["image ID"] in bench.engine.docker("images", "-q", "--no-trunc").split()
    assert len(first.parts) == 4  # its configuration, the base, what was copied, what was run
    [labels] = json.loads(
        bench.engine.docker("inspect", "-f", "[{{json .Config.Labels}}]", again.digests["image ID"])
    )
    assert labels["org.opencontainers.image.revision"] == "4f2c1e9" + "0" * 33
    assert labels["org.opencontainers.image.created"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_other_bytes_of_the_same_size_and_time_make_another_image(bench: Bench, builder: str) -> None:
    made = [
        bench.build(DOCKERFILE, {"www/index.html": f"{word} {builder}\n"}, builder=builder)
        for word in ("one", "two")
    ]

    assert bench.engine.docker("run", "--rm", made[1].digests["image ID"], "cat", "/www/index.html") == (
        f"two {builder}\n"
    )
    assert made[0].digest != made[1].digest


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_what_is_ignored_is_not_in_it(bench: Bench, builder: str) -> None:
    files = {".dockerignore": "# none of these\nwww/*.key\n", "www/a.key": "x", "www/a.html": "y"}

    made = bench.build(DOCKERFILE, files, builder=builder)

    assert bench.engine.docker("run", "--rm", made.digests["image ID"], "ls", "/www").split() == ["a.html"]


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_a_build_that_fails_says_so_and_has_its_output_in_the_log(bench: Bench, builder: str) -> None:
    with pytest.raises(StepFailed, match=r"the build failed: .*penstock logs 1 build\.image"):
        bench.build(f"FROM {BASE}\nRUN echo the reason && false\n", {}, builder=builder)

    assert "the reason" in bench.log


def test_a_secret_of_the_build_is_in_no_layer_and_not_in_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    text = f"FROM {BASE}\nRUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN && test -s "
    "/run/secrets/TOKEN\n"

    made = bench.build(text, {}, build_secrets=("TOKEN",), secrets={"TOKEN": "env:TOKEN"})

    assert SECRET not in bench.log
    for part in (made.digest, *made.parts):
        assert SECRET.encode() not in bench.make_step.store.read(part)


def test_stages_and_arguments(bench: Bench) -> None:
    text = f"FROM {BASE} AS first\nARG WORD\nRUN echo $WORD > /word\nFROM {BASE}\nRUN false\n"

    made = bench.build(text, {}, target="first", args={"WORD": "hi"})

    assert bench.engine.docker("run", "--rm", made.digests["image ID"], "cat", "/word") == "hi\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dockerfile": "Other"}, "there is no Other in the revision's"),
        ({"context": "none"}, "the revision has no such directory"),
        ({"context": ".."}, "the revision has no such directory"),
    ],
)
def test_a_context_that_is_not_there(bench: Bench, settings: dict[str, str], said: str) -> None:
    with pytest.raises(Exception, match=said):
        bench.build(DOCKERFILE, {"www/a": ""}, **settings)


# --- between store and engine ---


def test_an_engine_that_has_lost_an_image_gets_it_out_of_the_store(bench: Bench) -> None:
    made = bench.build(DOCKERFILE, {"www/index.html": "lost\n"})
    bench.engine.docker("rmi", "-f", made.digests["image ID"])
    step = bench.make_step("deploy.staging")

    with engine.connected(bench.engine.host) as client:
        assert archive.load(client, made, step) == made.digests["image ID"]

    assert bench.engine.docker("run", "--rm", made.digests["image ID"], "cat", "/www/index.html") == "lost\n"


def test_a_layer_that_was_changed_in_the_store_reaches_no_engine(bench: Bench) -> None:
    made = bench.build(DOCKERFILE, {"www/index.html": "changed\n"})
    bench.engine.docker("rmi", "-f", made.digests["image ID"])
    layer = bench.make_step.store.path(made.parts[-1])
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes() + b"x")

    with engine.connected(bench.engine.host) as client, pytest.raises(StepRefused):
        archive.load(client, made, bench.make_step("deploy.staging"))

    assert made.digests["image ID"] not in bench.engine.docker("images", "-q", "--no-trunc").split()


# --- registry ---


def evidence(bench: Bench, artifact: Artifact) -> list[Evidence]:
    bundle = bench.make_step.root / "bundle.json"
    bundle.write_text('{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}')
    kept = bench.make_step("sign.release").keep(bundle, "bundle")
    subject = [{"name": "x", "digest": {"sha256": artifact.digest.removeprefix("sha256:")}}]
    return [
        Evidence(
            step="build.image",
            predicate_type="https://slsa.dev/provenance/v1",
            digest="sha256:" + "1" * 64,
            statement={"subject": subject},
            bundles=(kept.digest,),
        )
    ]


def served(address: str, path: str, accept: str = "application/vnd.oci.image.index.v1+json") -> Any:
    request = urllib.request.Request(f"http://{address}/v2/{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_it_is_put_by_its_digest_and_without_a_tag(bench: Bench, registry: str) -> None:
    made = bench.build(DOCKERFILE, {"www/index.html": "put\n"}, repository=f"{registry}/untagged")

    assert made.name == f"{registry}/untagged"
    found = served(
        registry, f"untagged/manifests/{made.digest}", "application/vnd.oci.image.manifest.v1+json"
    )
    assert found["config"]["digest"] == made.digests["image ID"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        served(registry, "untagged/tags/list")


def test_another_engine_would_pull_the_image_that_was_tested(bench: Bench, registry: str) -> None:
    made = bench.build(DOCKERFILE, {"www/index.html": "pulled\n"}, repository=f"{registry}/pulled")
    bench.engine.docker("rmi", "-f", made.digests["image ID"])

    bench.engine.docker("pull", f"{registry}/pulled@{made.digest}")

    assert made.digests["image ID"] in bench.engine.docker("images", "-q", "--no-trunc").split()


def test_tags_and_evidence_are_published_beside_it_once(bench: Bench, registry: str) -> None:
    made = bench.build(DOCKERFILE, {"www/index.html": "published\n"}, repository=f"{registry}/shop")
    settings = Published(tags=("1.0",))
    published = []
    for _ in range(2):
        step = bench.make_step("publish.release", artifacts=[made])
        published += penstock_publish(settings=settings, step=step, evidence=evidence(bench, made))

    assert [each.already for each in published] == [False, True]
    assert {each.location for each in published} == {f"{registry}/shop@{made.digest}"}
    fallback = served(registry, f"shop/manifests/{made.digest.replace(':', '-')}")
    [referrer] = fallback["manifests"]
    manifest = served(
        registry, f"shop/manifests/{referrer['digest']}", "application/vnd.oci.image.manifest.v1+json"
    )
    assert manifest["subject"]["digest"] == made.digest
    assert manifest["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert manifest["annotations"]["dev.sigstore.bundle.predicateType"] == "https://slsa.dev/provenance/v1"


def test_a_tag_moves_only_where_that_is_said(bench: Bench, registry: str) -> None:
    made = [
        bench.build(DOCKERFILE, {"www/index.html": f"{n}\n"}, repository=f"{registry}/tags") for n in (1, 2)
    ]
    steps = [bench.make_step("publish.release", artifacts=[artifact]) for artifact in made]
    penstock_publish(settings=Published(tags=("v",)), step=steps[0], evidence=[])

    with pytest.raises(StepRefused, match=r"tags:v names another image already"):
        penstock_publish(settings=Published(tags=("v",)), step=steps[1], evidence=[])
    penstock_publish(settings=Published(tags=("v",), move_tags=True), step=steps[1], evidence=[])

    with opened(f"{registry}/tags") as place:
        assert place.manifest("v") == place.manifest(made[1].digest)


# --- deploy ---


def running(bench: Bench, service: str) -> list[str]:
    return bench.engine.docker(
        "ps", "-q", "--no-trunc", "-f", f"label=dev.penstock.service={service}"
    ).split()


def test_a_release_is_deployed_by_digest_once_and_put_back(bench: Bench) -> None:
    target, step = bench.target(service="back", settle=0)
    first = bench.release(bench.build(SERVING, {"www/index.html": "1\n"}))
    second = bench.release(bench.build(SERVING, {"www/index.html": "2\n"}))
    assert target.observe(step()) == TargetState()

    target.apply(first, step())
    [one] = running(bench, "back")
    target.apply(first, step())
    assert running(bench, "back") == [one]
    before = target.observe(step())
    assert before.release == first.digest
    assert target.probe(step()).status == "healthy"

    target.apply(second, step())
    assert target.observe(step()).release == second.digest
    target.restore(before, step())
    target.restore(before, step())

    assert target.observe(step()) == before
    assert running(bench, "back") == [one]


def test_what_was_there_is_nothing(bench: Bench) -> None:
    target, step = bench.target(service="none", settle=0)
    target.apply(bench.release(bench.build(SERVING, {"www/a": ""})), step())

    target.restore(TargetState(), step())

    assert target.observe(step()) == TargetState()
    assert target.probe(step()).status == "unhealthy"


def test_older_containers_are_removed_and_the_one_before_is_kept(bench: Bench) -> None:
    target, step = bench.target(service="older", settle=0, stop_grace=1)
    made = [bench.release(bench.build(SERVING, {"www/a": f"{n}"})) for n in range(4)]
    for release in made:
        target.apply(release, step())

    labels = bench.engine.docker(
        "ps", "-a", "-f", "label=dev.penstock.service=older", "--format", '{{.Label "dev.penstock.release"}}'
    ).split()
    assert labels == [made[3].digest, made[2].digest]
    there = bench.engine.docker("images", "-q", "--no-trunc").split()
    assert [release.artifacts[0].digests["image ID"] in there for release in made] == [
        False,
        False,
        True,
        True,
    ]


def test_a_container_that_ends_is_unhealthy_and_says_its_last_words(bench: Bench) -> None:
    target, step = bench.target(
        service="ends", start_timeout=0, command=("sh", "-c", "echo no database; false")
    )
    target.apply(bench.release(bench.build(DOCKERFILE, {"www/a": ""})), step())

    health = target.probe(step())
    while health.status == "unknown":
        health = target.probe(step())

    assert health.status == "unhealthy"
    assert "no database" in health.detail


def test_secrets_come_in_the_environment_and_others_do_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    target, step = bench.target(
        service="secret", settle=0, service_secrets=("TOKEN",), variables={"MODE": "test"}
    )
    target.apply(bench.release(bench.build(SERVING, {"www/a": ""})), step())

    [container] = running(bench, "secret")
    said = bench.engine.docker("exec", container, "env")
    assert f"TOKEN={SECRET}" in said
    assert "MODE=test" in said
    assert SECRET not in json.dumps(target.observe(step()).model_dump(mode="json"))


def test_a_host_that_pulls_another_image_than_was_tested_starts_none_of_it(
    bench: Bench, registry: str
) -> None:
    made = bench.build(SERVING, {"www/a": "tested"}, repository=f"{registry}/other")
    claimed = made.model_copy(update={"digests": {"image ID": "sha256:" + "0" * 64}})
    target, step = bench.target(service="other", repository=f"{registry}/other")

    with pytest.raises(StepRefused, match="is not the image sha256:0000"):
        target.apply(bench.release(claimed), step())

    assert running(bench, "other") == []


def test_the_image_that_a_section_means(bench: Bench) -> None:
    images = [bench.build(SERVING, {"www/a": name}, name=name) for name in ("web", "worker")]
    release = bench.release(images[0]).model_copy(update={"artifacts": tuple(images)})
    target, step = bench.target(service="which")

    with pytest.raises(Exception, match=r'several images match image = "\*": web, worker'):
        target.apply(release, step())
    target, step = bench.target(service="which", image="work*", settle=0)
    target.apply(release, step())

    [container] = running(bench, "which")
    assert (
        bench.engine.docker("inspect", "-f", "{{.Image}}", container).strip() == images[1].digests["image ID"]
    )
