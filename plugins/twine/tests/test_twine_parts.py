from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from penstock import Artifact, StepFailed
from penstock_twine import files, penstock_propose, publishing, simple, upload
from penstock_twine.settings import Twine
from penstock_twine.simple import Entry
from pydantic import ValidationError

URL = "https://packages.example.com/simple/demo/"
SHA = "ab" * 32
JSON = "application/vnd.pypi.simple.v1+json; charset=utf-8"

# --- settings ---


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "Field required"),
        ({"repository": "pipy"}, '"pipy" is not the address of an index, such as'),
        ({"repository": "ftp://x/"}, "is not the address of an index"),
        ({"repository": "https:///x"}, "is not the address of an index"),
        ({"repository": "https://x:99999/"}, "is not the address of an index"),
        ({"repository": "https://a b/"}, "is not the address of an index"),
        ({"repository": "https://ana:pw@x/"}, "the address holds a name or a password"),
        ({"repository": "https://x/?token=1"}, 'has a part after "?" or "#"'),
        ({"repository": "https://x/", "index": "simple"}, '"simple" is not the address of an index'),
        ({"repository": "http://x/", "password": "P"}, '"http://x/" is not encrypted: whoever is on the way'),
        ({"repository": "https://x/", "index": "http://x/", "password": "P"}, '"http://x/" is not encrypted'),
        ({"repository": "https://x/", "formats": []}, "at least 1 item"),
        ({"repository": "https://x/", "formats": ["egg"]}, "Input should be 'wheel' or 'sdist'"),
        ({"repository": "https://x/", "skip_existing": True}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Twine.model_validate(settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"repository": "pypi", "password": "P"},
        {"repository": "http://x/"},
        {"repository": "http://127.0.0.1:8080", "password": "P"},
        {"repository": "http://localhost/a", "password": "P"},
        {"repository": "http://[::1]:8080/", "password": "P"},
        {"repository": "http://10.0.0.1/", "password": "P", "insecure": True},
    ],
)
def test_settings_that_are_taken(settings: dict[str, Any]) -> None:
    Twine.model_validate(settings)


@pytest.mark.parametrize(
    ("repository", "index"),
    [
        ("https://packages.example.com", "https://packages.example.com/simple/"),
        ("https://x/api/pypi/team/", "https://x/api/pypi/team/simple/"),
        ("https://upload.x.org/legacy/", "https://x.org/simple/"),
        ("https://test.x.org:444/legacy", "https://test.x.org:444/simple/"),
    ],
)
def test_the_index_that_belongs_to_a_repository(repository: str, index: str) -> None:
    assert publishing.repository(repository) == repository
    assert publishing.index_of(repository) == index


def test_indexes_by_name_are_those_that_twine_knows() -> None:
    real, practice = (publishing.repository(name) for name in ("pypi", "testpypi"))
    assert real.endswith("/legacy/")
    assert publishing.index_of(real).endswith(".org/simple/")
    assert practice != real
    assert publishing.index_of(practice) == practice.replace("/legacy/", "/simple/")


# --- pages ---


def test_a_page_in_html() -> None:
    page = f"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"></head><body>
    <a href="../../packages/demo-1.0.tar.gz#sha256={SHA.upper()}" data-yanked="">demo-1.0.tar.gz</a>
    <a href="https://ana:pw@files.example.com/demo%2B1-1.0.tar.gz#md5=00">x</a>
    <a name="nothing">no link</a>
    <a href="/d/demo-1.1.tar.gz#sha256=short">demo-1.1.tar.gz</a></body></html>"""
    assert simple.parse(page, "Text/HTML; charset=utf-8", URL) == [
        Entry(
            name="demo-1.0.tar.gz", url="https://packages.example.com/packages/demo-1.0.tar.gz", sha256=SHA
        ),
        Entry(name="demo+1-1.0.tar.gz", url="https://files.example.com/demo%2B1-1.0.tar.gz"),
        Entry(name="demo-1.1.tar.gz", url="https://packages.example.com/d/demo-1.1.tar.gz"),
    ]
    based = '<html><base href="/other/"><a href="demo-1.0.tar.gz">x</a>'
    assert (
        simple.parse(based, "text/html", URL)[0].url == "https://packages.example.com/other/demo-1.0.tar.gz"
    )


def test_a_page_in_json() -> None:
    page = (
        '{"meta": {"api-version": "1.3"}, "name": "demo", "versions": ["1.0"], "files": ['
        f'{{"filename": "demo-1.0.tar.gz", "url": "/d/demo-1.0.tar.gz", "hashes": {{"sha256": "{SHA}"}}}}, '
        '{"filename": "demo-1.1.tar.gz", "url": "https://x/demo-1.1.tar.gz", "hashes": {}, "yanked": true}]}'
    )
    assert simple.parse(page, JSON, URL) == [
        Entry(name="demo-1.0.tar.gz", url="https://packages.example.com/d/demo-1.0.tar.gz", sha256=SHA),
        Entry(name="demo-1.1.tar.gz", url="https://x/demo-1.1.tar.gz"),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("{}", JSON, "its JSON is not that of the simple API"),
        ("[" * 100_000, JSON, "its JSON is not that of the simple API"),
        ('{"meta": {"api-version": "1.0"}, "files": [3]}', JSON, "its JSON is not that of the simple API"),
        (
            '{"meta": {"api-version": "2.0"}, "files": []}',
            JSON,
            "speaks version 2.0 of the simple API, and 1 is",
        ),
        ("", "", "it is of the type that nobody says"),
    ],
    ids=["empty", "deep", "wrong", "version", "no-type"],
)
def test_what_is_no_page(text: str, kind: str, said: str) -> None:
    with pytest.raises(StepFailed, match=said):
        simple.parse(text, kind, URL)


# --- files ---


def test_one_file_in_two_spellings() -> None:
    same = [
        ("Demo_X-1.0-py3-none-any.whl", "demo_x-1.0.0-py3-none-any.whl"),
        ("demo_x-1.0-py2.py3-none-any.whl", "demo_x-1.0-py3.py2-none-any.whl"),
        ("demo-x-1.0.tar.gz", "demo_x-1.0.tar.gz"),
    ]
    other = [
        ("demo-1.0-py3-none-any.whl", "demo-1.0-1-py3-none-any.whl"),
        ("demo-1.0-py3-none-any.whl", "demo-1.0.post1-py3-none-any.whl"),
        ("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"),
    ]
    assert all(files.identity(one) == files.identity(two) is not None for one, two in same)
    assert all(files.identity(one) != files.identity(two) for one, two in other)
    assert files.identity("demo-1.0.exe") is None


def test_the_same_bytes_twice_are_published_once() -> None:
    wheel = Artifact(name="demo-1.0-py3-none-any.whl", kind="wheel", digest=f"sha256:{SHA}")
    assert files.choose([wheel, wheel], ["wheel"]) == [wheel]


# --- twine ---


def test_the_command_lines_hold_no_password() -> None:
    begin = [*upload.TWINE, "upload", "--non-interactive", "--disable-progress-bar", "--config-file", "/c"]
    end = ["--repository-url", "https://x/", "/d.whl"]
    machine = ["PATH", "TWINE_PASSWORD", "TWINE_REPOSITORY", "TWINE_CERT", "TWINE_USERNAME"]
    logged_in = ["TWINE_USERNAME", "TWINE_PASSWORD"]
    words = upload.upload_words(Path("/d.whl"), "https://x/", Path("/c"), machine, logged_in)
    assert words == ["env", "-u", "TWINE_REPOSITORY", *begin, *end]
    # Without a password of the section's own, one that is left over on the machine is not used either.
    words = upload.upload_words(Path("/d.whl"), "https://x/", Path("/c"), machine, [])
    assert words[:7] == ["env", "-u", "TWINE_PASSWORD", "-u", "TWINE_REPOSITORY", "-u", "TWINE_USERNAME"]
    assert upload.upload_words(Path("/d.whl"), "https://x/", Path("/c"), [], []) == [*begin, *end]
    assert upload.check_words([Path("/d.whl")], strict=True) == [*upload.TWINE, "check", "--strict", "/d.whl"]


def test_what_twine_check_says() -> None:
    output = (
        "Checking /i/ab/demo-1.0.tar.gz: PASSED with warnings\nWARNING  `long_description` missing.\n"
        "Checking /i/cd/demo-1.0.whl: FAILED\nERROR    `long_description` has\n         line 4: Warning: x\n"
        "Checking /i/ef/odd.whl: \n"
    )
    assert upload.complaint(output) == (
        "demo-1.0.whl: `long_description` has line 4: Warning: x; odd.whl: it is no such archive"
    )
    assert upload.complaint("") == "the files: the step's log says why"


# --- init ---


def test_init_proposes_to_publish_only_when_asked() -> None:
    assert penstock_propose(add=None) is None
    assert penstock_propose(add="deploy.pypi") is None
    login = {"password": "INDEX_TOKEN", "secrets": {"INDEX_TOKEN": "env:INDEX_TOKEN"}}
    proposal = penstock_propose(add="publish.testpypi")
    assert proposal is not None
    assert proposal.sections == {"publish.testpypi": {"repository": "testpypi", **login}}
    proposal = penstock_propose(add="publish.ours")
    assert proposal is not None
    assert proposal.sections == {"publish.ours": login}
