"""Workers that are killed while they have something temporary: the sweeper finds it by run and fence."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stored import LIMITS

from headrace import scratch
from headrace.connectors import Rejected
from headrace.connectors.duckdb.connection import DuckDBConnection, opened
from headrace.encryption import keyring_file
from headrace.records import Run
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.settings import Settings
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace_api.control.sweeper import Sweeper

# A worker that dies when it is about to rename or open a file whose name ends like this.
_WORKER = """
import json, logging, os, signal, sys
from pathlib import Path
from uuid import UUID
from headrace.service.execution import execute_run
from headrace.service.platform import Platform
from headrace.settings import Settings

home, config, keyring, pipeline, run, event, ending = json.loads(sys.argv[1])
settings = Settings(home=Path(home), config_dir=Path(config), keyring_file=Path(keyring))
platform = Platform.open(settings)

def watch(happens, arguments):
    if happens == event and str(arguments[0]).endswith(ending):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
log = logging.getLogger("worker")
execute_run(platform, pipeline_id=UUID(pipeline), run_id=UUID(run), dagster_run_id="worker", log=log)
"""
ROWS = {"name": "dummy", "stream": "creatures", "records": 1000}


@pytest.fixture
def platform(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Platform]:
    """An installation that other processes can open."""
    keyring_file.create(tmp_path / "keyring")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "headrace.db").write_bytes(migrated_sqlite.read_bytes())
    settings = Settings(home=home, config_dir=tmp_path / "config", keyring_file=tmp_path / "keyring")
    platform = Platform.open(settings, migrate=True)
    yield platform
    platform.close()


def killed_at(platform: Platform, destination: dict[str, Any], event: str, ending: str) -> Run:
    config = {"name": "creatures", "source": ROWS, "destination": destination}
    pipeline = Pipelines(platform, platform.owner()).create(PipelineDraft(name="Creatures", config=config))
    run = Runs(platform, platform.owner()).trigger(pipeline.id)
    settings = platform.settings
    places = [str(settings.root), str(settings.config_dir), str(settings.keyring_file)]
    order = json.dumps([*places, str(pipeline.id), str(run.id), event, ending])

    done = subprocess.run([sys.executable, "-c", _WORKER, order], check=False, timeout=60)

    assert done.returncode == -signal.SIGKILL
    return run


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


@pytest.mark.parametrize(
    ("kind", "event", "ending", "options"),
    [
        ("a part of the output", "os.link", ".part0", {}),
        ("an unfinished file", "os.rename", ".unfinished", {}),
        ("partitions", "os.rename", ".unfinished", {"partition_by": ["family"], "format": "csv"}),
    ],
)
def test_what_a_killed_worker_left_is_removed_once_its_run_is_lost(
    platform: Platform, tmp_path: Path, kind: str, event: str, ending: str, options: dict[str, Any]
) -> None:
    target = tmp_path / "target"
    destination = {"name": "file", "config": {"path": str(target), **options}}
    sweeper = Sweeper(UpkeepStore(platform.database, LIMITS), platform.settings.scratch)

    run = killed_at(platform, destination, event, ending)
    sweeper.work()
    while_the_lease_holds = left_in(platform.settings.scratch) | left_in(target)
    Runs(platform, platform.owner()).cancel(run.id)
    sweeper.work()

    assert {name for name in while_the_lease_holds if name.endswith(ending)}, kind
    assert list(platform.settings.scratch.iterdir()) == []
    assert {name for name in left_in(target) if name.endswith(".unfinished")} == set()


def test_duckdb_spills_into_the_folder_of_the_run(tmp_path: Path) -> None:
    config = DuckDBConnection(path=str(tmp_path / "zoo.duckdb"))

    with scratch.held(tmp_path / "mine") as folder, opened(config, Rejected, read_only=False) as connection:
        told = connection.execute("SELECT current_setting('temp_directory')").fetchone()
        connection.execute("SET memory_limit = '64MB'")
        connection.execute("SET threads = 1")
        connection.execute("CREATE TEMP TABLE t AS SELECT md5(i::VARCHAR) AS text FROM range(2000000) r(i)")
        spilled = list((folder / "duckdb").iterdir())

    assert spilled
    assert told == (str(folder / "duckdb"),)
    assert {path.name for path in tmp_path.iterdir()} == {"zoo.duckdb"}
