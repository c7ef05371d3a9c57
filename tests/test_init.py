"""`penstock init` in projects that it has never seen, with all plugins of this repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest

from tests.projects import Done, Project

pytestmark = pytest.mark.real  # Trivy looks at each of them

BACKENDS = {
    "setuptools": ("setuptools>=77", "setuptools.build_meta"),
    "hatchling": ("hatchling", "hatchling.build"),
    "flit": ("flit_core>=3.12", "flit_core.buildapi"),
    "poetry": ("poetry-core>=2", "poetry.core.masonry.api"),
    "pdm": ("pdm-backend", "pdm.backend"),
}
TEST = "def test_it():\n    from app import answer\n    assert answer() == 42\n"
CODE = '"""An app."""\n\n\ndef answer() -> int:\n    return 42\n'


def pyproject(backend: str, more: str = "") -> str:
    requires, build = BACKENDS[backend]
    return (
        f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{build}"\n\n'
        f'[project]\nname = "app"\nversion = "2.3.1"\ndescription = "An app."\n{more}'
    )


SRC = {"src/app/__init__.py": CODE, "tests/test_app.py": TEST}
FLAT = {"app/__init__.py": CODE, "tests/test_app.py": TEST}
GROUP = '\n[dependency-groups]\ntest = ["pytest"]\n'


def looked(project: Project, done: Done) -> list[str]:
    """What init printed, unwrapped, without what this machine and the plugins for Python and pytest put in."""
    lines: list[str] = []
    for line in done.out.splitlines():
        if line.startswith(" " * 9) and not line.lstrip().startswith("! "):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line if line.startswith("  ") and line[2] != " " else line.strip())
    told = "\n".join(lines)
    told = re.sub(r"\b0\.\d+\.\d+( from the extra)?(?=, added)", "TRIVY", told)
    told = told.replace(str(Path(project.env["XDG_DATA_HOME"]) / "penstock" / "keys"), "KEYS")
    return re.sub(r"(?m)^  (python|pytest) +\S.*(\n! .*)*", r"  \1 …", told).splitlines()


def init(project: Project, *arguments: str, **env: str) -> Done:
    cache = project.root.parent / "cache"  # whether this machine has a database is not the question
    return project.run("init", *arguments, env={"XDG_CACHE_HOME": str(cache), **env})


PRIVATE_KEY = (
    "-----BEGIN RSA PRIVATE " + "KEY-----\n" + "MIIEogIBAAKCAQEAx2" * 4 + "\n-----END RSA PRIVATE KEY-----\n"
)
SETUP_EXT = (
    "from setuptools import Extension, setup\n\n"
    "setup(name='app', version='1', packages=['app'], ext_modules=[Extension('app._c', ['app/_c.c'])])\n"
)
PROJECTS: dict[str, dict[str, str]] = {
    **{name: {"pyproject.toml": pyproject(name, GROUP), **SRC} for name in BACKENDS},
    "flat": {"pyproject.toml": pyproject("setuptools", GROUP), **FLAT},
    "single module": {"pyproject.toml": pyproject("flit", GROUP), "app.py": CODE, "test_app.py": TEST},
    "C extension": {"setup.py": SETUP_EXT, "app/_c.c": "", **FLAT},
    "extra": {
        "pyproject.toml": pyproject("hatchling", '\n[project.optional-dependencies]\ntest = ["pytest"]\n'),
        **SRC,
    },
    "requirements file": {
        "pyproject.toml": pyproject("hatchling"),
        "requirements-test.txt": "pytest\n",
        **SRC,
    },
    "tox": {"pyproject.toml": pyproject("hatchling"), "tox.ini": "[testenv]\ndeps = pytest\n", **SRC},
    "unittest": {
        "pyproject.toml": pyproject("setuptools"),
        "app.py": CODE,
        "tests/__init__.py": "",
        "tests/test_app.py": "import unittest\n\nclass T(unittest.TestCase):\n    def test(self): pass\n",
    },
    "no tests": {"pyproject.toml": pyproject("hatchling"), "src/app/__init__.py": CODE},
    "tools": {
        "pyproject.toml": pyproject("hatchling", GROUP + "\n[tool.mypy]\nstrict = true\n"),
        ".pre-commit-config.yaml": "repos: []\n",
        "Dockerfile": "FROM nowhere.example/none\n",
        **SRC,
    },
    "keys": {
        "pyproject.toml": pyproject("hatchling", GROUP),
        "tests/data/server.pem": PRIVATE_KEY,
        "src/app/server.pem": PRIVATE_KEY,
        **SRC,
    },
}
MORE = {
    "tools": [
        "  mypy        configured",
        "! not added: it needs what the project imports beside it. Then: penstock init --add test.types "
        "--uses shell",
        "  pre-commit  configured",
        "! not added: it fetches its hooks and wants a git repository, which a step is not given; it runs "
        "where you commit",
        "  docker      Dockerfile",
        "! not added: the Docker engine at unix:///none.sock can't be reached: there is no such socket. Start "
        "it (systemctl start docker), or say where it is: DOCKER_HOST. Then: penstock init --add build.image "
        "--uses docker",
    ],
    "keys": [
        "! let pass by `ignore`, as tests and examples have them: tests/data/server.pem. Look at each of them",
        "! src/app/server.pem:2: private-key (high) closes the gate of scan.all. If it is a real one, "
        "replace it and take it out; if not, name it under `ignore`",
    ],
}


@pytest.mark.parametrize("name", PROJECTS)
def test_the_whole_output_and_a_file_that_is_right(project: Project, name: str) -> None:
    project.commit(PROJECTS[name])
    project.env["DOCKER_HOST"] = "unix:///none.sock"

    done = init(project)

    assert (done.code, done.err) == (0, "")
    wide = 10 if name == "tools" else 8
    tested = name != "no tests"
    steps = ["build.wheel", *(["test.pytest"] if tested else []), "scan.all", "sign.release"]
    tools, keys = (MORE[name] if name == case else [] for case in ("tools", "keys"))
    assert looked(project, done) == [
        "Looked at .",
        f"  {'git':<{wide}}  {len(PROJECTS[name])} files committed, which a run takes; --dirty takes the rest too",
        "  python …",
        *tools,
        "  pytest …",
        f"  {'trivy':<{wide}}  TRIVY, added to look for secrets; no vulnerability database yet "
        '("vulnerability" under `scanners` fetches it)',
        *keys,
        f"  {'sigstore':<{wide}}  no key yet: the first run makes one in KEYS (0600, unencrypted; "
        "`penstock keys encrypt` adds a passphrase)",
        f"Wrote penstock.toml: {', '.join(steps)}.",
        "No deploy step yet: `penstock init --add deploy.staging` adds one.",
        "Now: penstock run",
    ]
    project.passes("validate")
    written = tomllib.loads((project.root / "penstock.toml").read_text())
    jsonschema.validate(written, json.loads((project.root / ".penstock" / "schema.json").read_text()))


FILE = """\
#:schema ./.penstock/schema.json
# What becomes of a change, from its source to where it runs. A section is a step; steps wait for those of
# the phase before. A key behind a # shows its default: take the # away to set another.
#
#   penstock validate             is this file right?
#   penstock plan                 the steps in their order, and why each waits
#   penstock plugins info NAME    all that a section may say

[penstock]
requires = ">=0.1"
plugins = ["git", "python", "trivy", "sigstore"]

# Builds …
[build.wheel]
uses = "python"
…

# Scans the source and what was built from it, images too, with Trivy; a bad finding closes the gate.
[scan.all]
uses = "trivy"
scanners = ["secret"]  # Looks for these kinds of finding
# targets = "all"  # Looks into the revision's files (source), into what was built (artifacts), or both (all)
# block = "high"  # Closes the gate at findings of this severity and above; "none" never closes it
# unknown_counts_as = "medium"  # Gives this severity to findings of which Trivy doesn't know one
# ignore = []  # Lets these findings pass, each with a reason; they stay in the report
# And: fixed_only, license_allowed, system_licenses, license_forbidden, skip, sbom, database,
#   database_repository, database_directory, max_database_age, path, sha256

# Signs all evidence with a key of yours; checks it against that key and those that you trust.
[sign.release]
uses = "sigstore"
# passphrase_secret = "PENSTOCK_KEY_PASSPHRASE"  # Opens an encrypted key with this secret
# trusted = []  # Accepts signatures by these keys too: public keys in PEM form
# And: key
"""


def test_the_file_explains_itself_in_the_words_of_the_settings(project: Project) -> None:
    project.commit(PROJECTS["no tests"])
    assert init(project).code == 0
    text = (project.root / "penstock.toml").read_text()
    told = re.sub(r"(?s)# Builds [^\n]*\n\[build", "# Builds …\n[build", text)  # the plugin's own to say
    assert re.sub(r'(?s)(uses = "python"\n).*?\n\n', "\\1…\n\n", told) == FILE


def test_each_key_behind_a_comment_sign_is_right_as_it_stands(project: Project) -> None:
    project.commit(PROJECTS["setuptools"])
    assert init(project).code == 0
    file = project.root / "penstock.toml"
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", file.read_text())
    assert text.count("\n") == file.read_text().count("\n")
    assert len(tomllib.loads(text)["test"]["pytest"]) > 2
    file.write_text(text)
    project.passes("validate")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hatchling", "unittest", "C extension"])
def test_init_and_then_run_with_nothing_between(project: Project, name: str) -> None:
    project.commit(PROJECTS[name])
    assert init(project).code == 0
    done = project.passes("run")
    assert "✓ build.wheel" in done.out
    assert "✓ test.pytest" in done.out
    assert "✓ sign.release" in done.out


@pytest.mark.parametrize(
    ("status", "said", "step"),
    [
        (0, ["configured, finds nothing today; added as test.style"], True),
        (1, ["configured", "! not added: it finds 2 things today (ruff check .). Then: penstock init --add "
             "test.style --uses shell"], False),
        (2, ["configured", "! not added: it ended with 2: ruff failed. Then: penstock init --add test.style "
             "--uses shell"], False),
    ],
    ids=["finds nothing", "finds something", "fails"],
)  # fmt: skip
def test_a_linter_is_added_only_where_it_passes_today(
    project: Project, status: int, said: list[str], step: bool
) -> None:
    project.commit({**PROJECTS["hatchling"], "ruff.toml": ""})
    bin_ = project.root.parent / "bin"
    bin_.mkdir()
    (bin_ / "ruff").write_text(f"#!/bin/sh\necho one; echo two\necho 'ruff failed' >&2\nexit {status}\n")
    (bin_ / "ruff").chmod(0o755)
    done = init(project, PATH=f"{bin_}{os.pathsep}{os.environ['PATH']}")
    lines = looked(project, done)
    at = lines.index(f"  ruff      {said[0]}")
    assert lines[at : at + len(said)] == [f"  ruff      {said[0]}", *said[1:]]
    assert ("[test.style]" in (project.root / "penstock.toml").read_text()) == step


# --- what has to be done first ---


def test_without_a_repository_init_says_how_to_begin_one(project: Project) -> None:
    subprocess.run(["rm", "-rf", project.root / ".git"], check=True)
    project.write(PROJECTS["no tests"])
    lines = looked(project, init(project))
    assert lines[1] == "  git       no repository, and a run takes what is committed"
    assert lines[-1] == 'Now: git init && git add --all && git commit -m "Begin" && penstock run'


def test_what_git_does_not_know_is_said(project: Project) -> None:
    project.commit(PROJECTS["no tests"])
    project.write(dict.fromkeys(("a.txt", "b/c.txt", "d.txt", "e.txt"), ""))
    lines = looked(project, init(project))
    assert lines[2] == "! not in git, and so not in a run: a.txt, b/c.txt, d.txt and 1 more"


def test_a_repository_without_a_commit_needs_one_first(project: Project) -> None:
    project.write(PROJECTS["no tests"])
    lines = looked(project, init(project))
    assert lines[1] == "  git       nothing is committed yet, and a run takes what is committed"
    assert lines[-1] == 'Now: git add --all && git commit -m "Begin" && penstock run'


def test_a_key_with_a_passphrase_becomes_a_secret_of_the_section(project: Project) -> None:
    project.commit(PROJECTS["no tests"])
    (project.root / "penstock.toml").write_text('[penstock]\nplugins = ["git", "sigstore"]\n')
    phrase = project.root.parent / "phrase"
    phrase.write_text("open sesame\n")
    project.passes("keys", "new", "--passphrase-file", str(phrase))
    (project.root / "penstock.toml").unlink()
    lines = looked(project, init(project))
    assert "! a run needs its passphrase in the variable PENSTOCK_KEY_PASSPHRASE" in lines
    written = tomllib.loads((project.root / "penstock.toml").read_text())
    assert written["sign"]["release"]["secrets"] == {"PENSTOCK_KEY_PASSPHRASE": "env:PENSTOCK_KEY_PASSPHRASE"}


# --- what is left alone ---


def test_nothing_is_written_where_nothing_is_understood(project: Project) -> None:
    project.commit({"README": "", "Dockerfile": "FROM scratch\n"})
    done = init(project)
    assert done.code == 2
    assert "  docker    Dockerfile\n" in done.out
    assert "is understood as something to build or to test (git, " in done.err
    assert "nothing was written" in done.err
    assert not (project.root / "penstock.toml").exists()
    assert not (project.root / ".penstock").exists()


def test_init_says_what_it_could_not_tell(project: Project) -> None:
    project.write({"pyproject.toml": "[project\n"})
    done = init(project)
    assert done.code == 2
    assert "! pyproject.toml" in done.out
    assert not (project.root / "penstock.toml").exists()


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("penstock.toml", "# mine\n", "penstock.toml"),
        ("pyproject.toml", '[tool.penstock]\nplugins = ["git"]\n', "[tool.penstock] in pyproject.toml"),
    ],
)
def test_a_configuration_of_others_is_left_alone(project: Project, name: str, text: str, what: str) -> None:
    project.write({**PROJECTS["hatchling"], name: text})
    done = init(project)
    assert done.code == 2
    assert done.err == (
        f"penstock: {what} is there already; it is left as it is. Check it: penstock validate\n"
    )
    assert (project.root / name).read_text() == text
    assert sorted(path.name for path in project.root.iterdir()) == sorted(
        {".git", "src", "tests", "pyproject.toml", name}
    )


def test_a_link_that_leads_nowhere_is_left_alone(project: Project) -> None:
    project.commit(PROJECTS["no tests"])
    (project.root / "penstock.toml").symlink_to("nowhere")
    done = init(project)
    assert done.code == 2
    assert "penstock.toml is there already" in done.err
    assert os.readlink(project.root / "penstock.toml") == "nowhere"
    assert not list(project.root.glob(".penstock-new-*"))


def test_the_schema_follows_the_plugins(project: Project) -> None:
    project.commit(PROJECTS["no tests"])
    assert init(project).code == 0
    schema, file = project.root / ".penstock" / "schema.json", project.root / "penstock.toml"
    assert "deploy" not in json.loads(schema.read_text())["properties"]
    file.write_text(file.read_text().replace('"git"', '"git", "local"'))
    project.passes("validate")
    assert "deploy" in json.loads(schema.read_text())["properties"]
    schema.unlink()
    project.passes("schema", "--write")
    assert json.loads(schema.read_text()) == json.loads(project.passes("schema").out)
