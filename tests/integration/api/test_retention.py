"""Retention over simulated days: a real store, outputs on disk, and Dagster in memory."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from fakes.dagster import FakeDagster
from sqlalchemy import Connection, Table, func, insert, select
from stored import store_pipeline

from headrace.records import Page, RunStatus, SlotOutcome
from headrace.store.database import Database
from headrace.store.lifecycle.retention import Keep, RetentionStore
from headrace.store.lifecycle.slots import ScheduleLedger
from headrace.store.migrations import migrate
from headrace.store.runs import RunStore
from headrace.store.schema import attempts, idempotency_keys, runs, slots
from headrace.store.tokens import Installation
from headrace_api.control.run_remover import RunRemover

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
KEEP = Keep(age=timedelta(days=10), newest=3, most=40)
OUTPUT = bytes(20_000)


class Killed(BaseException):
    """Simulates a kill at the line that raises it."""


class LaterDatabase(Database):
    """A database whose clock the test sets."""

    clock = BEGIN

    def now(self, connection: Connection) -> datetime:
        return self.clock


class World:
    """An installation with its outputs."""

    def __init__(self, database: LaterDatabase, outputs: Path) -> None:
        self.database, self.outputs, self.dagster = database, outputs, FakeDagster()
        self.organization_id = Installation(database).organization()
        self.retention = RetentionStore(database, KEEP)
        self.remover = RunRemover(self.retention, self.dagster, outputs)

    def pipeline(self) -> UUID:
        return store_pipeline(self.database, self.organization_id).id

    def run(self, pipeline_id: UUID, **changes: Any) -> UUID:
        """Store a run that ended just now, with everything that a run leaves behind."""
        self._store([self._traces(pipeline_id, uuid4(), **changes)])
        return self._newest

    def runs_of(self, pipeline_id: UUID, count: int) -> list[UUID]:
        """Store runs an hour apart, oldest first."""
        made, traces = [], []
        for _ in range(count):
            self.database.clock += timedelta(hours=1)
            traces.append(self._traces(pipeline_id, uuid4()))
            made.append(self._newest)
        self._store(traces)
        return made

    def _store(self, traces: list[dict[Table, dict[str, Any]]]) -> None:
        with self.database.write() as connection:
            for table in (runs, attempts, slots, idempotency_keys):
                connection.execute(insert(table), [rows[table] for rows in traces])

    def _traces(self, pipeline_id: UUID, run_id: UUID, **changes: Any) -> dict[Table, dict[str, Any]]:
        self._newest, now = run_id, self.database.clock
        run = {
            "id": run_id, "organization_id": self.organization_id, "pipeline_id": pipeline_id,
            "status": "success", "triggered_by": "schedule", "scheduled_at": now, "attempt": 2,
            "created_at": now, "started_at": now, "finished_at": now, "launches": 1, "fence": 1,
            "dagster_run_id": self.dagster.add(run_id, RunStatus.SUCCESS, pipeline_id=pipeline_id),
        }  # fmt: skip
        earlier = {"run_id": run_id, "attempt": 1, "finished_at": now, "error_code": "x", "error": "x",
                   "dagster_run_id": self.dagster.add(None, RunStatus.FAILED)}  # fmt: skip
        slot = {"pipeline_id": pipeline_id, "scheduled_at": now, "outcome": SlotOutcome.RUN,
                "run_id": run_id, "created_at": now}  # fmt: skip
        key = {"id": uuid4(), "organization_id": self.organization_id, "key": str(run_id),
               "request": "0" * 64, "created_at": now}  # fmt: skip
        folder = self.outputs / str(run_id)
        folder.mkdir(parents=True)
        (folder / "output.parquet").write_bytes(OUTPUT)
        return {runs: run | changes, attempts: earlier, slots: slot, idempotency_keys: key}

    def upkeep(self) -> None:
        """Do what a service's loops do, until none has more to do."""
        while self.remover.work():
            pass
        while self.retention.prune():
            pass

    def rows(self, table: Table) -> int:
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def kept(self) -> set[UUID]:
        with self.database.read() as connection:
            return set(connection.execute(select(runs.c.id)).scalars())

    def size(self) -> dict[str, int]:
        """Count everything that is kept."""
        tables = (runs, attempts, slots, idempotency_keys)
        return {
            **{table.name: self.rows(table) for table in tables},
            "outputs": sum(file.stat().st_size for file in self.outputs.rglob("*") if file.is_file()),
            "dagster": len(self.dagster.known),
        }


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    database = LaterDatabase(database_url)
    migrate(database)
    yield World(database, tmp_path / "outputs")
    database.close()


def test_the_size_of_everything_kept_levels_off(world: World, tmp_path: Path) -> None:
    busy, seldom = world.pipeline(), world.pipeline()
    sizes, files = {}, {}

    for day in range(1, 61):
        world.runs_of(busy, 6)
        world.database.clock = BEGIN + timedelta(days=day)
        if day % 15 == 0:
            world.run(seldom)
        world.upkeep()
        sizes[day] = world.size()
        files[day] = sum(file.stat().st_size for file in tmp_path.glob("records.db"))

    # The newest 40 of the busy pipeline, and the newest 3 of the other, two of them older than 10 days.
    assert sizes[60] == {
        "runs": 43,
        "attempts": 43,
        "slots": 10 * 6 + 1,
        "idempotency_keys": 6 + 1,
        "outputs": 43 * len(OUTPUT),
        "dagster": 2 * 43,
    }
    early, late = sizes[20], [sizes[day] for day in range(45, 61)]
    assert all(size[what] <= early[what] + 4 for size in late for what in size if what != "outputs")
    assert files[60] <= files[30] * 1.1


def test_the_newest_runs_stay_whatever_their_age(world: World) -> None:
    made = world.runs_of(world.pipeline(), 5)
    world.database.clock += timedelta(days=400)

    world.upkeep()

    assert world.kept() == set(made[-3:])


def test_recent_runs_stay_up_to_the_maximum_per_pipeline(world: World) -> None:
    made = world.runs_of(world.pipeline(), 43)

    world.upkeep()

    assert world.kept() == set(made[-40:])


def test_active_runs_and_runs_still_to_be_stopped_stay(world: World) -> None:
    pipelines = [world.pipeline() for _ in range(2)]
    going = world.run(pipelines[0], status="running", lease_until=BEGIN, finished_at=None)
    stopping = world.run(pipelines[1], status="cancelled", stop_at=BEGIN)
    for pipeline in pipelines:
        world.runs_of(pipeline, 3)
    world.database.clock += timedelta(days=400)

    world.upkeep()

    assert {going, stopping} <= world.kept()


def test_a_run_that_is_still_active_in_dagster_is_stopped_first(world: World) -> None:
    pipeline = world.pipeline()
    old = world.run(pipeline)
    late = world.dagster.add(old, RunStatus.RUNNING)
    world.dagster.stops_at_once = False
    world.runs_of(pipeline, 3)
    world.database.clock += timedelta(days=400)

    world.remover.work()
    while_it_ran = world.kept()
    world.dagster.end(late, RunStatus.CANCELLED)
    world.remover.work()

    assert old in while_it_ran
    assert (world.outputs / str(old)).exists() is False
    assert old not in world.kept()
    assert late not in world.dagster.known


@pytest.mark.parametrize("line", ["delete_run", "find_by_run_tag", "forget"])
def test_a_kill_at_any_line_leaves_a_run_that_the_next_round_removes(
    world: World, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = world.pipeline()
    world.runs_of(pipeline, 6)
    world.database.clock += timedelta(days=400)
    part = world.retention if line == "forget" else world.dagster

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(part, line, kill)
        with pytest.raises(Killed):
            world.remover.work()
    after_the_kill = world.rows(runs)
    world.upkeep()

    assert after_the_kill == 6
    assert (world.rows(runs), len(world.dagster.known), len(list(world.outputs.iterdir()))) == (3, 6, 3)


def test_two_services_at_once_remove_the_same_runs_without_harm(world: World) -> None:
    pipelines = [world.pipeline() for _ in range(3)]
    made = {pipeline: world.runs_of(pipeline, 20) for pipeline in pipelines}
    world.database.clock += timedelta(days=400)
    failures: list[Exception] = []
    start = Barrier(2)

    def serve() -> None:
        remover = RunRemover(RetentionStore(world.database, KEEP), world.dagster, world.outputs)
        start.wait()
        try:
            while remover.work():
                pass
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    newest = {run for pipeline in pipelines for run in made[pipeline][-3:]}
    assert failures == []
    assert world.kept() == newest
    assert {UUID(folder.name) for folder in world.outputs.iterdir()} == newest


def test_files_that_cannot_be_deleted_do_not_hold_up_other_runs(world: World) -> None:
    pipeline = world.pipeline()
    made = world.runs_of(pipeline, 5)
    folder = world.outputs / str(made[0])
    (folder / "output.parquet").unlink()
    folder.rmdir()
    folder.write_text("no folder")
    world.database.clock += timedelta(days=400)

    world.upkeep()

    assert world.kept() == {made[0], *made[-3:]}


def test_old_slots_of_a_schedule_are_deleted_but_never_a_waiting_one(world: World) -> None:
    pipeline = world.pipeline()
    world.runs_of(pipeline, 1)
    waiting = {"pipeline_id": pipeline, "scheduled_at": BEGIN, "outcome": SlotOutcome.WAITING,
               "created_at": BEGIN}  # fmt: skip
    with world.database.write() as connection:
        connection.execute(insert(slots).values(waiting))
    world.database.clock += timedelta(days=11)
    world.runs_of(pipeline, 1)

    world.upkeep()

    ledger = ScheduleLedger(world.database, world.organization_id)
    left, _ = ledger.list(pipeline, Page())
    assert [slot.outcome for slot in left] == [SlotOutcome.RUN, SlotOutcome.WAITING]
    assert len(RunStore(world.database, world.organization_id).list(Page(), pipeline_id=pipeline)[0]) == 2


def test_a_pipelines_newest_slot_stays_to_show_which_were_missed_since(world: World) -> None:
    pipeline = world.pipeline()
    world.runs_of(pipeline, 2)
    newest = world.database.clock
    world.database.clock += timedelta(days=400)

    world.upkeep()

    left, _ = ScheduleLedger(world.database, world.organization_id).list(pipeline, Page())
    assert [slot.scheduled_at for slot in left] == [newest]


def test_with_both_limits_off_everything_is_kept(world: World) -> None:
    made = world.runs_of(world.pipeline(), 5)
    world.database.clock += timedelta(days=4000)

    expired = RetentionStore(world.database, Keep(age=None, newest=1, most=None)).expired(10)

    assert list(expired) == []
    assert world.kept() == set(made)
