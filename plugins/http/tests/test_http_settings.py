from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.plugins import CORE_KEYS
from penstock_http.settings import Http, check_url
from pydantic import ValidationError

URL = "https://stage.example.com/health"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({}, "Field required", id="no url"),
        pytest.param({"url": "ftp://x/"}, "does not begin with http", id="scheme"),
        pytest.param({"url": "stage.example.com"}, "does not begin with http", id="no scheme"),
        pytest.param({"url": "http://"}, "names no host", id="no host"),
        pytest.param({"url": "http:///health"}, "names no host", id="path only"),
        pytest.param({"url": "http://x:0/"}, "no port", id="port 0"),
        pytest.param({"url": "http://x:99999/"}, "is not a URL", id="port too large"),
        pytest.param({"url": "http://[::1/"}, "is not a URL", id="bracket"),
        pytest.param({"url": "http://x/a b"}, "Percent-encode", id="space"),
        pytest.param({"url": "http://x/\r\nA: b"}, "Percent-encode", id="line break"),
        pytest.param({"url": "http://größe.example/"}, "Percent-encode", id="not ASCII"),
        pytest.param({"url": "http://u:p@x/"}, "ends up in logs", id="password"),
        pytest.param({"status": 99}, "greater than or equal to 200", id="status too small"),
        pytest.param({"status": 100}, "greater than or equal to 200", id="status that is no end"),
        pytest.param({"status": []}, "at least 1", id="no status"),
        pytest.param({"body": "("}, "is not a regular expression", id="pattern"),
        pytest.param({"body": "x", "method": "HEAD"}, "HEAD has no body", id="body of HEAD"),
        pytest.param({"count": 0}, "greater than or equal to 1", id="count"),
        pytest.param({"count": 2, "duration": "5s"}, "exclude each other", id="count and duration"),
        pytest.param({"duration": 0}, "greater than 0", id="no duration"),
        pytest.param({"request_timeout": 0}, "greater than 0", id="no timeout"),
        pytest.param({"max_latency": "5s"}, "less than request_timeout", id="latency"),
        pytest.param({"method": "DELETE"}, "'GET', 'HEAD', 'OPTIONS' or 'POST'", id="method"),
        pytest.param({"headers": {"A B": "x"}}, "not the name of a header", id="header name"),
        pytest.param({"headers": {"A": "x\ny"}}, "line break", id="header value"),
        pytest.param({"headers": {"A": "€"}}, "character that headers can't", id="header character"),
        pytest.param({"headers": {"A": "${secret:}"}}, "no ${secret:NAME}", id="secret without name"),
        pytest.param({"headers": {"A": "${env:B}"}}, "no ${secret:NAME}", id="other variable"),
        pytest.param({"headers": {"Content-Length": "9"}}, "set by the request itself", id="length"),
        pytest.param({"allowed_failures": "100%"}, "less than 1", id="all bad"),
        pytest.param({"allowed_failures": "101%"}, "more than 100%", id="share"),
        pytest.param({"url": "http://x/", "ca": "x.pem"}, "ca is for https", id="ca without TLS"),
        pytest.param({"timeout": 5}, "Extra inputs", id="unknown key"),
    ],
)
def test_bad_settings_are_refused_with_what_is_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Http.model_validate(({"url": URL} if values else {}) | values)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["http://x", "http://x?a=%20b", "https://[::1]:8443/", "HTTP://X/", "http://xn--gre-6ka8i.example:80/#a"],
)
def test_good_urls_are_accepted(url: str) -> None:
    assert check_url(url) == url


def test_every_field_is_described_and_free() -> None:
    assert not CORE_KEYS & Http.model_fields.keys()
    assert all(field.description for field in Http.model_fields.values())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"status": [200, 204], "body": "x", "max_latency": "200ms", "count": 5, "wait": "1m"},
        {"duration": "5m", "allowed_failures": "1%", "headers": {"A": "${secret:B}"}},
    ],
)
def test_settings_survive_json(values: dict[str, Any]) -> None:
    settings = Http.model_validate({"url": URL, **values})
    assert Http.model_validate(settings.model_dump(mode="json")) == settings


@given(st.text(max_size=30))
def test_any_url_is_accepted_or_refused_and_nothing_else(text: str) -> None:
    for url in (text, f"http://{text}", f"http://x/{text}"):
        try:
            accepted = check_url(url)
        except ValueError:
            continue
        assert accepted.isascii()
        assert accepted.isprintable()
        assert " " not in accepted


def test_plugin_is_imported_without_what_speaks_http() -> None:
    code = "import sys, penstock_http; print({'ssl', 'http.client'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
