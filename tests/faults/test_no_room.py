"""The disk is full at some moment, or no file can be opened: the run stops, says why, and goes on later."""

from __future__ import annotations

import os
import random
import shutil

import pytest

from tests.faults.conftest import Ended, Killer
from tests.faults.test_kills import SEED
from tests.projects import PENSTOCK, namespace

pytestmark = pytest.mark.slow

SCRIPT = """
mount -t tmpfs -o size={size}k none .penstock || exit 99
"$@" run > ../first 2>&1; echo "$?" >> ../first
find .penstock -path '*/incoming/*' -o -name '*.new' >> ../first
mount -o remount,size=100m .penstock
if test -e .penstock/runs/1; then "$@" resume; else "$@" run; fi
code=$?
cp -a .penstock ../kept
exit $code
"""
WHOLE = 3_000
"""Nearly as many kilobytes as all of it takes."""


def with_so_much(killer: Killer, size: int) -> tuple[Ended, list[str]]:
    """A run on a disk of so many kilobytes, taken up once it is larger; what came of both."""
    sixty = killer.sixty
    for path in (
        sixty.home,
        sixty.place.base / "effects",
        *sixty.targets,
        *sixty.place.base.glob("failed-*"),
    ):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    sixty.home.mkdir()
    script = SCRIPT.replace("{size}", str(size))
    ended = killer.run(argv=[*namespace(), "sh", "-c", script, "sh", str(PENSTOCK)], settle=True)
    first = (sixty.place.base / "first").read_text().splitlines()
    shutil.rmtree(sixty.home)
    (sixty.place.base / "kept").rename(sixty.home)
    return ended, first


def test_a_full_disk_stops_a_run_that_goes_on_once_there_is_room(killer: Killer) -> None:
    sixty, chance = killer.sixty, random.Random(SEED)
    # Up to the journal's first page, the store's first file, a log, a checkout, and ever further.
    sizes = [
        60,
        200,
        *(chance.randrange(200, WHOLE) for _ in range(int(os.environ.get("PENSTOCK_FILLS", "6")))),
    ]
    met = set()
    for size in sizes:
        ended, first = with_so_much(killer, size)

        said = [line for line in first if line.startswith("penstock: ")]
        code, *half = first[first.index(said[-1]) + 1 :] if said else first[-1:]
        try:
            assert half == []
            assert (code, len(said)) in (("4", 1), ("0", 0)), first
            assert all("Make room" in line for line in said)
            assert "Traceback" not in "\n".join(first)
            assert ended.left == []
            assert ended.code == 0, ended.said
            sixty.check_run(1)
            sixty.check_nothing_is_left()
            sixty.check_journal()
        except BaseException:
            print(f"with {size} kB. Again: PENSTOCK_KILLS_SEED={SEED}\n" + "\n".join(first[-5:]))
            raise
        met.add(said[0].split(" can't be ")[0].split("/")[-1] if said else "")
    assert len(met) > 1, met


@pytest.mark.parametrize("files", [10, 14, 17])
def test_too_few_open_files_leave_a_run_that_can_be_resumed(files: int, killer: Killer) -> None:
    sixty, script = killer.sixty, f'ulimit -n {files}; exec "$@"'

    first = killer.run(argv=["sh", "-c", script, "sh", str(PENSTOCK), "run"], settle=True)

    assert first.code in (0, 4), first.said
    assert (first.code == 4) == ("Too many open files" in first.said), first.said
    assert first.left == []
    assert files > 10 or first.code
    if first.code:
        after = killer.run(*(("resume",) if sixty.newest() else ("run",)), settle=True)
        assert after.code == 0, after.said
    sixty.check_run(1)
    sixty.check_nothing_is_left()
