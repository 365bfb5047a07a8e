"""How a platform ends, and when it must not start: `headrace up` on homes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from live_platform import STOP_SECONDS, LivePlatform, on, running
from waiting import eventually

from headrace.encryption.keyring import load_keyring
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.settings import Settings

pytestmark = pytest.mark.slow

CREATURES = {"name": "dummy", "stream": "creatures"}
LONG = {**CREATURES, "records": 100_000, "sleep": 0.2}
LOST_SECONDS = 30.0


def test_a_killed_supervisor_and_a_ctrl_c_leave_no_process_and_no_run(tmp_path: Path) -> None:
    home, config = tmp_path / "home", tmp_path / "config"
    with running(home, config) as first:
        lost = first.run(first.create("Lost with its platform", LONG))
        first.worker_of(lost)
        first.process.kill()
        first.process.wait()
        eventually(lambda: not first.family(), seconds=30, what="The end of the orphans")

    with running(home, config) as second:
        run = second.ended_run(lost, seconds=LOST_SECONDS)
        interrupted = second.run(run["pipeline_id"])
        second.worker_of(interrupted)
        began = time.monotonic()
        code = second.stop(signal.SIGINT)
        took = time.monotonic() - began
        left = second.family()

    assert run["status"] == "failed"
    assert (code, left) == (0, [])
    assert took < STOP_SECONDS
    assert status_in(home, config, interrupted) == "failed"


def test_a_start_without_the_key_says_which_and_changes_nothing(tmp_path: Path) -> None:
    home, config = tmp_path / "home", tmp_path / "config"
    platform = Platform.open(Settings(home=home, config_dir=config), migrate=True)
    raw = {"name": "c", "source": CREATURES, "destination": {"name": "logger"}}
    Pipelines(platform, platform.owner()).create(PipelineDraft(name="Sealed", config=raw))
    (key_id,) = load_keyring(platform.settings, create=False).ids
    platform.close()
    keyring = (config / "keyring").rename(config / "elsewhere")
    records = (home / "headrace.db").read_bytes()

    with running(home, config, ready=False) as refused:
        code = refused.process.wait(20)
        printed = refused.printed

    assert code == 78
    assert key_id in printed
    assert str(config / "keyring") in printed.replace("\n", "")
    assert list(config.iterdir()) == [keyring]
    assert (home / "headrace.db").read_bytes() == records
    keyring.rename(config / "keyring")
    Platform.open(Settings(home=home, config_dir=config)).close()


@on("postgres")
def test_a_platform_on_postgresql_has_its_records_there(platform: LivePlatform) -> None:
    command = [sys.executable, "-m", "headrace.cli.main", "doctor", "--home", str(platform.home)]

    environment = {**os.environ, "HEADRACE_CONFIG_DIR": str(platform.config)}

    doctor = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert "PostgreSQL" in doctor.stdout
    assert not (platform.home / "headrace.db").exists()


def status_in(home: Path, config: Path, run_id: str) -> str:
    """Return a run's status in the records of a platform that is down."""
    opened = Platform.open(Settings(home=home, config_dir=config))
    try:
        return Runs(opened, opened.owner()).get(UUID(run_id)).status.value
    finally:
        opened.close()
