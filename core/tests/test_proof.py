from __future__ import annotations

from pathlib import Path

import pytest
from penstock.errors import PluginError, StepRefused
from penstock.evidence import Reference
from penstock.home import Home
from penstock.model import Signature, sha256_of
from penstock.proof import check_bytes, take_over, with_bundles


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.of(tmp_path)


@pytest.mark.parametrize("what", ["manifest", "file"])
def test_a_directory_s_bytes_are_all_checked(what: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "site" / "deep").mkdir(parents=True)
    (tmp_path / "site" / "deep" / "page").write_text("right")
    artifact = home.store.keep(tmp_path / "site", "directory")
    check_bytes(home, artifact)
    digest = artifact.digest if what == "manifest" else home.store.add_bytes(b"right")
    kept = home.store.path(digest)
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes().replace(b"right", b"wrong").replace(b"deep", b"dark"))

    with pytest.raises(StepRefused, match=r"are not those of"):
        check_bytes(home, artifact)


def test_a_statement_in_an_event_has_to_be_the_one_that_the_evidence_names(home: Home) -> None:
    digest = sha256_of(b"{}")
    entry = Reference(step="test.unit", predicate_type="x", statement=digest).model_dump(mode="json")
    data = {"evidence": [entry], "statements": {digest: "{}"}}
    take_over(home, data)

    with pytest.raises(StepRefused, match=r"its evidence is not what was put on record"):
        take_over(home, {**data, "statements": {digest: "{ }"}})
    with pytest.raises(StepRefused, match=r"its evidence is not in the store any more"):
        take_over(home, {**data, "statements": {}})


def reference(home: Home, text: bytes) -> Reference:
    return Reference(step="test.unit", predicate_type="x", statement=home.store.add_bytes(text))


def test_a_signature_goes_into_the_store_beside_those_before_it(home: Home) -> None:
    entry = reference(home, b"statement").model_copy(
        update={"bundles": ("sha256:" + "1" * 64,), "signers": ("a",)}
    )
    made = Signature(bundle='{"b": 1}', statement=entry.statement, signer="key:b")

    [found] = with_bundles(home.store, [entry], [made])

    assert found["signers"] == ["a", "key:b"]
    assert home.store.read(found["bundles"][1]) == b'{"b": 1}'


@pytest.mark.parametrize("order", [[], [0], [1, 0], [0, 1, 1], [0, 0]], ids=str)
def test_each_statement_wants_its_signature_in_order(order: list[int], home: Home) -> None:
    entries = [reference(home, b"one"), reference(home, b"two")]
    made = [Signature(bundle="{}", statement=entries[at].statement, signer="key:b") for at in order]

    with pytest.raises(PluginError, match=r"did not sign each statement that it was handed, in order"):
        with_bundles(home.store, entries, made)
