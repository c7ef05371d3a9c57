"""A secret that a step is handed shows up nowhere, however and wherever the step lets it out.

What is let out is made here, without the code that masks it: encodings as the programs have them that write so.
"""

from __future__ import annotations

import base64
import html
import itertools
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.executor import Done
from penstock.plugins import Plugins
from penstock.request import Response

from core.tests.lab import ONE_FILE, Lab, heard

PEM = "-----BEGIN KEY-----\n" + "\n".join(f"{n}kLm9+/Qz" * 7 for n in range(3)) + "\n-----END KEY-----\n"
SAMPLES = (
    *("correct-horse-battery", "a/b c+d=e?f&g", "pa$$w.rd*(x|y)[z]^\\n", 'it\'s "quoted" <b>&amp;</b>', PEM),
    *("0f1e2d3c4b5a69788796a5b4c3d2e1f001234567", "ünïcödé-🔑-ключ", "tab\tand\\back", "two lines\r\nof it"),
    *("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "-e --flag", "p%40ss%2Fword", "%s{}$(id)`id`"),
)
SHORTEST = 6
_PLACES = 60
secrets = st.one_of(
    st.sampled_from(SAMPLES),
    st.text(st.characters(codec="utf-8", exclude_characters="*\0"), min_size=SHORTEST, max_size=24),
    st.text("abc/+'\"\\&<%\n \t=-_é", min_size=SHORTEST, max_size=40),
)


def usable(value: str) -> bool:
    """Whether it is more than what any text may hold by chance."""
    return len(set(value.strip())) > 3 and any(len(line.encode()) >= SHORTEST for line in value.splitlines())


def shown(value: str) -> Iterator[tuple[str, str]]:
    """Texts that hold the secret, each with the part of it that gives the secret away."""
    raw = value.encode()
    lower = re.sub("%..", lambda match: match[0].lower(), quote(value, safe=""))
    for form in (
        *(value, quote(value, safe=""), quote(value), quote(value, safe="!'()*"), quote_plus(value), lower),
        *(json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], raw.hex(), raw.hex().upper()),
        *(repr(value)[1:-1], repr(raw)[2:-1], shlex.quote(value), value.replace("'", "'\\''")),
        *(html.escape(value), html.escape(value, quote=False), quoteattr(value)[1:-1]),
    ):
        yield f"it is {form}, so", form
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        alone = encode(raw).decode()
        yield f"token {alone}", alone.rstrip("=")
        yield f"token {alone.rstrip('=')}.", alone.rstrip("=")
        for before, after in itertools.product((b"", b"u", b"u:", b"us:"), (b"", b"!", b"!!", b"@host")):
            text = encode(before + raw + after).decode()
            yield f"Basic {text}", inner(text, len(before), len(raw))
    for width, ending in ((76, "\n"), (64, "\r\n"), (19, "\n")):
        text = base64.b64encode(b"user:" + raw + b"@").decode()
        lines = ending.join(text[at : at + width] for at in range(0, len(text), width))
        yield f"{lines}{ending}", inner(text, 5, len(raw))


def inner(text: str, start: int, length: int) -> str:
    """The characters of a base64 text that are made of the secret alone."""
    return text[-(-start * 8 // 6) : (start + length) * 8 // 6]


def leaks(values: list[str], *places: bytes) -> list[str]:
    """What of these secrets can be read in what was left behind."""
    squeezed = [place.translate(None, b"\r\n") for place in places]
    needles = {needle.encode() for value in values for _, needle in shown(value)}
    return [needle.decode() for needle in needles if any(needle in place for place in (*places, *squeezed))]


# --- what a step does with it ---

CHILD = """
import json, os, sys
for stream, data in json.load(open(sys.argv[1])):
    os.write(stream, bytes.fromhex(data))
"""
FAKE = """
import json

@hookimpl
def penstock_test(settings: Settings, step):
    told = json.loads((step.project / "told.json").read_text())
    child = [sys.executable, "-ISc", (step.project / "child.py").read_text(), str(step.project / "writes.json")]
    step.run(child)
    step.run(child, capture=True)
    texts = told["texts"]
    for text in texts:
        step.log(text)
        print(text)
        print(text, file=sys.stderr)
        step.progress(1, 2, text)
    if told["ends"] in ("StepFailed", "StepRefused", "PluginError"):
        raise getattr(__import__("penstock"), told["ends"])("x" * told["pad"] + "".join(texts))
    if told["ends"] == "ValueError":
        raise ValueError("x" * told["pad"] + "".join(texts))
    if told["ends"] == "exit":
        sys.exit("".join(texts))
    outcomes = ("passed", "failed", "skipped") if told["ends"] == "failed" else ("passed",)
    cases = [
        TestCase(
            name=f"{n}[{text}]", outcome=outcomes[n % len(outcomes)],
            message=text, output=text, file=text, flaky=text,
        )
        for n, text in enumerate(texts)
    ]
    return TestReport(tool="told " + texts[0], cases=tuple(cases), advice=texts[0], cut_short=texts[0])
"""
ENDS = {"passed": "passed", "failed": "failed", "StepFailed": "failed", "StepRefused": "refused"}
ENDS |= dict.fromkeys(("PluginError", "ValueError", "exit"), "error")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    return Lab.make(tmp_path_factory.mktemp("plugin")).load(fake=FAKE)


def tell(lab: Lab, values: list[str], ends: str = "passed", pad: int = 0) -> dict[str, str]:
    """Prepare a step that lets out these secrets in every way; the variables that it gets them from."""
    texts = [text for value in values for text, _ in shown(value)]
    writes = []
    for number, text in enumerate(texts):
        raw = text.encode()
        # Each at every place, but for those that are very long: there the places differ from one to the next.
        step = 1 + len(raw) // _PLACES
        for cut in range(number % step, len(raw) + 1, step):
            # Both halves on one stream, or one on each.
            first, second = ((1, 1), (1, 2), (2, 1), (2, 2))[cut // step % 4]
            writes += [(first, raw[:cut].hex()), (second, (raw[cut:] + b"\n").hex())]
    # One byte at a time, too.
    writes += [(1 + at % 2, bytes([byte]).hex()) for at, byte in enumerate(values[0].encode())]
    (lab.root / "child.py").write_text(CHILD)
    (lab.root / "writes.json").write_text(json.dumps(writes))
    (lab.root / "told.json").write_text(json.dumps({"texts": texts, "ends": ends, "pad": pad}))
    return {f"SECRET_{number}": value for number, value in enumerate(values)}


def let_out(lab: Lab, plugins: Plugins, variables: dict[str, str]) -> tuple[Response, bytes]:
    """The step's answer, and what it told of its progress."""
    os.environ.update(variables)
    told: list[str] = []
    try:
        pool = lab.pool(plugins)
        pool.submit("ask", lab.request(secrets={name: f"env:{name}" for name in variables}))
        for news in heard(pool, within=120):
            if isinstance(news, Done):
                return news.response, "\n".join(told).encode()
            told.append(news.what)
    finally:
        lab.close()
        for name in variables:
            del os.environ[name]
    raise AssertionError("no answer")


def on_disk(lab: Lab) -> bytes:
    """All that a run leaves in `.penstock/`, names of files included."""
    files = [path for path in sorted(lab.home.root.rglob("*")) if path.is_file()]
    return b"\n\n".join(os.fsencode(path) + b"\n" + path.read_bytes() for path in files)


@given(
    values=st.lists(secrets.filter(usable), min_size=1, max_size=2, unique=True),
    ends=st.sampled_from(sorted(ENDS)),
    pad=st.sampled_from([0, 3980, 3995, 4000]),
)
@settings(max_examples=12, deadline=None, print_blob=True)
def test_a_secret_shows_in_no_log_answer_report_or_evidence(
    fake: Plugins, values: list[str], ends: str, pad: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        lab = Lab.make(Path(place))
        variables = tell(lab, values, ends, pad)

        response, progress = let_out(lab, fake, variables)

        answer = json.dumps(response.model_dump(mode="json"), ensure_ascii=False).encode()
        log = lab.home.log(1, "test.unit", 1).read_bytes()
        assert response.outcome == ENDS[ends]
        assert log.count(b"***") > 100
        assert leaks(values, log, answer, progress, on_disk(lab)) == []


# --- a whole run ---

PIPELINE = """
import json

@hookimpl
def penstock_source(settings: Settings, step):
    (step.workspace / "a.txt").write_text("source")
    return Revision(subject="s", author="a")

def told(step):
    return json.loads((step.project / "told.json").read_text())["texts"]

@hookimpl
def penstock_build(settings: Settings, step):
    return [step.keep(step.workspace / "a.txt", "file", name=f"{n}-{text}") for n, text in enumerate(told(step))]

@hookimpl
def penstock_test(settings: Settings, step):
    texts = told(step)
    once = step.project / "once"
    if not once.exists():
        once.touch()
        outcome = "failed"
    else:
        outcome = "passed"
    cases = (
        TestCase(name=text, outcome=outcome if n else "passed", message=text, output=text)
        for n, text in enumerate(dict.fromkeys(texts))
    )
    return TestReport(tool=texts[0], cases=tuple(cases), advice=texts[1])

@hookimpl
def penstock_scan(settings: Settings, step):
    texts = told(step)
    findings = tuple(
        Finding(id=f"{n}{text}", kind="secret", severity="low", title=text, location=text, package=text, ignored=why)
        for n, text in enumerate(texts) for why in (None, text)
    )
    return ScanReport(
        scanner=texts[0], findings=findings, looked_for=("secret",), not_looked_for={t: t for t in texts}
    )

class Place(Target):
    def observe(self, step): return TargetState(data={"n": 1})
    def apply(self, release, step): print("".join(told(step)))
    def probe(self, step): return Health(status="unhealthy", detail="".join(told(step)))
    def restore(self, state, step): step.log("".join(told(step)))

@hookimpl
def penstock_targets(settings: Settings, step):
    return [Place(id="here")]

@hookimpl
def penstock_tools(settings: Settings):
    return [Tool(name="t", version="1", path="/t")]
"""
WATCHER = """
@hookimpl
def penstock_event(event):
    with open("observed", "a") as file:
        file.write(event.model_dump_json() + "\\n")
"""


def test_a_secret_shows_in_nothing_that_a_run_leaves_or_says(lab: Lab) -> None:
    values = [
        "correct-horse'battery",
        "a/b c+d=e?f&g\n<second line>",
        "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567",
    ]
    variables = tell(lab, values)
    lab.plugin("leaky", PIPELINE)
    lab.plugin("watcher", WATCHER)
    named = ", ".join(f'{name} = "env:{name}"' for name in variables)
    steps = {
        "build.x": "",
        "test.x": "retries = 1",
        "scan.x": "",
        "deploy.x": "rollout = { healthy_within = 0.3 }",
    }
    sections = (
        f'[{name}]\nuses = "leaky"\nsecrets = {{ {named} }}\n{more}\n' for name, more in steps.items()
    )
    lab.toml("\n".join(sections), ("leaky", "watcher"))

    code, events = lab.run("run", "--json", within=120, **variables)

    assert code == 1, events
    assert lab.states() == {
        **dict.fromkeys(("source", "build.x", "test.x", "scan.x"), "passed"),
        "deploy.x": "failed",
    }
    commands = (
        *("show", "show --json", "logs", "flaky --json"),
        "report --junit j.xml --sarif s.sarif",
    )
    said = [events, *(lab.run(*command.split())[1] for command in commands)]
    files = (lab.root / name for name in ("observed", "j.xml", "s.sarif"))
    places = [*(text.encode() for text in said), *(path.read_bytes() for path in files)]
    assert all(b"***" in place for place in (places[0], places[-1], places[-2], places[-3]))
    assert leaks(values, *places, on_disk(lab)) == []
    kinds = {event.type for event in lab.events()}
    assert kinds >= {"step.retried", "tests.flaky", "rollout.ended", "rollout.began"}


PLAIN = (
    ONE_FILE
    + """
@hookimpl
def penstock_test(settings: Settings, step):
    print("log in as", *(step.secret(name) for name in sorted(step._secrets)))
    return TestReport(tool="t 1", cases=(TestCase(name="a test of file", outcome="passed"),))

class Place(Target):
    def observe(self, step): return TargetState()
    def apply(self, release, step): pass
    def probe(self, step): return Health(status="healthy")
    def restore(self, state, step): pass

@hookimpl
def penstock_targets(settings: Settings, step):
    return [Place(id="live")]
"""
)


def test_a_secret_that_is_an_everyday_word_makes_no_record_useless(lab: Lab) -> None:
    """As passwords of databases for tests are."""
    words = {"A": "test", "B": "passed", "C": "live", "D": "file", "E": "https", "F": "attestation"}
    lab.plugin("plain", PLAIN)
    named = ", ".join(f'{name} = "env:WORD_{name}"' for name in words)
    steps = ("build.file", "test.file", "deploy.live")
    lab.toml("".join(f'[{name}]\nuses = "plain"\nsecrets = {{ {named} }}\n' for name in steps), ("plain",))

    code, said = lab.run("run", **{f"WORD_{name}": word for name, word in words.items()})

    assert code == 0, said
    assert lab.states() == dict.fromkeys(("source", *steps), "passed")
    assert lab.log("test.file") == "log in as *** *** *** *** *** ***\n"
    report = next(e.data["report"] for e in lab.events() if e.data.get("report"))
    (case,) = json.loads(lab.home.store.read(report))["cases"]
    assert case == {"name": "a *** of ***", "outcome": "passed"}
