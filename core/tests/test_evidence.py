from __future__ import annotations

import hashlib
import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import evidence, gates
from penstock.errors import PenstockError, StepRefused
from penstock.evidence import Circumstances, Reference
from penstock.findings import Exempted, Finding, ScanReport, Severity
from penstock.model import (
    Approval,
    Artifact,
    Check,
    Evidence,
    Publication,
    Release,
    Revision,
    Signature,
    Signer,
    TestCase,
    TestReport,
    Tool,
    Verification,
)
from penstock.plan import PlanStep

A, SNAPSHOT, PLAN = ("sha256:" + letter * 64 for letter in "abc")
WHEEL = Artifact(name="shop.whl", kind="wheel", digest=A)
REVISION = Revision(commit="4f2c1e9", ref="main", snapshot=SNAPSHOT, dirty=True)

CIRCUMSTANCES = Circumstances(
    pipeline="shop",
    run=7,
    plan=PLAN,
    config="sha256:" + "d" * 64,
    version="0.1.0",
    plugins={"python": "0.1.0"},
    tools=(
        Tool(name="uv", version="0.9", path="/bin/uv", sha256="f" * 64),
        Tool(name="pip", version="25", path="/bin/pip"),
    ),
    revision=REVISION,
    started=1_700_000_000.7,
    finished=1_700_000_060.2,
)
SUBJECT = [{"name": "shop.whl", "digest": {"sha256": "a" * 64}}]
RUN = {"pipeline": "shop", "run": 7, "plan": PLAN}


def step(phase: str, **more: Any) -> PlanStep:
    return PlanStep(name=f"{phase}.x", phase=phase, uses="python", settings={"level": 1}, **more)


def made(phase: str, result: object, **more: Any) -> list[dict[str, Any]]:
    return evidence.statements(step(phase, **more), result, [WHEEL], CIRCUMSTANCES)


def test_the_types_are_those_of_the_standards() -> None:
    assert evidence.STATEMENT == "https://in-toto.io/Statement/v1"
    assert gates.PROVENANCE == "https://slsa.dev/provenance/v1"
    assert gates.TEST_RESULT == "https://in-toto.io/attestation/test-result/v0.1"
    assert gates.VULNERABILITIES == "https://in-toto.io/attestation/vulns/v0.2"
    assert gates.SBOM == "https://cyclonedx.org/bom"


def test_a_build_leaves_slsa_provenance() -> None:
    assert made("build", [WHEEL]) == [
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": SUBJECT,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "https://penstock.dev/build-type/v1",
                    "externalParameters": {
                        "step": "build.x",
                        "uses": "python",
                        "settings": {"level": 1},
                        "config": "sha256:" + "d" * 64,
                    },
                    "internalParameters": {"plan": PLAN, "pipeline": "shop"},
                    "resolvedDependencies": [
                        {
                            "name": "source",
                            "digest": {"gitCommit": "4f2c1e9", "sha256": "b" * 64},
                            "annotations": {"ref": "main", "dirty": True},
                        }
                    ],
                },
                "runDetails": {
                    "builder": {
                        "id": "https://penstock.dev/builder/local/v1",
                        "version": {"penstock": "0.1.0", "python": "0.1.0"},
                        "builderDependencies": [
                            {
                                "name": "uv",
                                "uri": "pkg:generic/uv@0.9",
                                "digest": {"sha256": "f" * 64},
                                "annotations": {"version": "0.9", "path": "/bin/uv"},
                            },
                            {
                                "name": "pip",
                                "uri": "pkg:generic/pip@25",
                                "annotations": {"version": "25", "path": "/bin/pip"},
                            },
                        ],
                    },
                    "metadata": {
                        "invocationId": f"{PLAN}#7",
                        "startedOn": "2023-11-14T22:13:20Z",
                        "finishedOn": "2023-11-14T22:14:20Z",
                    },
                },
            },
        }
    ]


def test_provenance_of_a_source_without_a_commit_names_the_snapshot_alone() -> None:
    here = CIRCUMSTANCES._replace(revision=Revision(snapshot=SNAPSHOT))

    (statement,) = evidence.statements(step("build"), [WHEEL], [WHEEL], here)

    (source,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"sha256": "b" * 64}


def report(*outcomes: str, **more: Any) -> TestReport:
    cases = tuple(TestCase(name=f"t{n}", outcome=outcome) for n, outcome in enumerate(outcomes))  # type: ignore[arg-type]
    return TestReport(tool="pytest 9", cases=cases, **more)


def test_a_test_leaves_a_test_result() -> None:
    assert made("test", report("passed", "skipped", "passed")) == [
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": SUBJECT,
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "result": "PASSED",
                "configuration": [{"name": "test.x", "digest": {"sha256": "c" * 64}}],
                "passedTests": ["t0", "t2"],
                "warnedTests": ["t1"],
                "failedTests": [],
            },
        }
    ]


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (report("passed", "failed"), "FAILED"),
        (report(), "FAILED"),
        (report("skipped"), "FAILED"),
        (report(checks_only=True), "PASSED"),
        (report("passed"), "PASSED"),
    ],
    ids=["one failed", "no test", "all skipped", "a check", "passed"],
)
def test_a_test_result_says_what_the_gate_said(found: TestReport, result: str) -> None:
    (statement,) = made("test", found)

    assert statement["predicate"]["result"] == result


def test_a_test_of_nothing_that_was_built_is_about_the_source() -> None:
    (statement,) = evidence.statements(step("test"), report("passed"), [], CIRCUMSTANCES)

    assert statement["subject"] == [{"name": "source", "digest": {"sha256": "b" * 64}}]


HIGH = Finding(
    id="CVE-1",
    kind="vulnerability",
    severity=Severity.high,
    location="app/x",
    package="lib",
    version="1",
    fixed_in="2",
)
LICENCE = Finding(id="GPL", kind="license", severity=Severity.low)


def scan(*findings: Finding, **more: Any) -> ScanReport:
    fields = {"looked_for": ("vulnerability", "license"), "database": "2026-11-01", **more}
    return ScanReport(scanner="trivy 0.76.0", findings=findings, **fields)


def test_a_scan_leaves_its_verdict_and_a_vulnerability_report() -> None:
    more: dict[str, Any] = {
        "not_looked_for": {"secret": "not asked"},
        "database_updated": datetime(2023, 11, 14, 23, 0, tzinfo=timezone(timedelta(hours=1))),
        "exemptions": (Exempted(id="CVE-2", reason="why", until=date(2023, 11, 14), state="ended"),),
    }
    verdict, vulnerabilities = made("scan", scan(HIGH, LICENCE, **more))

    assert verdict == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": SUBJECT,
        "predicateType": "https://penstock.dev/attestation/scan/v0.1",
        "predicate": {
            "result": "FAILED",
            "scanner": "trivy 0.76.0",
            "lookedFor": ["vulnerability", "license"],
            "notLookedFor": {"secret": "not asked"},
            "database": "2026-11-01",
            "block": "high",
            "findings": [
                {
                    "id": "CVE-1",
                    "kind": "vulnerability",
                    "severity": "high",
                    "title": "",
                    "location": "app/x",
                    "package": "lib",
                    "version": "1",
                    "fixed_in": "2",
                },
                {"id": "GPL", "kind": "license", "severity": "low", "title": "", "location": ""},
            ],
            "exemptions": [{"id": "CVE-2", "reason": "why", "until": "2023-11-14", "state": "ended"}],
            "step": "scan.x",
            **RUN,
        },
    }
    assert vulnerabilities == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": SUBJECT,
        "predicateType": "https://in-toto.io/attestation/vulns/v0.2",
        "predicate": {
            "scanner": {
                "uri": "pkg:generic/trivy",
                "version": "0.76.0",
                "db": {"version": "2026-11-01", "lastUpdate": "2023-11-14T22:00:00Z"},
                "result": [
                    {
                        "id": "CVE-1",
                        "severity": [{"method": "vendor", "score": "high"}],
                        "annotations": [
                            {"package": "lib", "version": "1", "location": "app/x", "fixed_in": "2"}
                        ],
                    }
                ],
            },
            "metadata": {
                "scanStartedOn": "2023-11-14T22:13:20Z",
                "scanFinishedOn": "2023-11-14T22:14:20Z",
            },
        },
    }


@pytest.mark.parametrize(
    ("found", "result"),
    [(scan(), "PASSED"), (scan(LICENCE), "PASSED"), (scan(HIGH), "FAILED"), (scan(looked_for=()), "FAILED")],
    ids=["nothing", "below the limit", "at the limit", "nothing looked for"],
)
def test_a_scan_result_says_what_the_gate_said(found: ScanReport, result: str) -> None:
    assert made("scan", found)[0]["predicate"]["result"] == result


def test_a_scan_for_secrets_says_nothing_about_vulnerabilities() -> None:
    assert [entry["predicateType"] for entry in made("scan", scan(looked_for=("secret",)))] == [gates.SCAN]


def test_a_bill_of_materials_is_a_statement_of_its_own() -> None:
    bom: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.7"}

    found = evidence.statements(step("scan"), scan(), [WHEEL], CIRCUMSTANCES, bom)

    assert [entry["predicateType"] for entry in found] == [gates.SCAN, gates.VULNERABILITIES, gates.SBOM]
    assert found[2]["predicate"] == bom


def test_a_verification_is_a_statement() -> None:
    result = Verification(checks=(Check(name="200", passed=True, detail="0.1 s", seconds=0.1),))

    (statement,) = made("verify", result, environment="live")

    assert statement["predicateType"] == "https://penstock.dev/attestation/verification/v0.1"
    assert statement["predicate"] == {
        "environment": "live",
        "result": "PASSED",
        "step": "verify.x",
        "checks": [{"name": "200", "passed": True, "detail": "0.1 s", "seconds": 0.1}],
        **RUN,
    }


def test_what_was_published_is_a_statement_and_each_release_another() -> None:
    image = Artifact(name="shop", kind="image", digest="sha256:" + "e" * 64, digests={"manifest": SNAPSHOT})
    published = [
        Publication(artifact=A, location="https://x/shop.whl#sha256=a", purl="pkg:pypi/shop@1"),
        Publication(artifact=SNAPSHOT, location="registry/shop@sha256:b", already=True),
    ]

    publication, release = evidence.statements(step("publish"), published, [WHEEL, image], CIRCUMSTANCES)

    assert publication["predicateType"] == "https://penstock.dev/attestation/publication/v0.1"
    assert publication["subject"] == [
        *SUBJECT,
        {"name": "shop", "digest": {"sha256": "e" * 64}},
        {"name": "shop (manifest)", "digest": {"sha256": SNAPSHOT.removeprefix("sha256:")}},
    ]
    assert publication["predicate"] == {
        "step": "publish.x",
        "publications": [
            {
                "artifact": A,
                "location": "https://x/shop.whl#sha256=a",
                "already": False,
                "purl": "pkg:pypi/shop@1",
            },
            {"artifact": SNAPSHOT, "location": "registry/shop@sha256:b", "already": True},
        ],
        **RUN,
    }
    assert release["predicateType"] == "https://in-toto.io/attestation/release/v0.1"
    assert release["subject"] == SUBJECT
    assert release["predicate"] == {"purl": "pkg:pypi/shop@1"}


def test_steps_that_find_nothing_out_leave_no_statement() -> None:
    assert made("publish", []) == []
    assert made("sign", []) == []


def test_an_approval_is_a_statement_that_its_gate_can_read() -> None:
    word = Approval(
        by="ana", why="it is good", environment="live", artifacts=(A,), plan=PLAN, given=1.0, expires=9.0
    )

    statement = evidence.approval(word, [WHEEL], CIRCUMSTANCES)

    assert statement == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": SUBJECT,
        "predicateType": "https://penstock.dev/attestation/approval/v0.1",
        "predicate": {
            "by": "ana",
            "why": "it is good",
            "environment": "live",
            "given": 1.0,
            "expires": 9.0,
            **RUN,
        },
    }
    deploy = step("deploy", environment="live", requires=("approval",), policy="policy.live")
    record = on_record(statement)
    assert gates.admit(deploy, [A], [record], PLAN, 8.0) == []
    assert gates.admit(deploy, [A], [record], PLAN, 9.0) != []


def test_a_deployment_is_a_statement() -> None:
    release = Release(digest=A, artifacts=(WHEEL,), revision=REVISION, run=7, environment="live")

    statement = evidence.deployment(step("deploy", environment="live"), release, ["b", "a"], CIRCUMSTANCES)

    assert statement["predicateType"] == "https://penstock.dev/attestation/deployment/v0.1"
    assert statement["subject"] == SUBJECT
    assert statement["predicate"] == {
        "environment": "live",
        "release": A,
        "targets": ["a", "b"],
        "strategy": "all-at-once",
        "finished": 1_700_000_060.2,
        **RUN,
    }


@pytest.mark.parametrize(
    ("phase", "result", "requirement"),
    [
        ("build", [WHEEL], "provenance"),
        ("test", report("passed"), "test.x"),
        ("scan", scan(), "scan.x"),
        ("verify", Verification(checks=(Check(name="c", passed=True),)), "verify.x"),
    ],
    ids=["build", "test", "scan", "verify"],
)
def test_what_a_passed_step_leaves_opens_the_gate_that_asks_for_it(
    phase: str, result: object, requirement: str
) -> None:
    records = [on_record(statement, step=f"{phase}.x") for statement in made(phase, result)]
    deploy = step("deploy", environment="live", requires=(requirement,), policy="policy.live")

    assert gates.admit(deploy, [A], records, PLAN, 0.0) == []
    assert gates.admit(deploy, [SNAPSHOT], records, PLAN, 0.0) != []


def on_record(statement: dict[str, Any], step: str = "approve.x") -> Evidence:
    raw = evidence.encode(statement)
    digest = "sha256:" + hashlib.sha256(raw).hexdigest()
    reference = Reference(step=step, predicate_type=statement["predicateType"], statement=digest)
    return evidence.check(reference, lambda _: raw, None)[0]


# --- bytes ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=6), st.randoms())
@settings(deadline=None)
def test_the_same_statement_gives_the_same_bytes_whatever_the_order_of_its_keys(
    statement: dict[str, Any], random: Any
) -> None:
    keys = list(statement)
    random.shuffle(keys)
    shuffled = {key: statement[key] for key in keys}

    raw = evidence.encode(statement)

    assert raw == evidence.encode(shuffled)
    assert json.loads(raw) == statement


def test_bytes_are_canonical() -> None:
    statement = {"b": [1, True, None], "a": {"ü": "x y", "a": "\x00"}, "c": 1.0}

    assert evidence.encode(statement) == '{"a":{"a":"\\u0000","ü":"x y"},"b":[1,true,null],"c":1.0}'.encode()


def test_a_name_that_is_no_unicode_can_be_signed() -> None:
    raw = evidence.encode({"name": "caf\udce9"})

    assert raw == b'{"name":"caf\\udce9"}'
    assert json.loads(raw) == {"name": "caf\udce9"}


# --- checking what is on record ---

STATEMENT: dict[str, Any] = {
    "_type": evidence.STATEMENT,
    "subject": SUBJECT,
    "predicateType": gates.PROVENANCE,
    "predicate": {},
}


class Record:
    """A store with one statement and its bundles."""

    def __init__(self, raw: bytes, *, bundles: int = 1, predicate_type: str = gates.PROVENANCE) -> None:
        self.digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        self.files = {self.digest: raw} | {f"bundle{n}": b"{}" for n in range(bundles)}
        self.reference = Reference(
            step="build.a",
            predicate_type=predicate_type,
            statement=self.digest,
            bundles=tuple(f"bundle{n}" for n in range(bundles)),
        )

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise StepRefused(f"{name} can't be read from the store")
        return self.files[name]

    def check(self, verifier: Any) -> tuple[Evidence, list[Signer]]:
        return evidence.check(self.reference, self.read, verifier)


def signed(signature: Signature, raw: bytes) -> Signer:
    return Signer(identity="key:1", public_key="PEM")


def refuse(error: BaseException) -> Any:
    def verifier(signature: Signature, raw: bytes) -> Signer:
        raise error

    return verifier


def test_evidence_that_holds() -> None:
    seen: list[tuple[Signature, bytes]] = []

    def verifier(signature: Signature, raw: bytes) -> Signer:
        seen.append((signature, raw))
        return signed(signature, raw)

    record = Record(evidence.encode(STATEMENT), bundles=2)
    found, signers = record.check(verifier)

    assert found == Evidence(
        step="build.a",
        predicate_type=gates.PROVENANCE,
        digest=record.digest,
        statement=STATEMENT,
        signers=("key:1", "key:1"),
        bundles=("bundle0", "bundle1"),
    )
    assert found.subjects == {A}
    assert [signer.public_key for signer in signers] == ["PEM", "PEM"]
    assert (
        seen
        == [(Signature(bundle="{}", statement=record.digest, signer=""), record.files[record.digest])] * 2
    )


def test_evidence_that_nobody_signed_is_good_but_signed_by_nobody() -> None:
    found, signers = Record(evidence.encode(STATEMENT), bundles=0).check(None)

    assert (found.invalid, found.signers, signers) == (None, (), [])


def other(**changes: Any) -> bytes:
    return evidence.encode({**STATEMENT, **changes})


BAD = {
    "not JSON": (Record(b"{"), signed, "the statement is not JSON: "),
    "not UTF-8": (Record(b'{"a": "\xff"}'), signed, "the statement is not JSON: "),
    "a list": (Record(b"[]"), signed, "it is no in-toto Statement v1"),
    "a statement of an earlier version": (
        Record(other(_type="https://in-toto.io/Statement/v0.1")),
        signed,
        "it is no in-toto Statement v1",
    ),
    "a statement of another type": (
        Record(other(predicateType=gates.SCAN)),
        signed,
        "it is of type https://penstock.dev/attestation/scan/v0.1, on record as https://slsa.dev/provenance/v1",
    ),
    "a statement without a type": (
        Record(other(predicateType=None)),
        signed,
        "it is of type None, on record as https://slsa.dev/provenance/v1",
    ),
    "a nest of lists": (Record(b"[" * 100_000), signed, "RecursionError: "),
    "the verifier refuses": (
        Record(other()),
        refuse(PenstockError("the signature is by an unknown key")),
        "the signature is by an unknown key",
    ),
    "the verifier stumbles": (Record(other()), refuse(KeyError("x")), "KeyError: 'x'"),
    "the verifier ends the process": (Record(other()), refuse(SystemExit(0)), "SystemExit: 0"),
    "the verifier says nothing": (Record(other()), lambda *_: None, "nobody said whose signature it is"),
    "the verifier says yes": (Record(other()), lambda *_: True, "nobody said whose signature it is"),
    "no verifier": (
        Record(other()),
        None,
        "it is signed, but no sign step says whose signatures to trust",
    ),
}


@pytest.mark.parametrize(("record", "verifier", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_evidence_is_invalid_and_nobody_has_signed_it(record: Record, verifier: Any, reason: str) -> None:
    found, _ = record.check(verifier)

    assert found.invalid is not None
    assert found.invalid.startswith(reason)
    assert found.signers == ()


def test_one_bad_signature_among_good_ones_is_enough() -> None:
    def verifier(signature: Signature, raw: bytes) -> Signer:
        if signature.bundle == "bad":
            raise StepRefused("this one is forged")
        return signed(signature, raw)

    record = Record(other(), bundles=3)
    record.files["bundle1"] = b"bad"

    found = record.check(verifier)[0]
    assert (found.invalid, found.signers) == ("this one is forged", ())


@pytest.mark.parametrize("gone", ["statement", "bundle"])
def test_evidence_that_is_gone(gone: str) -> None:
    record = Record(other())
    name = record.digest if gone == "statement" else "bundle0"
    del record.files[name]

    assert record.check(signed)[0].invalid == f"{name} can't be read from the store"


def test_a_bundle_that_is_no_text() -> None:
    record = Record(other())
    record.files["bundle0"] = b"\xff"

    assert str(record.check(signed)[0].invalid).startswith("UnicodeDecodeError: ")


@given(st.integers(min_value=0), st.integers(1, 255))
@settings(deadline=None)
def test_any_byte_that_was_changed_is_found(place: int, by: int) -> None:
    record = Record(other(), bundles=0)
    raw = bytearray(record.files[record.digest])
    raw[place % len(raw)] ^= by
    record.files[record.digest] = bytes(raw)

    assert record.check(None)[0].invalid == "its bytes are not those that were put on record"


@pytest.mark.parametrize(
    "statement",
    [
        {},
        {"subject": None},
        {"subject": "x"},
        {"subject": [3, None, {}, {"digest": None}, {"digest": {"sha512": "x"}}]},
    ],
    ids=repr,
)
def test_a_statement_without_proper_subjects_speaks_of_nothing(statement: dict[str, Any]) -> None:
    found = Evidence(step="x", predicate_type="y", digest=A, statement=statement)

    assert found.subjects == frozenset()
