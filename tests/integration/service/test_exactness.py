"""A worker killed at any stage, on real databases: afterwards the destination equals the source.

Each case loads once, changes the source, has the worker of the second run killed at one point, lets the
platform repair what that left, and changes the source once more: a cursor that is ahead leaves a gap then,
one that is behind brings rows twice.
"""

import logging
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import psycopg
import pytest
from run_worker import FAILED, run_until
from sqlalchemy import delete, update
from stored import LIMITS

from headrace.failpoints import Action, Point
from headrace.records import Pipeline, Run, RunStatus, StateDemand
from headrace.service.execution import execute_run
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.service.states import States
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.schema import runs, states

pytestmark = pytest.mark.slow

LOG = logging.getLogger("test.run")
Mode = Literal["full_refresh", "append", "merge"]
Row = tuple[int, str, int]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A destination and a way to look at it that is not the destination's own."""

    config: dict[str, Any]
    read: Callable[[str], Sequence[Row]]

    def rows(self) -> list[Row]:
        return sorted(self.read("SELECT id, name, changed FROM things"))


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A pipeline from a SQLite file, which the test changes, into the target."""

    platform: Platform
    pipeline: Pipeline
    target: Target
    source: Path
    faults: Path

    def change(self, *rows: Row) -> None:
        with closing(sqlite3.connect(self.source)) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO things VALUES (?, ?, ?)", rows)

    @property
    def source_rows(self) -> list[Row]:
        with closing(sqlite3.connect(self.source)) as connection:
            return sorted(connection.execute("SELECT id, name, changed FROM things").fetchall())

    def triggered(self) -> Run:
        return Runs(self.platform, self.platform.owner()).trigger(self.pipeline.id)

    def stored(self, run: Run) -> Run:
        return Runs(self.platform, self.platform.owner()).get(run.id)

    def execute(self, run: Run) -> None:
        execute_run(
            self.platform, pipeline_id=self.pipeline.id, run_id=run.id, dagster_run_id="dagster", log=LOG
        )

    def run(self) -> None:
        self.execute(self.triggered())

    def broken_run(self, point: Point, action: Action = "kill") -> Run:
        """A run whose worker met its fault; no lease of it is left."""
        run = self.triggered()
        code = run_until(self.platform, self.pipeline.id, run.id, point, action, self.faults)
        assert code == (-signal.SIGKILL if action == "kill" else FAILED)
        past = datetime.now(UTC) - timedelta(hours=1)
        with self.platform.database.write() as connection:
            held = (runs.c.id == run.id) & runs.c.lease_until.is_not(None)
            connection.execute(update(runs).where(held).values(lease_until=past))
        UpkeepStore(self.platform.database, LIMITS).reap()
        return self.stored(run)


@pytest.fixture
def target(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Target:
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")

        def from_postgres(query: str) -> Sequence[Row]:
            with psycopg.connect(url) as connection:
                return connection.execute(query.encode()).fetchall()

        return Target(config={"name": "postgres", "config": {"url": url}}, read=from_postgres)
    path = tmp_path / f"target.{kind}"

    def from_file(query: str) -> Sequence[Row]:
        connect = duckdb.connect if kind == "duckdb" else sqlite3.connect
        with closing(connect(str(path))) as connection:
            return list(connection.execute(query).fetchall())

    return Target(config={"name": kind, "config": {"path": str(path)}}, read=from_file)


@pytest.fixture
def move(platform: Platform, target: Target, tmp_path: Path) -> Callable[[Mode], Moved]:
    def make(mode: Mode) -> Moved:
        source = tmp_path / "source.sqlite"
        key = " PRIMARY KEY" if mode == "merge" else ""
        with closing(sqlite3.connect(source)) as connection:
            connection.execute(f"CREATE TABLE things (id INTEGER{key}, name TEXT, changed INTEGER)")
        keys = {} if mode == "full_refresh" else {"sync_mode": "incremental", "cursor_field": "changed"}
        config = {
            "name": "things",
            "source": {"name": "sqlite", "path": str(source), "stream": "things", **keys},
            "destination": target.config,
        }
        draft = PipelineDraft(name="Things", config=config)
        pipeline = Pipelines(platform, platform.owner()).create(draft)
        moved = Moved(
            platform=platform,
            pipeline=pipeline,
            target=target,
            source=source,
            faults=tmp_path / "faults",
        )
        moved.change(*things(1, 41))
        moved.run()
        assert moved.target.rows() == moved.source_rows
        return moved

    return make


def things(first: int, end: int) -> list[Row]:
    return [(number, f"thing {number}", number * 10) for number in range(first, end)]


DATABASES = pytest.mark.parametrize(
    ("backend", "kind"), [("sqlite", "duckdb"), ("sqlite", "sqlite"), ("postgresql", "postgres")]
)


@DATABASES
@pytest.mark.parametrize("mode", ["full_refresh", "append", "merge"])
@pytest.mark.parametrize("point", ["extracting", "writing", "written", "loaded", "committed", "ended"])
def test_a_worker_killed_at_any_stage_leaves_no_gap_and_no_duplicate(
    move: Callable[[Mode], Moved], mode: Mode, point: Point, caplog: pytest.LogCaptureFixture
) -> None:
    moved = move(mode)
    before = moved.source_rows
    moved.change(*things(41, 61))
    if mode == "merge":
        moved.change((5, "changed", 1000))
    caplog.set_level(logging.INFO)

    run = moved.broken_run(point)

    published = point in ("committed", "ended")
    assert moved.target.rows() == (moved.source_rows if published else before)
    if point in ("extracting", "writing", "written"):
        assert (run.status, run.error_code) == (RunStatus.FAILED, "run.worker_lost")
        moved.run()
    elif point == "ended":
        assert run.status is RunStatus.SUCCESS
    else:
        assert run.status is RunStatus.PENDING
        output = moved.platform.settings.outputs / str(run.id) / "output.parquet"
        written = output.stat().st_mtime_ns
        moved.execute(run)
        assert moved.stored(run).status is RunStatus.SUCCESS
        assert output.stat().st_mtime_ns == written
        loaded_again = "An earlier attempt has loaded the destination" not in caplog.messages
        assert loaded_again == (point == "loaded")
    assert moved.target.rows() == moved.source_rows
    moved.change((99, "new", 9990))
    moved.run()
    assert moved.target.rows() == moved.source_rows


@DATABASES
def test_an_error_after_the_commit_brings_no_row_twice(move: Callable[[Mode], Moved]) -> None:
    moved = move("append")
    moved.change(*things(41, 61))

    run = moved.broken_run("committed", "raise")
    moved.run()

    assert (run.status, run.error_code) == (RunStatus.FAILED, "connector.crashed")
    assert moved.target.rows() == moved.source_rows


@DATABASES
def test_the_cursor_is_found_in_the_destination_where_the_platform_has_lost_it(
    move: Callable[[Mode], Moved],
) -> None:
    moved = move("append")
    with moved.platform.database.write() as connection:
        connection.execute(delete(states))
    moved.change(*things(41, 61))

    moved.run()

    assert moved.target.rows() == moved.source_rows
    _, state = States(moved.platform, moved.platform.owner()).get(moved.pipeline.id)
    assert state.cursor is not None


@DATABASES
def test_a_reset_while_a_load_waits_for_its_next_attempt_is_for_the_run_after_it(
    move: Callable[[Mode], Moved],
) -> None:
    moved = move("append")
    moved.change(*things(41, 61))
    run = moved.broken_run("loaded")
    moved_states = States(moved.platform, moved.platform.owner())

    moved_states.reset(moved.pipeline.id)
    moved.execute(run)

    assert moved.target.rows() == moved.source_rows
    assert moved_states.get(moved.pipeline.id)[1].demand is StateDemand.RESET
    moved.run()
    assert moved.target.rows() == moved.source_rows
    assert moved_states.get(moved.pipeline.id)[1].demand is None


@DATABASES
def test_a_reset_that_a_killed_load_had_begun_to_follow_replaces_the_table(
    move: Callable[[Mode], Moved],
) -> None:
    moved = move("append")
    moved_states = States(moved.platform, moved.platform.owner())
    moved_states.reset(moved.pipeline.id)
    run = moved.broken_run("loaded")

    moved.execute(run)

    assert moved.target.rows() == moved.source_rows
    assert moved_states.get(moved.pipeline.id)[1].demand is None
