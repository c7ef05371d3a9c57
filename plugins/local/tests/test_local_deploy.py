from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from penstock import ConfigError, StepFailed, TargetState
from penstock_local import control, processes, releases, supervisor
from penstock_local.layout import Instance

if TYPE_CHECKING:
    from conftest import Deployer

# `Step.detach` lets go of its Popen on purpose: what it started is to live on.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def test_a_release_is_installed_started_and_observed(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    assert target.observe(deployer.step()) == TargetState()
    release = deployer.toy("1.0")
    assert deployer.deploy(target, release).status == "healthy"
    assert deployer.get(settings) == "1.0"
    state = target.observe(deployer.step())
    assert state.release == release.digest
    assert state.data["url"] == settings.url_of(1)
    assert state.data["pid"] == deployer.pid(target)
    assert state.data["drift"] == []
    assert state.data["healthy"] is True
    assert os.readlink(deployer.directory / "current") == f"releases/{release.digest[7:23]}"


def test_the_next_release_takes_over_and_restore_brings_the_first_back(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    deployer.deploy(target, deployer.toy("1.0"))
    before = target.observe(deployer.step())
    deployer.deploy(target, deployer.toy("2.0"))
    assert deployer.get(settings) == "2.0"
    for _ in range(2):
        target.restore(before, deployer.step())
        assert deployer.get(settings) == "1.0"
        assert target.observe(deployer.step()).release == before.release


def test_restore_to_nothing_stops_the_service_and_removes_the_link(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    before = target.observe(deployer.step())
    deployer.deploy(target, deployer.toy("1.0"))
    pid = deployer.pid(target)
    for _ in range(2):
        target.restore(before, deployer.step())
        assert not deployer.alive(pid)
        assert not (deployer.directory / "current").is_symlink()
        assert target.observe(deployer.step()) == before


def test_the_same_release_again_restarts_nothing(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    release = deployer.toy("1.0")
    deployer.deploy(target, release)
    pid = deployer.pid(target)
    target.apply(release, deployer.step())
    assert deployer.pid(target) == pid


@pytest.mark.parametrize(
    "change", [{"restart": 1}, {"run": ("{python}", "-u", "-m", "toy", "{port}")}], ids=["limits", "command"]
)
def test_another_configuration_restarts_the_same_release(
    deployer: Deployer, change: dict[str, object]
) -> None:
    settings = deployer.service()
    release = deployer.toy("1.0")
    target = deployer.target(settings)
    deployer.deploy(target, release)
    pid = deployer.pid(target)
    target = deployer.target(deployer.service(port=settings.port, **change))
    assert deployer.deploy(target, release).status == "healthy"
    assert deployer.pid(target) != pid


def test_another_variable_restarts_the_same_release(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    release = deployer.toy("1.0")
    deployer.deploy(target, release)
    pid = deployer.pid(target)
    target.apply(release, deployer.step(env={"COLOUR": "blue"}))
    assert deployer.pid(target) != pid


def test_restore_runs_a_release_as_it_was_run_before(deployer: Deployer) -> None:
    old, new = deployer.service(), deployer.service()
    target = deployer.target(old)
    deployer.deploy(target, deployer.toy("1.0"))
    before = target.observe(deployer.step())
    changed = deployer.target(new)
    deployer.deploy(changed, deployer.toy("1.0"))
    assert deployer.get(new) == "1.0"
    changed.restore(before, deployer.step())
    assert deployer.get(old) == "1.0"
    assert new.port is not None
    assert processes.is_free(new.port)


def test_an_unhealthy_release_is_unhealthy_after_its_time(deployer: Deployer) -> None:
    target = deployer.target(deployer.service(start_timeout=0.5))
    seen = deployer.deploy(target, deployer.toy("1.0", "sick"))
    assert seen.status == "unhealthy"
    assert "answered 503; 200 is needed" in seen.detail


def test_a_service_that_keeps_dying_is_unhealthy_and_says_what_it_printed(deployer: Deployer) -> None:
    target = deployer.target(deployer.service(restart=2, start_timeout=60))
    seen = deployer.deploy(target, deployer.toy("1.0", "crash"))
    assert seen.status == "unhealthy"
    assert "3 times in a row" in seen.detail
    assert "status 3" in seen.detail
    assert "toy 1.0 starts" in seen.detail


def test_a_service_that_died_is_started_again(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    deployer.deploy(target, deployer.toy("1.0"))
    pid = deployer.pid(target)
    os.kill(pid, signal.SIGKILL)
    while (live := control.running(Instance(deployer.directory, 1))) and live.status.pid in (pid, None):
        pass
    assert deployer.settled(target).status == "healthy"
    assert deployer.get(settings) == "1.0"


def test_a_service_dies_with_its_supervisor_and_apply_starts_it_again(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    release = deployer.toy("1.0")
    deployer.deploy(target, release)
    live = control.running(Instance(deployer.directory, 1))
    assert live is not None
    os.kill(live.supervisor, signal.SIGKILL)
    seen = deployer.settled(target)
    assert seen.status == "unhealthy"
    assert seen.detail == "its supervisor is gone, and the service with it"
    assert target.observe(deployer.step()).data["drift"] == ["not running"]
    assert deployer.deploy(target, release).status == "healthy"


def test_what_forked_twice_ends_with_the_service(deployer: Deployer, tmp_path: Path) -> None:
    noted = tmp_path / "stray.pid"
    run = ("{python}", "-m", "toy", "{port}", str(noted))
    target = deployer.target(deployer.service(run=run))
    assert deployer.deploy(target, deployer.toy("1.0", "double")).status == "healthy"
    stray = int(noted.read_text())
    assert deployer.alive(stray)
    target.restore(TargetState(), deployer.step())
    assert not deployer.alive(stray)


def test_what_forked_twice_and_lost_its_supervisor_ends_at_the_next_apply(
    deployer: Deployer, tmp_path: Path
) -> None:
    noted = tmp_path / "stray.pid"
    run = ("{python}", "-m", "toy", "{port}", str(noted))
    target = deployer.target(deployer.service(run=run))
    deployer.deploy(target, deployer.toy("1.0", "double"))
    stray = int(noted.read_text())
    live = control.running(Instance(deployer.directory, 1))
    assert live is not None
    os.kill(live.supervisor, signal.SIGKILL)
    target.apply(deployer.toy("2.0"), deployer.step())
    assert not deployer.alive(stray)


def test_a_stubborn_service_is_killed_after_the_grace(deployer: Deployer) -> None:
    target = deployer.target(deployer.service(stop_grace=0.3))
    deployer.deploy(target, deployer.toy("1.0", "stubborn"))
    pid = deployer.pid(target)
    target.restore(TargetState(), deployer.step())
    assert not deployer.alive(pid)


def test_a_port_in_use_is_refused_with_who_uses_it_and_what_runs_goes_on(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    deployer.deploy(target, deployer.toy("1.0"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        moved = deployer.target(deployer.service(port=taken))
        with pytest.raises(StepFailed, match=rf"port {taken} is in use by .* \(process {os.getpid()}\)"):
            moved.apply(deployer.toy("2.0"), deployer.step())
    assert deployer.get(settings) == "1.0"


def test_a_port_that_somebody_else_serves_is_not_healthy(deployer: Deployer) -> None:
    # The service itself does not listen at all; somebody who does must not count as it.
    port = deployer.free_port()
    run = ("{python}", "-c", "import time; time.sleep(600)")
    target = deployer.target(deployer.service(run=run, port=port))
    target.apply(deployer.toy("1.0"), deployer.step())
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        seen = deployer.settled(target)
    assert seen.status == "unhealthy"
    assert f"(process {os.getpid()}), which is not this service" in seen.detail


@pytest.mark.parametrize(
    "name",
    ["with space and 'quote'", "größe-日本", "/".join(["long" * 12] * 4)],
    ids=["space", "unicode", "long"],
)
@pytest.mark.parametrize("shell", [False, True], ids=["argv", "script"])
def test_any_directory_will_do(deployer: Deployer, name: str, shell: bool) -> None:
    script = "cd {release}; test ${HOME:-x} != y; exec {python} -m toy {port}"
    run = script if shell else ("{python}", "-m", "toy", "{port}")
    settings = deployer.service(directory=str(deployer.root / name), run=run)
    target = deployer.target(settings)
    assert deployer.deploy(target, deployer.toy("1.0")).status == "healthy"
    target.restore(TargetState(), deployer.step())


def test_two_instances_serve_on_two_ports_and_change_one_by_one(deployer: Deployer) -> None:
    settings = deployer.service(port=deployer.free_port(2), instances=2)
    first, second = deployer.targets(settings)
    assert [first.id, second.id] == [f"local:{settings.directory}#{n}" for n in (1, 2)]
    for target in (first, second):
        assert deployer.deploy(target, deployer.toy("1.0")).status == "healthy"
    deployer.deploy(first, deployer.toy("2.0"))
    assert [deployer.get(settings, instance=n) for n in (1, 2)] == ["2.0", "1.0"]


def test_the_oldest_releases_go_but_none_that_runs_or_ran_before(deployer: Deployer) -> None:
    settings = deployer.service(port=deployer.free_port(2), instances=2, keep=1)
    first, second = deployer.targets(settings)
    made = [deployer.toy(f"{n}.0") for n in range(4)]
    second.apply(made[0], deployer.step())
    for release in made:
        first.apply(release, deployer.step())
    left = {path.name for path in (deployer.directory / "releases").iterdir()}
    assert left == {made[n].digest[7:23] for n in (0, 2, 3)}


def test_an_incomplete_release_is_thrown_away(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    release = deployer.toy("1.0")
    half = deployer.directory / "releases" / release.digest[7:23]
    (half / "toy").mkdir(parents=True)
    (half / "rubbish").touch()
    assert deployer.deploy(target, release).status == "healthy"
    assert not (half / "rubbish").exists()


def test_files_and_directories_are_copied_as_they_are(deployer: Deployer, tmp_path: Path) -> None:
    tree = tmp_path / "site"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "page.html").write_text("hello")
    (tmp_path / "notes.txt").write_text("notes")
    target = deployer.target(deployer.settings())
    release = deployer.release(tree, tmp_path / "notes.txt", kind="file")
    assert deployer.deploy(target, release).status == "healthy"
    current = deployer.directory / "current"
    assert (current / "site" / "sub" / "page.html").read_text() == "hello"
    assert (current / "notes.txt").read_text() == "notes"
    (current / "notes.txt").unlink()
    assert deployer.settled(target).detail == "changed since it was deployed: notes.txt"


def test_a_program_that_is_one_file_can_be_run(deployer: Deployer, tmp_path: Path) -> None:
    program = tmp_path / "serve"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    target = deployer.target(deployer.settings(run=("./serve",)))
    assert deployer.deploy(target, deployer.release(program, kind="file")).status == "healthy"


def test_a_service_whose_directory_was_removed_does_not_come_back(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    release = deployer.toy("1.0")
    deployer.deploy(target, release)
    live = control.running(Instance(deployer.directory, 1))
    assert live is not None
    shutil.rmtree(deployer.directory)
    assert deployer.deploy(target, release).status == "healthy"
    os.waitpid(live.supervisor, 0)


def test_a_state_of_another_version_is_not_guessed_at(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    deployer.deploy(target, deployer.toy("1.0"))
    state = target.observe(deployer.step())
    odd = state.model_copy(update={"data": {**state.data, "service": {"command": "x"}}})
    with pytest.raises(StepFailed, match="noted by another version of this plugin"):
        target.restore(odd, deployer.step())


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 100)
    log = supervisor.Log(tmp_path / "1.log")
    for _ in range(50):
        log.write(b"0123456789")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200


def test_without_a_health_address_a_service_must_live_and_listen(deployer: Deployer) -> None:
    target = deployer.target(deployer.service(health=None))
    assert deployer.deploy(target, deployer.toy("1.0")).status == "healthy"
    dead = deployer.target(
        deployer.service(health=None, run=("sh", "-c", "exec sleep 600"), start_timeout=0.3)
    )
    seen = deployer.deploy(dead, deployer.toy("1.0"))
    assert seen.status == "unhealthy"
    assert "nothing listens on port" in seen.detail


def test_secrets_are_in_the_services_environment_and_in_no_file(
    deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s3cret-value-one")
    settings = deployer.service(service_secrets=("TOKEN",))
    secrets = {"TOKEN": "env:VAULT_TOKEN"}
    (target,) = deployer.targets(settings, deployer.step(secrets=secrets))
    release = deployer.toy("1.0")
    target.apply(release, deployer.step(secrets=secrets))
    assert deployer.settled(target).status == "healthy"
    assert deployer.get(settings, "/token") == "s3cret-value-one"
    for path in deployer.directory.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
    state = target.observe(deployer.step(secrets=secrets))
    assert "s3cret" not in state.model_dump_json()
    pid = deployer.pid(target)
    target.apply(release, deployer.step(secrets=secrets))
    assert deployer.pid(target) == pid
    monkeypatch.setenv("VAULT_TOKEN", "s3cret-value-two")
    target.apply(release, deployer.step(secrets=secrets))
    assert deployer.settled(target).status == "healthy"
    assert deployer.get(settings, "/token") == "s3cret-value-two"


def test_a_secret_in_run_is_refused(deployer: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s3cret-value-one")
    step = deployer.step(secrets={"TOKEN": "env:VAULT_TOKEN"})
    (target,) = deployer.targets(deployer.service(run=("python", "s3cret-value-one")), step)
    with pytest.raises(StepFailed, match="a secret stands in run"):
        target.apply(deployer.toy("1.0"), step)


def test_a_secret_that_the_section_does_not_declare_is_refused(deployer: Deployer) -> None:
    with pytest.raises(ConfigError, match='declares no secret "TOKEN"'):
        deployer.targets(deployer.service(service_secrets=("TOKEN",)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"run": ("no-such-program",)}, "no-such-program can't be run: there is no such program"),
        ({"artifact": "*.zip"}, r'no artifact of the release matches "\*.zip"; it has: toy'),
        ({"python": "python9.9"}, 'python = "python9.9": there is no such program'),
    ],
    ids=["program", "artifact", "python"],
)
def test_what_can_not_be_deployed_says_why(deployer: Deployer, more: dict[str, object], message: str) -> None:
    target = deployer.target(deployer.service(**more))
    with pytest.raises(StepFailed, match=message):
        target.apply(deployer.toy("1.0"), deployer.step())


def test_a_current_that_is_somebody_elses_is_left_alone(deployer: Deployer) -> None:
    (deployer.directory / "current").mkdir(parents=True)
    target = deployer.target(deployer.service())
    with pytest.raises(StepFailed, match="is not a symbolic link, so Penstock has not made it"):
        target.observe(deployer.step())


def test_a_release_that_is_gone_can_not_be_restored(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    deployer.deploy(target, deployer.toy("1.0"))
    before = target.observe(deployer.step())
    deployer.deploy(target, deployer.toy("2.0"))
    assert before.release is not None
    releases.remove(deployer.directory / "releases" / str(before.data["place"]))
    with pytest.raises(StepFailed, match=r"is not in .* any more"):
        target.restore(before, deployer.step())


def test_logs_are_for_their_owner_alone(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    deployer.deploy(target, deployer.toy("1.0"))
    log = deployer.directory / "log" / "1.log"
    assert log.read_text().startswith("toy 1.0 starts")
    assert log.stat().st_mode & 0o077 == 0
    assert json.loads((deployer.directory / "run" / "1.status.json").read_text())["state"] == "running"
