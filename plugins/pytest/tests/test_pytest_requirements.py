from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from penstock import ConfigError
from penstock_pytest import backends, files, known
from penstock_pytest.known import Need
from penstock_pytest.requirements import Choice, Project
from penstock_pytest.wheels import Wheel

GROUP = '[dependency-groups]\ntest = ["pytest>=8"]\n'
TOX = "[testenv]\ndeps =\n    pytest\n    cov: pytest-cov\n    {env:MORE}\n    -r more.txt\n"


def write(root: Path, tree: dict[str, str]) -> Path:
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def wheel(*extras: str, requires: tuple[str, ...] = ()) -> Wheel:
    return Wheel(
        path=Path("shop-1-py3-none-any.whl"), name="shop", version="1", extras=extras, requires=requires
    )


@pytest.mark.parametrize(
    ("tree", "extras", "origin", "lines", "chosen"),
    [
        pytest.param({}, (), "nothing says what the tests need", (), (), id="nothing"),
        pytest.param(
            {"pyproject.toml": GROUP},
            (),
            'dependency group "test" of pyproject.toml',
            ("pytest>=8",),
            (),
            id="group",
        ),
        pytest.param(
            {"pyproject.toml": '[dependency-groups]\nbase=["a"]\nTests=[{include-group="base"}, "b"]\n'},
            (),
            'dependency group "tests" of pyproject.toml',
            ("a", "b"),
            (),
            id="group that includes",
        ),
        pytest.param(
            {}, ("dev", "testing"), 'extra "testing"', (), ("testing",), id="extra, test before dev"
        ),
        pytest.param(
            {"pyproject.toml": GROUP},
            ("test",),
            'dependency group "test" of pyproject.toml',
            ("pytest>=8",),
            (),
            id="group before extra",
        ),
        pytest.param(
            {"pyproject.toml": '[dependency-groups]\ndev = ["ruff"]\n'},
            ("test",),
            'extra "test"',
            (),
            ("test",),
            id="test extra before dev group",
        ),
        pytest.param(
            {"pyproject.toml": '[dependency-groups]\ntest = []\ndev = ["x"]\n'},
            (),
            'dependency group "dev" of pyproject.toml',
            ("x",),
            (),
            id="empty",
        ),
        pytest.param(
            {"pyproject.toml": '[dependency-groups]\ntest = ["shop[fast]", "pytest"]\n'},
            ("fast",),
            'dependency group "test" of pyproject.toml',
            ("pytest",),
            ("fast",),
            id="names itself",
        ),
        pytest.param(
            {"tox.ini": TOX, "more.txt": "six # why\n-e .[fast]\n"},
            ("fast",),
            "[testenv] of tox.ini",
            ("pytest", "six"),
            ("fast",),
            id="tox",
        ),
        pytest.param(
            {"tox.ini": "[testenv]\nextras = fast\n"},
            ("fast",),
            "[testenv] of tox.ini",
            (),
            ("fast",),
            id="tox extras",
        ),
        pytest.param(
            {"tox.toml": '[env_run_base]\ndeps = ["pytest", "-r more.txt"]\n', "more.txt": "six"},
            (),
            "env_run_base of tox.toml",
            ("pytest", "six"),
            (),
            id="tox.toml",
        ),
        pytest.param(
            {"requirements/tests.txt": "a\n-r base.txt\n", "requirements/base.txt": "b"},
            (),
            "requirements/tests.txt",
            ("a", "b"),
            (),
            id="requirements/",
        ),
        pytest.param(
            {"requirements-dev.txt": "a", "test-requirements.txt": "b"},
            (),
            "test-requirements.txt",
            ("b",),
            (),
            id="files, test before dev",
        ),
        pytest.param({"dev-requirements.txt": "a"}, (), "dev-requirements.txt", ("a",), (), id="dev file"),
        pytest.param({"tests/requirements.txt": "a"}, (), "tests/requirements.txt", ("a",), (), id="tests/"),
        pytest.param(
            {"pyproject.toml": '[tool.pdm.dev-dependencies]\ntest = ["a>1"]\n'},
            (),
            "[tool.pdm.dev-dependencies.test]",
            ("a>1",),
            (),
            id="pdm",
        ),
        pytest.param(
            {"pyproject.toml": '[tool.poetry.group.test.dependencies]\npython = "^3.9"\nA = "^1.2"\n'},
            (),
            "[tool.poetry.group.test.dependencies]",
            ("A>=1.2,<2",),
            (),
            id="poetry",
        ),
        pytest.param(
            {"pyproject.toml": '[tool.hatch.envs.test]\ndependencies = ["a"]\nfeatures = ["fast"]\n'},
            ("fast",),
            "[tool.hatch.envs.test]",
            ("a",),
            ("fast",),
            id="hatch",
        ),
        pytest.param(
            {"pyproject.toml": '[tool.uv]\ndev-dependencies = ["a"]\n'},
            (),
            "[tool.uv.dev-dependencies]",
            ("a",),
            (),
            id="uv",
        ),
        pytest.param(
            {"pyproject.toml": '[dependency-groups]\nlint = ["ruff"]\nchecks = ["pytest", "x"]\n'},
            (),
            'dependency group "checks" of pyproject.toml',
            ("pytest", "x"),
            (),
            id="a group that names pytest",
        ),
    ],
)
def test_what_is_found(
    tmp_path: Path,
    tree: dict[str, str],
    extras: tuple[str, ...],
    origin: str,
    lines: tuple[str, ...],
    chosen: tuple[str, ...],
) -> None:
    wanted = Project(write(tmp_path, tree), [wheel(*extras)]).wanted(Choice())
    assert (wanted.origin, wanted.lines, wanted.extras) == (origin, lines, chosen)


POETRY = '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = "^3.11"\nflask = "^3"\n'


@pytest.mark.parametrize(
    ("tree", "origin", "lines"),
    [
        pytest.param({"requirements.txt": "flask\n"}, "requirements.txt", ("flask",), id="file"),
        pytest.param(
            {"requirements.txt": "flask\n", "requirements-dev.txt": "-r requirements.txt\npytest\n"},
            "requirements-dev.txt, and requirements.txt",
            ("flask", "pytest"),
            id="beside the tests' own",
        ),
        pytest.param(
            {"requirements/base.txt": "flask\n", "requirements/test.txt": "pytest\n"},
            "requirements/test.txt, and requirements/base.txt",
            ("flask", "pytest"),
            id="in a directory",
        ),
        pytest.param(
            {"requirements.txt": "flask==3.0 \\\n  --hash=sha256:abc \\\n  --hash sha256:def\n"},
            "requirements.txt",
            ("flask==3.0",),
            id="hashes",
        ),
        pytest.param(
            {"pyproject.toml": POETRY}, "[tool.poetry.dependencies]", ("flask>=3,<4",), id="Poetry's table"
        ),
        pytest.param(
            {"pyproject.toml": '[project]\ndependencies = ["flask"]\n', "requirements.txt": "click\n"},
            "nothing says what the tests need",
            ("flask",),
            id="the standard's own table",
        ),
        pytest.param(
            {"setup.py": "", "requirements.txt": "click\n"},
            "nothing says what the tests need",
            (),
            id="a package, that says it itself",
        ),
    ],
)
def test_what_an_application_needs_is_needed_by_its_tests(
    tmp_path: Path, tree: dict[str, str], origin: str, lines: tuple[str, ...]
) -> None:
    wanted = Project(write(tmp_path, tree)).wanted(Choice())

    assert (wanted.origin, wanted.lines) == (origin, lines)


def test_files_that_the_section_names_are_all_that_is_installed(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "flask\n", "t.txt": "pytest\n"})

    assert Project(tmp_path).wanted(Choice(requirements_files=("t.txt",))).lines == ("pytest",)


def test_an_extra_of_any_name_that_names_pytest_is_found(tmp_path: Path) -> None:
    built = wheel("all", "docs", requires=('pytest>=8; extra == "all"', 'sphinx; extra == "docs"'))
    assert Project(tmp_path, [built]).wanted(Choice()).extras == ("all",)


def test_without_a_wheel_dependencies_are_written_out(tmp_path: Path) -> None:
    text = (
        '[project]\nname = "Shop"\ndependencies = ["a"]\n[project.optional-dependencies]\n'
        'test = ["b", "shop[fast]"]\nfast = ["c"]\n'
    )
    wanted = Project(write(tmp_path, {"pyproject.toml": text})).wanted(Choice())
    assert (set(wanted.lines), wanted.extras) == ({"a", "b", "c"}, ("fast",))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        pytest.param(Choice(groups=("tst",)), 'no dependency group "tst"; it has: test', id="group"),
        pytest.param(
            Choice(extras=("x",)),
            '`extras` names "x", which the project does not define; it has: fast',
            id="extra",
        ),
        pytest.param(
            Choice(requirements_files=("no.txt",)), '`requirements_files` names "no.txt"', id="file"
        ),
    ],
)
def test_what_is_named_must_be_there(tmp_path: Path, choice: Choice, message: str) -> None:
    project = Project(write(tmp_path, {"pyproject.toml": GROUP}), [wheel("fast")])
    with pytest.raises(ConfigError) as caught:
        project.wanted(choice)
    assert message in str(caught.value)


def test_what_is_named_is_all_that_is_taken(tmp_path: Path) -> None:
    project = Project(write(tmp_path, {"pyproject.toml": GROUP, "r.txt": "a"}), [wheel("fast")])
    wanted = project.wanted(Choice(extras=("fast",), requirements_files=("r.txt",)))
    assert (wanted.lines, wanted.extras, wanted.origin) == (("a",), ("fast",), 'extra "fast", r.txt')
    assert project.wanted(Choice(groups=())).lines == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "[dependency-groups]\ntest = [{include-group='test'}]\n", "include each other", id="cycle"
        ),
        pytest.param("[dependency-groups]\ntest = [{path='x'}]\n", "neither a requirement", id="entry"),
        pytest.param(
            "[dependency-groups]\ntest = ['not a requirement!']\n", "is not a requirement", id="line"
        ),
        pytest.param("[dependency-groups\n", "can't be read", id="toml"),
    ],
)
def test_a_bad_pyproject_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Project(write(tmp_path, {"pyproject.toml": text}), [wheel()]).wanted(Choice())


def test_a_requirements_file_is_made_flat(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "r/test.txt": "# hello\na==1 \\\n    --hash=sha256:00\n-c limits.txt\n"
            "-r ../r/other.txt\n-e ./elsewhere\n.\n",
            "r/limits.txt": "b<2\n",
            "r/other.txt": "c # because\n-r test.txt\nd @ file:///x\n",
        },
    )
    flat = files.flatten(tmp_path, ["-r r/test.txt"])
    assert flat.lines == ("a==1", "c")
    assert flat.constraints == ("b<2",)
    assert flat.left_out == ("d @ file:///x", "-e ./elsewhere")


def test_a_requirements_file_outside_the_revision_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("a")
    with pytest.raises(ConfigError, match="no such file in the revision"):
        files.flatten(write(tmp_path / "p", {"r.txt": "-r ../secret.txt"}), ["-r r.txt"])


@pytest.mark.parametrize(
    ("poetry", "pep440"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.2", "~=1.2"),
        ("*", ""),
        ("1.2", "==1.2"),
        ("1.*", "==1.*"),
        (">=1, <2", ">=1,<2"),
        (">=1 <2", ">=1,<2"),
        ("^1 || ^2", ">=2,<3"),
        ("^1.0b1", ">=1.0b1,<2"),
    ],
)
def test_poetry_constraints(poetry: str, pep440: str) -> None:
    assert backends.constraint(poetry) == pep440


@given(
    st.sampled_from(["^", "~", ">=", "==", "", "<"]),
    st.lists(st.integers(0, 999), min_size=1, max_size=4),
)
def test_every_poetry_constraint_becomes_a_specifier_that_its_own_version_meets(
    sign: str, release: list[int]
) -> None:
    version = ".".join(map(str, release))
    specifiers = SpecifierSet(backends.constraint(sign + version))
    assert specifiers.contains(version) == (sign != "<")


def test_poetry_tables() -> None:
    table = {
        "python": "^3.9",
        "a": {"version": "^1", "extras": ["x", "y"], "markers": "os_name == 'posix'", "python": "<3.12"},
        "b": {"path": "../b"},
        "c": {"git": "https://x/c.git", "tag": "v1"},
        "d": [{"version": "1", "python": "<3.10"}, {"version": "2", "python": ">=3.10"}],
    }
    lines = backends.poetry_lines(table)
    assert lines == [
        "a[x,y]>=1,<2 ; (os_name == 'posix') and (python_version < \"3.12\")",
        "c @ git+https://x/c.git@v1",
        'd==1 ; (python_version < "3.10")',
        'd==2 ; (python_version >= "3.10")',
    ]
    assert all(Requirement(line) for line in lines)


@given(st.text())
def test_any_text_is_a_requirements_file(text: str) -> None:
    assert all(line == line.strip() and line for line in files.logical_lines(text))


# --- what is used ---

OF_EXTRAS = (
    "always",
    'small; extra == "small"',
    'small; extra == "big"',
    'other; extra == "big"',
    'pyyaml; extra == "yaml"',
    'pymongo; extra == "bson"',
    'sphinx; extra == "docs"',
    'never; extra == "small" and python_version < "3"',
)


@pytest.mark.parametrize(
    ("imported", "guessed"),
    [
        ({"small"}, ("small",)),
        ({"small", "other"}, ("big", "small")),
        ({"other"}, ("big",)),
        ({"pyyaml"}, ("yaml",)),
        ({"always", "asked", "never", "unknown"}, ()),
        ({"sphinx"}, ()),
        ({"bson"}, ("bson",)),
        ({"empty"}, ()),
    ],
)
def test_extras_that_bring_what_the_tests_import_come_along(
    tmp_path: Path, imported: set[str], guessed: tuple[str, ...]
) -> None:
    """A suite skips what it has no module for: half of it would pass, and the rest not be run."""
    write(tmp_path, {"pyproject.toml": '[dependency-groups]\ntest = ["asked"]\n'})
    project = Project(tmp_path, [wheel("small", "big", "yaml", "docs", "bson", "empty", requires=OF_EXTRAS)])
    wanted = project.completed(project.wanted(Choice()), [], frozenset(imported))
    assert (wanted.lines, wanted.guessed) == (("asked",), guessed)


def test_what_only_an_extra_brings_is_not_there_without_it(tmp_path: Path) -> None:
    """Nothing else would install it: the extra is for those who work on the documentation."""
    write(tmp_path, {"pyproject.toml": '[dependency-groups]\ntest = ["asked"]\n'})
    project = Project(tmp_path, [wheel("docs", requires=OF_EXTRAS)])
    need = Need(distribution="sphinx", because="import sphinx in tests/test_a.py")
    assert project.completed(project.wanted(Choice()), [need], frozenset({"sphinx"})).added == (need,)


def test_imports_are_found_in_conditions_too() -> None:
    text = "try:\n    import yaml, json\nexcept ImportError:\n    yaml = None\nfrom .own import a\n"
    text += "from more.parts import b\ncrypto = pytest.importorskip('Crypto_Graphy')\n"
    assert known.imported({"a.py": text}, {"more"}) == {"yaml", "pyyaml", "crypto-graphy"}


# --- nox ---

NOX = """\
import nox
PYPROJECT = nox.project.load_toml()

@nox.session
def lint(session):
    session.install("ruff", "pytest-of-the-linter")
    session.run("ruff", "check")

@nox.session(python=["3.11", "3.12"])
def {name}(session: nox.Session) -> None:
    {body}
    session.run("python", "-m", "pytest", *session.posargs)

def pytest(session):
    session.install("no-session")
"""


@pytest.mark.parametrize(
    ("body", "lines", "extras"),
    [
        ('session.install(".", "pytest>=8", "six")', ("pytest>=8", "six"), ()),
        ('session.install("-e", ".[more]", "--upgrade", "pytest")', ("pytest",), ("more",)),
        ('session.install("-r", "needs.txt"); session.install("dist/shop.whl")', ("from-a-file",), ()),
        ('session.install(*nox.project.dependency_groups(PYPROJECT, "checks"))', ("of-a-group",), ()),
        ('session.install("--group", "checks", "six", "--extra-index", VAR)', ("six", "of-a-group"), ()),
        ('session.run_install("uv", "sync", "--group=x", "--group", "checks", "--extra", "more")',
         ("of-a-group",), ("more",)),
        ("session.install(*DEPENDENCIES)", (), ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["tests", "run_them"])
def test_what_a_session_of_nox_installs(
    tmp_path: Path, name: str, body: str, lines: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    tree = {
        "noxfile.py": NOX.replace("{name}", name).replace("{body}", body),
        "needs.txt": "from-a-file\n",
        "pyproject.toml": '[dependency-groups]\nchecks = ["of-a-group"]\n',
    }
    wanted = Project(write(tmp_path, tree), [wheel("more", "unused")]).wanted(Choice())
    assert (wanted.lines, wanted.extras) == (lines, extras)
    if lines:
        assert wanted.origin == f'session "{name}" of noxfile.py'


@pytest.mark.parametrize("text", ["this is no Python", "import nox\n", ""])
def test_a_noxfile_without_tests_says_nothing(tmp_path: Path, text: str) -> None:
    assert not Project(write(tmp_path, {"noxfile.py": text}), [wheel()]).wanted(Choice()).anything
