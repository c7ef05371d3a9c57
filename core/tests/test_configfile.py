from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import config
from penstock.configfile import ConfigFile, find
from penstock.errors import ConfigError

TEXT = '''\
# plugins = ["a comment"]
[penstock]
plugins = [
  "shell",
]
build.early.uses = "shell"

[build]
inline = { uses = "shell", wait = 3 }

[test."unit"]   # with a comment
uses = "shell"
run = """
[test.fake]
uses = "not this one"
"""
"timeout" = 3
env.PORT = "80"
note = "# no comment" # a comment with """ in it
after = 1

[deploy.live]
run = [
  "a", "b"
]
[ deploy . live . rollout ]
strategy = 'rolling'
batch = 1
'''


@pytest.fixture
def source(tmp_path: Path) -> ConfigFile:
    path = tmp_path / "penstock.toml"
    path.write_text(TEXT)
    return ConfigFile(path, ("plugins", "name"))


@pytest.mark.parametrize(
    ("section", "key", "line"),
    [
        ("penstock", "plugins", 3),
        ("penstock", "plugins.0", 3),
        ("penstock", "requires", 2),
        ("penstock", "", 2),
        ("build.early", "uses", 6),
        ("build.inline", "wait", 9),
        ("build.gone", "", 8),
        ("test.unit", "", 11),
        ("test.unit", "uses", 12),
        ("test.unit", "timeout", 17),
        ("test.unit", "env.PORT", 18),
        ("test.unit", "env", 18),
        ("test.unit", "after", 20),
        ("test.unit", "missing", 11),
        ("test", "", 11),
        ("deploy.live", "rollout", 26),
        ("deploy.live", "rollout.strategy", 27),
        ("deploy.live", "rollout.pause", 26),
        ("policy.live", "", None),
        ("test.fake", "uses", None),
    ],
)
def test_the_line_of_a_key_or_of_what_is_nearest_around_it(
    source: ConfigFile, section: str, key: str, line: int | None
) -> None:
    # "after" [penstock] comes build.early as a dotted key, which TOML reads as penstock.build.early
    wanted = ("penstock.build.early", key) if section == "build.early" else (section, key)

    assert source.line(*wanted) == line


def test_a_message_names_file_line_section_and_key(source: ConfigFile) -> None:
    assert source.error("deploy.live", "rollout.batch", "is odd") == (
        "penstock.toml:28: [deploy.live] rollout.batch: is odd"
    )
    assert source.error("policy.live", "", "is odd") == "penstock.toml: [policy.live] is odd"


def test_a_file_of_many_faults_is_told_in_time(tmp_path: Path) -> None:
    """Each line is looked up, and not searched for: 20,000 would take minutes."""
    path = tmp_path / "penstock.toml"
    path.write_text("".join(f"[test.t{number}]\nuses = 1\n" for number in range(20_000)))
    source = ConfigFile(path, ())

    assert [source.line(f"test.t{number}", "uses") for number in range(20_000)] == [*range(2, 40_001, 2)]
    assert [source.line(f"test.t{number}", "gone") for number in range(20_000)] == [*range(1, 40_001, 2)]


def test_a_message_is_one_line_however_long_what_it_repeats_is(source: ConfigFile) -> None:
    assert source.error("test.unit", "after", "a\nb\r\nc") == "penstock.toml:20: [test.unit] after: a\\nb\\nc"
    long = source.error("test.unit", "after", f"{'x' * 100_000} is odd. One is such as 1")
    assert len(long) < 1300
    assert long.endswith("x is odd. One is such as 1")


def test_a_name_is_found_however_its_characters_are_written(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text('[test."\\U0001F600"]\n"\\u00e9" = 1\n\'a\\b\' = 2\n')
    source = ConfigFile(path, ())

    assert source.line("test.\U0001f600") == 1
    assert source.line("test.\U0001f600", "\u00e9") == 2
    assert source.line("test.\U0001f600", "a\\b") == 3


# --- which file ---


def test_the_nearest_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").touch()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)

    assert find(inner) == tmp_path / "penstock.toml"
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert find(inner) == tmp_path / "penstock.toml"
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.penstock.build.x]\nuses = "x"\n')
    assert find(inner) == tmp_path / "a" / "pyproject.toml"
    (tmp_path / "a" / "penstock.toml").touch()
    assert find(inner) == tmp_path / "a" / "penstock.toml"


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("[tool.penstock]", True),
        ("[ tool . penstock ]", True),
        ("  [tool.penstock.build.x]", True),
        ("# [tool.penstock]", False),
        ("[tool.penstockings]", False),
        ("[tool.penstock-other]", False),
        ('name = "[tool.penstock]"', False),
    ],
)
def test_a_pyproject_counts_where_it_has_our_table(tmp_path: Path, text: str, ours: bool) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "pyproject.toml").write_text(text)
    (tmp_path / "penstock.toml").touch()

    assert (find(below) == below / "pyproject.toml") is ours


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find(Path("/proc/1"))

    assert str(caught.value) == "there is no penstock.toml in /proc/1 or above. Make one: penstock init"


# --- whatever is in it, the answer is a project or a ConfigError ---


def faults(path: Path) -> list[str]:
    """What is wrong with a file; without any plugin there is always something, if only no source."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    return str(caught.value).splitlines()


_WORDS = (
    *(
        "penstock",
        "plugins",
        "build",
        "test",
        "deploy",
        "approve",
        "policy",
        "roles",
        "uses",
        "needs",
        "rollout",
    ),
    *(
        "batch",
        "environment",
        "timeout",
        "env",
        "by",
        "a",
        "b.c",
        '"x y"',
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
    ),
    *(
        "=",
        ",",
        ".",
        "\n",
        "\n",
        "\n",
        '"',
        '"""',
        "'",
        "#",
        "3",
        "-1",
        "1.5",
        "true",
        "inf",
        '"5m"',
        '"30%"',
        "[]",
    ),
)


@given(st.lists(st.sampled_from(_WORDS), max_size=40).map("".join) | st.text(max_size=60))
@settings(deadline=None)
def test_any_text_is_a_project_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any" / "penstock.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))

    assert faults(path)[0].startswith("penstock.toml")


_SECTIONS = st.sampled_from(
    ["penstock", "build", "test", "approve", "deploy", "policy", "roles", "source", "x"]
)
_VALUES: st.SearchStrategy[str] = st.sampled_from(
    ["1", "-1", "1.5", "true", '""', '"a"', "[]", '["a"]', "[1]", "{}", "{ a = 1 }", '{ by = ["x"] }']
)
_KEYS = st.sampled_from(
    (
        *("uses", "needs", "timeout", "retries", "env", "secrets", "artifacts", "environment", "rollout"),
        *(
            "plugins",
            "requires",
            "name",
            "require",
            "expires",
            "allow_failure",
            "rollout.batch",
            "matrix",
            "by",
        ),
    )
)


@given(
    st.dictionaries(
        st.tuples(_SECTIONS, st.sampled_from(["", ".a", ".b"])),
        st.dictionaries(_KEYS, _VALUES, max_size=4),
        max_size=5,
    )
)
@settings(deadline=None)
def test_any_sections_are_a_project_or_a_clear_error_with_a_line(
    tmp_path_factory: pytest.TempPathFactory, sections: dict[tuple[str, str], dict[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any" / "penstock.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "".join(
            f"[{first}{second}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
            for (first, second), table in sections.items()
        )
    )

    for line in faults(path):
        where, _, what = line.partition(": ")
        assert where.startswith("penstock.toml:") or "no plugin was chosen that gets the source" in what
