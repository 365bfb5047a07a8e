"""What each fault does to the process that meets it, and which starts are refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from headrace.errors import Unavailable, is_disk_full
from headrace.failpoints import Injected, reach, use

REACHING = (
    "from pathlib import Path; from headrace import failpoints as f; f.use(Path({!r})); f.reach('p', 's')"
)


def arm(folder: Path, fault: str) -> None:
    (folder / "p.s").write_text(fault)


def reaching(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", REACHING.format(str(folder))])


def test_a_fault_is_met_once_at_its_point_and_by_its_subject_alone(tmp_path: Path) -> None:
    arm(tmp_path, "raise")
    use(tmp_path)
    try:
        reach("other", "s")
        reach("p", "other")
        with pytest.raises(Injected):
            reach("p", "s")
        reach("p", "s")
    finally:
        use(None)

    assert (tmp_path / "taken.p.s").read_text() == str(os.getpid())


def test_a_full_disk_and_a_lost_answer_are_errors_that_the_code_knows(tmp_path: Path) -> None:
    use(tmp_path)
    try:
        arm(tmp_path, "full")
        with pytest.raises(OSError, match="No space") as full:
            reach("p", "s")
        arm(tmp_path, "lose")
        with pytest.raises(Unavailable):
            reach("p", "s")
    finally:
        use(None)

    assert is_disk_full(full.value)


@pytest.mark.slow
def test_of_many_processes_one_is_killed(tmp_path: Path) -> None:
    arm(tmp_path, "kill")

    codes = sorted(process.wait(30) for process in [reaching(tmp_path) for _ in range(4)])

    assert codes == [-signal.SIGKILL, 0, 0, 0]


@pytest.mark.slow
def test_a_paused_process_stops_and_wakes_up(tmp_path: Path) -> None:
    arm(tmp_path, "pause 1.5")

    process = reaching(tmp_path)
    deadline = time.monotonic() + 20
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline, "the process was never stopped"
        time.sleep(0.02)

    assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    ["headrace.cli.prepare", "headrace_api", "headrace_dagster.code_server", "headrace_dagster.daemon"],
)
def test_no_process_starts_with_failpoints_by_mistake(module: str, tmp_path: Path) -> None:
    environment = os.environ | {"HEADRACE_HOME": str(tmp_path / "home"), "HEADRACE_FAILPOINTS": str(tmp_path)}
    environment.pop("HEADRACE_ALLOW_FAILPOINTS", None)

    started = subprocess.run(
        [sys.executable, "-m", module],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert started.returncode == 78
    assert "HEADRACE_FAILPOINTS" in started.stderr
    assert not (tmp_path / "home").exists()
