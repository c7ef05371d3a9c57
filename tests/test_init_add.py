"""`penstock init --add`: one more section, and every byte that was there stays."""

from __future__ import annotations

import os
import tomllib

import pytest

from tests.projects import Project

CONFIG = """\
# Ours. Don't touch.
[penstock]
plugins = [
  "git",   # the source
  "shell",
]

[test.unit]   # quick
uses = "shell"
run = 'true'
"""
PYPROJECT = """\
[project]
name = "shop"
version = "1.0"

[project.scripts]
shop = "shop:main"

[tool.mypy]
files = ["src"]
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.commit({"penstock.toml": CONFIG, "pyproject.toml": PYPROJECT})
    return project


def config(project: Project) -> str:
    return (project.root / "penstock.toml").read_text()


def test_a_deploy_step_with_what_the_project_says(project: Project) -> None:
    done = project.passes("init", "--add", "deploy.staging")
    assert done.out == (
        'Added [deploy.staging] to penstock.toml, uses = "local".\n'
        "  local  releases in ~/releases/shop/staging\n"
        "         ! `run` is its one console script: take it out if that is no service, or add `port` and\n"
        "           `health` if it is\n"
        "  Others that can: --uses docker\n"
        "Now: penstock plan shows where it stands\n"
    )
    assert config(project) == (
        CONFIG.replace('  "shell",\n', '  "shell",\n  "local",\n')
        + "\n# Releases side by side in a directory of this machine, and a service that runs the current one.\n"
        "[deploy.staging]\n"
        'uses = "local"\n'
        'directory = "~/releases/shop/staging"  # Deploys to this directory: relative to that of penstock.toml\n'
        'run = ["shop"]  # Keeps this running: a list is a program with its arguments, a string a shell script (sh -eu)\n'
        "# port = 8000  # Serves on this TCP port, which must be free; the second instance on the next one, and so on\n"
        '# health = "/health"  # Asks here whether the service is well, which it is when it answers with status 200\n'
        '# artifact = "*"  # Deploys the artifacts whose names match this pattern: wheels are installed\n'
        "# instances = 1  # Runs the service so many times; each is a target of the rollout\n"
        "# And: keep, stop_grace, start_timeout, settle, restart, service_secrets, python\n"
    )
    project.passes("validate")


def test_one_section_after_the_other_makes_an_environment(project: Project) -> None:
    project.passes("init", "--add", "deploy.staging")
    text = config(project).replace("# port = 8000", "port = 8123").replace("# health =", "health =")
    project.write({"penstock.toml": text})
    done = project.passes("init", "--add", "verify.staging")
    assert "  http  [deploy.staging] serves at http://127.0.0.1:8123/health\n" in done.out
    assert "  Others that can: --uses shell\n" in done.out
    done = project.passes("init", "--add", "approve.staging")
    assert done.out.startswith(
        "Added [approve.staging] to penstock.toml, which waits for `penstock approve`.\n"
    )
    assert config(project).startswith(text.replace('  "local",\n', '  "local",\n  "http",\n'))
    added = tomllib.loads(config(project))
    assert added["verify"]["staging"] == {"uses": "http", "url": "http://127.0.0.1:8123/health"}
    assert added["approve"]["staging"] == {}
    steps = [
        line.split()[0]
        for line in project.passes("plan").out.splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert steps == ["source", "test.unit", "approve.staging", "deploy.staging", "verify.staging"]


def test_what_nobody_can_know_is_left_to_fill_in_and_validate_names_it(project: Project) -> None:
    done = project.passes("init", "--add", "verify.production")
    line = config(project).splitlines().index("[verify.production]") + 1
    assert (
        "Still to do, as `penstock validate` says:\n"
        f"  penstock.toml:{line}: [verify.production] url: is missing"
    ) in done.out
    assert (
        "\n# url = …  # REQUIRED: Asks this address, http or https, directly: proxies are not used\n"
        in config(project)
    )
    checked = project.run("validate")
    assert (checked.code, f"penstock.toml:{line}: [verify.production] url: is missing" in checked.err) == (
        2,
        True,
    )
    # And another section can be added meanwhile.
    assert project.passes("init", "--add", "deploy.production").out.startswith("Added [deploy.production]")


def test_a_type_check_is_given_an_environment_of_its_own(project: Project) -> None:
    project.passes("init", "--add", "test.types", "--uses", "shell")
    run = tomllib.loads(config(project))["test"]["types"]["run"]
    assert run.splitlines()[-1] == '"$TMPDIR/types/bin/mypy"'
    assert "pip install --quiet mypy ." in run
    project.passes("validate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--add", "test.unit"], "penstock.toml:8: [test.unit] is there already; it is left as it is"),
        (["--add", "deplo.staging"], '--add deplo.staging: "deplo" is no phase. Did you mean "deploy"?'),
        (["--add", "deploy"], "--add deploy: a section is PHASE.NAME, such as deploy.staging, and a name is made"),
        (["--add", "deploy.a.b"], "--add deploy.a.b: a section is PHASE.NAME"),
        (["--add", "test.more"], "--add test.more: several plugins can test. Choose one: --uses pytest or --uses shell or --uses tox"),
        (["--add", "deploy.a", "--uses", "http"], "--uses http: http can't deploy; it can: verify. Who can deploy: docker, local"),
        (["--add", "deploy.a", "--uses", "lokal"], 'the plugin "lokal" is not installed. Did you mean "local"?'),
        (["--uses", "local"], "--uses says what --add shall use"),
        (["--add", "deploy.a", "--ci", "github"], "--add and --ci are two things to do"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_can_not_be_added_is_said_and_nothing_is_changed(
    project: Project, arguments: list[str], message: str
) -> None:
    done = project.run("init", *arguments)
    assert done.code == 2
    assert message in done.err
    assert config(project) == CONFIG


def test_a_form_that_can_not_be_added_to_is_left_alone_and_shown(project: Project) -> None:
    text = 'penstock = { plugins = ["git"] }\n'
    project.write({"penstock.toml": text})
    done = project.run("init", "--add", "deploy.staging")
    assert done.code == 2
    assert done.err.startswith("penstock: penstock.toml was left as it is: ")
    assert 'Add "local" to its plugins where it is not among them, and at its end:\n\n' in done.err
    assert '[deploy.staging]\nuses = "local"\n' in done.err
    assert config(project) == text


def test_broken_toml_is_not_added_to(project: Project) -> None:
    project.write({"penstock.toml": "[penstock\n"})
    done = project.run("init", "--add", "deploy.staging")
    assert (done.code, done.err.startswith("penstock: penstock.toml:1:")) == (2, True)


def test_pyproject_line_ends_mode_and_byte_order_mark_stay(project: Project) -> None:
    (project.root / "penstock.toml").unlink()
    path = project.root / "pyproject.toml"
    text = PYPROJECT + '\n[tool.penstock]\nplugins = ["git"]\n\n[tool.other]\nx = 1\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    path.chmod(0o600)
    project.passes("init", "--add", "deploy.staging")
    data = path.read_bytes()
    head = text.replace('["git"]', '["git", "local"]').replace("\n", "\r\n").encode()
    assert data.startswith(b"\xef\xbb\xbf" + head)
    assert b"\r\n[tool.penstock.deploy.staging]\r\n" in data
    assert data.count(b"\n") == data.count(b"\r\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_goes_on_to_lead_to_the_file(project: Project) -> None:
    real = project.root / "ours.toml"
    (project.root / "penstock.toml").rename(real)
    (project.root / "penstock.toml").symlink_to("ours.toml")
    project.passes("init", "--add", "deploy.staging")
    assert os.readlink(project.root / "penstock.toml") == "ours.toml"
    assert "[deploy.staging]" in real.read_text()


OURS = """\
from penstock import Settings, TestReport, hookimpl
from pydantic import Field


class Size(Settings):
    \"\"\"Looks at sizes.\"\"\"

    limit: int = Field(description="Lets no artifact be larger than this.")


@hookimpl
def penstock_publish(settings: Size, step):
    return []
"""


def test_a_plugin_that_is_a_file_of_the_project_can_be_the_one(project: Project) -> None:
    text = CONFIG.replace('  "shell",\n', '  "shell",\n  "./ci/ours.py",\n')
    project.write({"ci/ours.py": OURS, "penstock.toml": text})
    project.passes("init", "--add", "publish.all", "--uses", "ours")
    assert config(project) == (
        text + '\n# Looks at sizes.\n[publish.all]\nuses = "ours"\n'
        "# limit = …  # REQUIRED: Lets no artifact be larger than this\n"
    )
    assert "[publish.all] limit: is missing" in project.run("validate").err
