"""Local destinations on a full disk: nothing is lost, and a run after somebody has made room succeeds."""

import logging
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from headrace.connectors import OutOfSpace
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.pipeline.document import parse_config

_ROWS = 40_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "none", folder], capture_output=True)
    if done.returncode:
        pytest.skip(f"this machine mounts no disk: {done.stderr.decode()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("system", ["sqlite", "duckdb", "file"])
def test_a_full_disk_is_told_as_one_and_leaves_what_was_there(
    disk: Path, tmp_path: Path, system: str
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id,text\n1,one\n")
    run(system, disk, tmp_path)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 300_000))
    rows.write_text("id,text\n" + "".join(f"{number},{uuid4()}\n" for number in range(_ROWS)))

    with pytest.raises(OutOfSpace) as caught:
        run(system, disk, tmp_path)
    assert caught.value.temporary
    assert count(system, disk) == 1

    ballast.unlink()
    run(system, disk, tmp_path)
    assert count(system, disk) == _ROWS


def run(system: str, disk: Path, folder: Path) -> None:
    """Load the rows in full."""
    place = {"path": str(disk / "to"), "table": "t"} if system != "file" else {"path": str(disk / "to")}
    config = parse_config(
        {
            "name": "full",
            "source": {"name": "files", "paths": str(folder / "rows.csv"), "stream": "t"},
            "destination": {"name": system, "config": place},
        }
    )
    output = folder / f"{uuid4()}.parquet"
    run_pipeline(
        config,
        EngineJob(output_path=output, pipeline_id="p", run_id=str(uuid4()), log=logging.getLogger("full")),
    )


def count(system: str, disk: Path) -> int:
    """Return how many rows a reader finds."""
    if system == "sqlite":
        with closing(sqlite3.connect(disk / "to")) as reader:
            return int(reader.execute("SELECT count(*) FROM t").fetchone()[0])
    place, table = (":memory:", f"'{disk}/to/**/*.parquet'") if system == "file" else (str(disk / "to"), "t")
    with duckdb.connect(place) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert found is not None
    return int(found[0])
