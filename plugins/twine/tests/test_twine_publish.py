"""The hook with the real twine and a real index; what goes wrong on the way is a proxy's doing."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock import ConfigError, StepFailed, StepRefused
from penstock_twine import penstock_tools
from penstock_twine.settings import Twine

from tests.package_index import Answer, Request, proxy, pypiserver

PassOn = Callable[[], Answer]
FilesOf = Callable[[], dict[str, str]]

DEMO = ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]


def test_a_first_release_and_the_same_again(bench, index: str, files_of: FilesOf) -> None:
    wheel, sdist = bench.wheel(), bench.sdist()
    published = bench(index, wheel, sdist)
    assert files_of() == {wheel.name: wheel.digest, sdist.name: sdist.digest}
    assert [(each.artifact, each.already) for each in published] == [
        (wheel.digest, False),
        (sdist.digest, False),
    ]
    assert published[0].location == f"{index}packages/{wheel.name}#{wheel.digest.replace(':', '=')}"
    assert (
        published[0].purl
        == f"pkg:pypi/demo@1.0?repository_url={index.replace(':', '%3A').replace('/', '%2F')}simple%2F"
    )

    with proxy(index) as watch:
        again = bench(watch.url, wheel, sdist)
    assert [each.already for each in again] == [True, True]
    assert watch.uploads == []
    assert f"{wheel.name}, 1 of 2: already there, same bytes" in bench.log


@pytest.mark.parametrize("hash_algo", ["sha256", "md5", "off"])
def test_other_bytes_under_a_name_that_is_taken_are_refused_before_anything_is_uploaded(
    bench, directory: Path, files_of: FilesOf, hash_algo: str
) -> None:
    with pypiserver(
        directory, disable_fallback=True, hash_algo=hash_algo if hash_algo != "off" else None
    ) as index:
        old = bench.sdist("a = 1\n")
        bench(index, old)
        wheel, new = bench.wheel(), bench.sdist("a = 2\n")
        with proxy(index) as watch, pytest.raises(StepRefused) as caught:
            bench(watch.url, wheel, new)
    assert str(caught.value) == (
        f"demo-1.0.tar.gz is on {watch.url}simple/ with other bytes: {old.digest}. Built was demo-1.0.tar.gz, "
        f"{new.digest}. What is published is never replaced: give the release a new version. Nothing was uploaded"
    )
    assert watch.uploads == []
    assert files_of() == {old.name: old.digest}


def test_an_index_that_says_no_digest_is_asked_for_the_bytes(bench, directory: Path) -> None:
    with pypiserver(directory, disable_fallback=True, hash_algo=None) as index:
        wheel = bench.wheel()
        assert [each.already for each in bench(index, wheel)] == [False]
        assert [each.already for each in bench(index, wheel)] == [True]


def test_another_spelling_of_a_file_that_is_there_is_the_same_file(
    bench, index: str, directory: Path
) -> None:
    directory.joinpath("demo-1.0.0-py3-none-any.whl").write_bytes(b"older")
    with pytest.raises(StepRefused, match=r"^demo-1\.0\.0-py3-none-any\.whl is on .* with other bytes: "):
        bench(index, bench.wheel())


def test_a_version_that_is_there_as_another_file_gets_the_missing_one(
    bench, index: str, files_of: FilesOf
) -> None:
    bench(index, bench.sdist())
    [published] = bench(index, bench.wheel())
    assert not published.already
    assert sorted(files_of()) == DEMO
    assert "demo 1.0 is there with other files: demo-1.0.tar.gz" in bench.log


def test_after_a_cut_between_two_files_the_rest_is_uploaded(bench, index: str, files_of: FilesOf) -> None:
    wheel, sdist = bench.wheel(), bench.sdist()

    def full(request: Request, pass_on: PassOn) -> Answer:
        return Answer(507, {}, b"") if request.uploads == sdist.name else pass_on()

    with proxy(index, full) as watch:
        with pytest.raises(StepFailed) as caught:
            bench(watch.url, wheel, sdist)
        assert str(caught.value).startswith("demo-1.0.tar.gz was not uploaded: twine ended with 1: ")
        assert "HTTPError: 507 Insufficient Storage" in str(caught.value)
        assert str(caught.value).endswith(
            "Uploaded: demo-1.0-py3-none-any.whl. What is there is not uploaded again by a further run"
        )
        assert sorted(files_of()) == [wheel.name]
    with proxy(index) as watch:
        assert [each.already for each in bench(watch.url, wheel, sdist)] == [True, False]
        assert watch.uploads == [sdist.name]


def test_an_answer_that_was_lost_is_no_failure(bench, index: str, files_of: FilesOf) -> None:
    def lose(request: Request, pass_on: PassOn) -> Answer:
        answer = pass_on()
        return Answer(400, {}, b"") if request.uploads else answer

    wheel = bench.wheel()
    with proxy(index, lose) as watch:
        assert len(bench(watch.url, wheel)) == 1
    assert files_of() == {wheel.name: wheel.digest}
    assert "But demo-1.0-py3-none-any.whl is there, and is the same" in bench.log


# --- passwords ---


def test_the_password_is_a_secret_and_reading_may_ask_for_it_too(
    bench, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_PASSWORD", " s3cret-s3cret\n")
    login = {"username": "ana", "password": "PASSWORD", "secrets": {"PASSWORD": "env:INDEX_PASSWORD"}}
    users = {"ana": "s3cret-s3cret"}
    with pypiserver(
        directory, disable_fallback=True, users=users, authenticate=["update", "list", "download"]
    ) as index:
        wheel = bench.wheel()
        [published] = bench(index, wheel, **login)
        assert published.artifact == wheel.digest
        assert "s3cret" not in bench.log


def test_a_wrong_password(bench, directory: Path, files_of: FilesOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_PASSWORD", "wrong-wrong")
    with pypiserver(
        directory, disable_fallback=True, users={"ana": "right"}, authenticate=["update"]
    ) as index:
        with pytest.raises(StepFailed) as caught:
            bench(index, bench.wheel(), username="ana", password="P", secrets={"P": "env:INDEX_PASSWORD"})
        assert str(caught.value) == (
            "demo-1.0-py3-none-any.whl was not uploaded: twine ended with 1: HTTPError: 403 Forbidden from "
            f"{index} Forbidden. Are `username` and `password` right? Nothing was uploaded"
        )
    assert files_of() == {}


@pytest.mark.parametrize(
    ("value", "settings", "error", "said"),
    [
        (None, {"password": "NOSUCH"}, ConfigError, 'declares no secret "NOSUCH". Add: secrets = {'),
        ("      \n", {"password": "P", "secrets": {"P": "env:P"}}, StepFailed, 'the secret "P" is empty'),
    ],
    ids=["undeclared", "empty"],
)
def test_a_password_that_is_none(
    bench, monkeypatch: pytest.MonkeyPatch, value: str | None, settings, error: type[Exception], said: str
) -> None:
    monkeypatch.setenv("P", value or "")
    with pytest.raises(error, match=said):
        bench("http://127.0.0.1:9/", bench.wheel(), **settings)


def test_what_the_user_keeps_for_twine_leads_nowhere_else(
    bench, index: str, files_of: FilesOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".pypirc").write_text(
        "[pypi]\nrepository = http://127.0.0.1:9/\nusername = x\npassword = y\n"
    )
    for name, value in {
        "HOME": str(tmp_path),
        "TWINE_REPOSITORY": "elsewhere",
        "TWINE_REPOSITORY_URL": "http://127.0.0.1:9/",
        "TWINE_USERNAME": "mine",
        "TWINE_PASSWORD": "mine",
    }.items():
        monkeypatch.setenv(name, value)
    wheel = bench.wheel()
    with proxy(index) as watch:
        bench(watch.url, wheel)
        [upload] = [request for request in watch.seen if request.uploads]
    assert files_of() == {wheel.name: wheel.digest}
    assert upload.headers["Authorization"] == "Basic bm9ib2R5Om5vdGhpbmc="  # nobody:nothing


# --- indexes that are no help ---


def test_an_index_that_is_not_there(bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    with pytest.raises(StepFailed) as caught:
        bench(url, bench.wheel())
    assert (
        str(caught.value) == f"{url}simple/demo/ can't be reached: Connection refused. Nothing was uploaded"
    )


def test_an_index_that_hands_the_question_on_has_no_such_project(
    bench, directory: Path, files_of: FilesOf
) -> None:
    with pypiserver(directory, fallback_url="http://other.example/simple/") as index:
        [published] = bench(index, bench.wheel())
    assert not published.already
    assert len(files_of()) == 1


def test_an_address_below_which_there_is_no_index(bench, index: str, files_of: FilesOf) -> None:
    def nothing(request: Request, pass_on: PassOn) -> Answer:
        return Answer(404, {}, b"") if request.path.startswith("/simple/") else pass_on()

    with proxy(index, nothing) as watch:
        with pytest.raises(StepFailed) as caught:
            bench(watch.url, bench.wheel())
        assert str(caught.value) == (
            f"{watch.url}simple/ is no package index, so nobody can tell what is published already. Say where it "
            'is: index = "https://…/simple/". Nothing was uploaded'
        )
        assert watch.uploads == []
        assert len(bench(watch.url, bench.wheel(), index=f"{index}simple")) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(500, {}, b""), "can't be read: the index answers 500 Internal Server Error. Nothing was"),
        (Answer(401, {}, b""), "can't be read: the index answers 401 Unauthorized. Are `username` and"),
        (
            Answer(200, {"Content-Type": "text/plain"}, b"hello"),
            "is no page of a package index: it is of the type",
        ),
        (
            Answer(200, {"Content-Type": "text/html"}, b"hello"),
            "is no page of a package index: it has no HTML",
        ),
        (Answer(200, {"Content-Type": "application/json"}, b"{"), "is no page of a package index: its JSON"),
        (
            Answer(302, {"Location": "/simple/demo/"}, b""),
            "leads from one address to the next and to no page",
        ),
    ],
    ids=["error", "login", "text", "no-html", "bad-json", "circle"],
)
def test_an_index_that_can_not_be_understood_closes_the_gate(
    bench, index: str, answer: Answer, said: str
) -> None:
    def change(request: Request, pass_on: PassOn) -> Answer:
        return answer if request.path == "/simple/demo/" else pass_on()

    with proxy(index, change) as watch:
        with pytest.raises(StepFailed, match=said):
            bench(watch.url, bench.wheel())
        assert watch.uploads == []


def test_an_index_that_does_not_show_what_was_uploaded(bench, index: str) -> None:
    def hide(request: Request, pass_on: PassOn) -> Answer:
        return Answer(404, {}, b"") if request.path == "/simple/demo/" else pass_on()

    with proxy(index, hide) as watch, pytest.raises(StepFailed) as caught:
        bench(watch.url, bench.wheel(), wait=0.01)
    assert str(caught.value) == (
        f"{watch.url}simple/ does not show demo-1.0-py3-none-any.whl 0.01 s after it was uploaded to {watch.url}. Is "
        "`index` right? Uploaded: demo-1.0-py3-none-any.whl. What is there is not uploaded again by a further run"
    )


def test_an_index_that_takes_its_time_is_waited_for(bench, index: str) -> None:
    looked = 0

    def late(request: Request, pass_on: PassOn) -> Answer:
        nonlocal looked
        looked += request.path == "/simple/demo/"
        return Answer(404, {}, b"") if request.path == "/simple/demo/" and looked < 3 else pass_on()

    with proxy(index, late) as watch:
        assert len(bench(watch.url, bench.wheel(), wait=60)) == 1
    assert looked == 3


# --- other bytes on the way ---


def serves_others(request: Request, pass_on: PassOn) -> Answer:
    answer = pass_on()
    return Answer(200, answer.headers, b"poison") if request.path.startswith("/packages/") else answer


def redirects_to_others(request: Request, pass_on: PassOn) -> Answer:
    if request.path == "/elsewhere":
        return Answer(200, {}, b"poison")
    return (
        Answer(302, {"Location": "/elsewhere"}, b"") if request.path.startswith("/packages/") else pass_on()
    )


def serves_more(request: Request, pass_on: PassOn) -> Answer:
    answer = pass_on()
    more = b"\0" if request.path.startswith("/packages/") else b""
    return Answer(answer.status, answer.headers, answer.body + more)


@pytest.mark.parametrize("change", [serves_others, redirects_to_others, serves_more])
def test_other_bytes_than_the_index_promises_are_found_out(bench, index: str, change) -> None:
    wheel = bench.wheel()
    with proxy(index, change) as watch, pytest.raises(StepRefused) as caught:
        bench(watch.url, wheel)
    assert str(caught.value).startswith(f"{watch.url}packages/{wheel.name} serves other bytes (sha256:")
    assert wheel.digest in str(caught.value)
    assert str(caught.value).endswith(
        f"Uploaded: {wheel.name}. What is there is not uploaded again by a further run"
    )


def test_other_bytes_of_what_was_there_before_are_found_out_before_anything_is_uploaded(
    bench, index: str, files_of: FilesOf
) -> None:
    sdist = bench.sdist()
    bench(index, sdist)
    with proxy(index, serves_others) as watch:
        with pytest.raises(StepRefused, match=r"serves other bytes .* Nothing was uploaded$"):
            bench(watch.url, bench.wheel(), sdist)
        assert watch.uploads == []


def test_an_upload_that_fails_says_why_also_where_the_index_is_gone_then(bench, index: str) -> None:
    def breaks(request: Request, pass_on: PassOn) -> Answer:
        return Answer(400, {}, b"") if watch.uploads else pass_on()

    with proxy(index, breaks) as watch, pytest.raises(StepFailed) as caught:
        bench(watch.url, bench.wheel())
    assert str(caught.value) == (
        "demo-1.0-py3-none-any.whl was not uploaded: twine ended with 1: HTTPError: 400 Bad Request from "
        f"{watch.url} Bad Request. Nothing was uploaded"
    )
    assert "simple/demo/ can't be read: the index answers 400 Bad Request" in bench.log


def test_a_file_that_is_listed_and_gone(bench, index: str) -> None:
    def gone(request: Request, pass_on: PassOn) -> Answer:
        return Answer(410, {}, b"") if request.path.startswith("/packages/") else pass_on()

    with (
        proxy(index, gone) as watch,
        pytest.raises(StepFailed, match=r"can't be fetched: the index answers 410 Gone"),
    ):
        bench(watch.url, bench.wheel())


def test_an_archive_that_is_served_as_if_it_were_compressed_on_the_way_is_the_same_file(
    bench, index: str
) -> None:
    def encoded(request: Request, pass_on: PassOn) -> Answer:
        answer = pass_on()
        more = {"Content-Encoding": "gzip"} if request.path.startswith("/packages/") else {}
        return Answer(answer.status, {**answer.headers, **more}, answer.body)

    with proxy(index, encoded) as watch:
        assert len(bench(watch.url, bench.sdist())) == 1


def test_an_index_that_speaks_json(bench, index: str, directory: Path) -> None:
    def speak_json(request: Request, pass_on: PassOn) -> Answer:
        if request.path != "/simple/demo/":
            return pass_on()
        assert "application/vnd.pypi.simple.v1+json" in request.headers["Accept"]
        files = [
            {
                "filename": path.name,
                "url": f"../../packages/{path.name}",
                "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            }
            for path in directory.iterdir()
        ]
        document = {"meta": {"api-version": "1.1"}, "name": "demo", "files": files}
        kind = "application/vnd.pypi.simple.v1+json"
        return Answer(200, {"Content-Type": kind}, json.dumps(document).encode())

    wheel = bench.wheel()
    with proxy(index, speak_json) as watch:
        assert [each.already for each in bench(watch.url, wheel)] == [False]
        assert [each.already for each in bench(watch.url, wheel)] == [True]


# --- what is published ---


def test_nothing_to_publish(bench, make_step) -> None:
    readme = make_step("build.docs", files={"README": "x"}).keep(Path("README"), "file")
    with pytest.raises(StepFailed) as caught:
        bench("http://127.0.0.1:9/", readme)
    assert str(caught.value) == (
        "there is no wheel or sdist to publish. Built: README (file). Does the step wait for a build step (`needs`)?"
    )


def test_only_the_formats_that_are_asked_for(bench, index: str, files_of: FilesOf) -> None:
    bench(index, bench.wheel(), bench.sdist(), formats=["wheel"])
    assert list(files_of()) == DEMO[:1]


def test_two_builds_of_one_file_are_refused(bench) -> None:
    with pytest.raises(
        StepFailed, match="two files that are one to an index were built, with different bytes"
    ):
        bench("http://127.0.0.1:9/", bench.wheel("a = 1\n"), bench.wheel("a = 2\n"))


def test_a_file_that_an_index_would_not_take_is_refused_before_anything_is_uploaded(
    bench, tmp_path: Path
) -> None:
    broken = tmp_path / "demo-1.0.tar.gz"
    broken.write_bytes(b"no archive")
    artifact = bench.make_step("build.x").keep(broken, "sdist")
    with pytest.raises(
        StepFailed,
        match=r"^twine check refuses demo-1\.0\.tar\.gz: it is no such archive\. Nothing was uploaded$",
    ):
        bench("http://127.0.0.1:9/", bench.wheel(), artifact)


def test_a_name_that_no_index_knows(bench, tmp_path: Path) -> None:
    odd = tmp_path / "demo.whl"
    odd.write_bytes(b"")
    artifact = bench.make_step("build.x").keep(odd, "wheel")
    with pytest.raises(StepFailed, match=r"demo.whl is not the name of a wheel"):
        bench("http://127.0.0.1:9/", artifact)


def test_the_tool_is_on_record() -> None:
    [tool] = penstock_tools(settings=Twine(repository="testpypi"))
    assert (tool.name, len(tool.sha256 or "")) == ("twine", 64)
