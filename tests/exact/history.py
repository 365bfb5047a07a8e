"""One random history: a source that changes, runs between the changes, faults in some of them.

After each run the destination is compared with what the rules of docs/exactness.md say must be there: as
multisets of rows, computed from the changes alone. A history is its seed: the same seed makes the same one.
"""

import datetime as dt
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

import destinations
import sources
from model import KINDS, Column, Row, Table, difference
from run_worker import FAILED, run_until
from servers import Servers
from sqlalchemy import update
from stored import LIMITS

from headrace import failpoints
from headrace.engine.job import Progress
from headrace.errors import Conflict
from headrace.failpoints import Point
from headrace.records import Run, RunStatus
from headrace.service.execution import RunFailed, execute_run
from headrace.service.lease import RunStopped
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.service.states import States
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.schema import runs

Mode = Literal["full_refresh", "append", "merge"]
Fault = Literal["raise", "kill", "cancel"]
LOG = logging.getLogger("headrace.exact")
_POINTS: tuple[Point, ...] = ("extracting", "writing", "written", "loaded", "committed")
_CURSORS = ("integer", "timestamp", "date")
_START = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - a time without a zone


class Violation(AssertionError):
    """What a destination holds is not what it must hold."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a history is about; all else follows from its random numbers."""

    source: str
    target: str
    mode: Mode
    cursor: str  # the kind of the cursor column


@dataclass
class History:
    """The state of one history while it is played."""

    plan: Plan
    rng: Random
    platform: Platform
    source: Any
    target: Any
    faults: Path
    events: list[str] = field(default_factory=list)
    clock: int = 0  # the cursor's position: it stays or grows
    next_id: int = 1
    delivered: list[Row] = field(default_factory=list)  # full_refresh and append: what the target holds
    merged: dict[int, Row] = field(default_factory=dict)  # merge: the same, by key
    is_reset: bool = False  # the next run reads everything and replaces the table
    late: dict[int, Row] = field(default_factory=dict)  # written in a transaction that is not committed yet

    def play(self) -> None:
        """Play the history. Raises Violation."""
        self.table = self._made_table()
        self.source.create(self.table, "id" if self.plan.mode == "merge" else None)
        self.pipeline = Pipelines(self.platform, self.platform.owner()).create(self._draft())
        for _ in range(self.rng.randint(2, 5)):
            self._change()
            self._maybe_reset()
            self._run()

    def _made_table(self) -> Table:
        lacks = self.source.lacks | self.target.lacks
        kinds = sorted(KINDS.keys() - lacks)
        columns = [Column(name="id", kind="integer"), Column(name="changed", kind=self.plan.cursor)]
        columns += [
            Column(name=f"c{number}", kind=self.rng.choice(kinds)) for number in range(self.rng.randint(1, 6))
        ]
        return Table(columns=columns)

    def _draft(self) -> PipelineDraft:
        keys = (
            {}
            if self.plan.mode == "full_refresh"
            else {"sync_mode": "incremental", "cursor_field": "changed"}
        )
        config = {"name": "things", "source": self.source.config(keys), "destination": self.target.config()}
        return PipelineDraft(name="Things", config=config)

    # Changes

    def _change(self) -> None:
        added = self._added_columns()
        changed: dict[int, Row | None] = {}
        for _ in range(self.rng.choice((0, 1, 2, 5, 20))):
            self.clock += self.rng.choice((0, 0, 1, 7))  # ties are as common as steps
            known = list(self.table.rows)
            what = self.rng.random()
            if known and what < 0.25:
                number = self.rng.choice(known)
                changed[number] = self.table.rows[number] = self._row(number)
            elif known and what < 0.35:
                number = self.rng.choice(known)
                del self.table.rows[number]
                changed[number] = None
            else:
                changed[self.next_id] = self.table.rows[self.next_id] = self._row(self.next_id)
                self.next_id += 1
        self.events.append(f"changed {sorted(changed)}, added {[one.name for one in added]}")
        self._commit_late()
        self.source.write(self.table, changed, added)
        self._write_late()

    def _write_late(self) -> None:
        """Write rows whose cursor is of now, in a transaction that is committed after the next run."""
        if self.rng.random() > 0.3 or not hasattr(self.source, "begin"):
            return
        rows = {
            self.next_id + number: self._row(self.next_id + number)
            for number in range(self.rng.randint(1, 3))
        }
        self.next_id += len(rows)
        self.source.begin(rows)
        self.late = rows
        self.clock += self.rng.choice((0, 1, 7))
        self.events.append(f"wrote {sorted(rows)}, not committed")

    def _commit_late(self) -> None:
        if self.late:
            self.source.commit()
            self.table.rows |= self.late
            self.events.append(f"committed {sorted(self.late)}")
            self.late = {}

    def _maybe_reset(self) -> None:
        """Have the next run read everything and replace the table."""
        if self.plan.mode == "full_refresh" or self.rng.random() > 0.05:
            return
        States(self.platform, self.platform.owner()).reset(self.pipeline.id)
        self.is_reset = True
        self.events.append("reset")

    def _added_columns(self) -> list[Column]:
        if not self.table.rows or self.rng.random() > 0.15:
            return []
        kinds = sorted(KINDS.keys() - self.source.lacks - self.target.lacks)
        column = Column(name=f"late{len(self.table.columns)}", kind=self.rng.choice(kinds))
        self.table.columns.append(column)
        return [column]

    def _row(self, number: int) -> Row:
        row: Row = {"id": number, "changed": self._position()}
        for column in self.table.columns[2:]:
            row[column.name] = None if self.rng.random() < 0.2 else KINDS[column.kind].make(self.rng)
        return row

    def _position(self) -> Any:
        if self.plan.cursor == "integer":
            return self.clock
        moment = _START + dt.timedelta(days=self.clock // 3, seconds=self.clock, microseconds=self.clock % 2)
        return moment.date() if self.plan.cursor == "date" else moment

    # Runs

    def _run(self) -> None:
        before, after = self._expected()
        run = Runs(self.platform, self.platform.owner()).trigger(self.pipeline.id)
        fault = self._fault()
        if fault is not None:
            run = self._broken(run, *fault)
            found = self._found()
            if difference(after, found) and difference(before, found):
                raise Violation(f"after {fault}: against what was there: {difference(before, found)}")
            if run.status is not RunStatus.PENDING:
                run = Runs(self.platform, self.platform.owner()).trigger(self.pipeline.id)
            if self.is_reset and not difference(after, found):
                self._remember()  # the reset was followed, and what comes after it adds to the table
                after = self._expected()[1]
        self._execute(run)
        problem = difference(after, self._found())
        if problem:
            raise Violation(problem)
        self._remember()

    def _fault(self) -> tuple[Point, Fault] | None:
        chance = self.rng.random()
        if chance > 0.25:
            return None
        action: Fault = "kill" if chance < 0.03 else "cancel" if chance < 0.1 else "raise"
        return self.rng.choice(_POINTS), action

    def _execute(self, run: Run, progress: Callable[[Progress], None] = lambda progress: None) -> None:
        execute_run(
            self.platform,
            pipeline_id=self.pipeline.id,
            run_id=run.id,
            dagster_run_id="exact",
            log=LOG,
            progress=progress,
        )
        self.events.append("ran")

    def _cancelled(self, run: Run) -> None:
        """Execute the run, and cancel it at one of the moments at which it reports its progress."""
        moments = self.rng.randint(0, 2)

        def cancel(progress: Progress) -> None:
            nonlocal moments
            if moments == 0:
                with suppress(Conflict):  # it has ended
                    Runs(self.platform, self.platform.owner()).cancel(run.id)
            moments -= 1

        try:
            self._execute(run, cancel)
        except (RunFailed, RunStopped) as error:
            self.events.append(f"stopped: {error}")

    def _broken(self, run: Run, point: Point, action: Fault) -> Run:
        """Execute the run with a fault on its way; what a dead worker leaves is repaired by the platform."""
        self.events.append(f"{action} at {point}")
        if action == "kill":
            code = run_until(self.platform, self.pipeline.id, run.id, point, action, self.faults, must=False)
            if code not in (0, FAILED):
                self._lose_leases()
        elif action == "cancel":
            self._cancelled(run)
        else:
            self._raise_at(run, point)
        return Runs(self.platform, self.platform.owner()).get(run.id)

    def _raise_at(self, run: Run, point: Point) -> None:
        fault = self.faults / f"{point}.{self.pipeline.id}"
        fault.write_text("raise")
        failpoints.use(self.faults)
        try:
            self._execute(run)
        except (RunFailed, RunStopped) as error:
            self.events.append(f"failed: {error}")
        finally:
            failpoints.use(None)
            fault.unlink(missing_ok=True)

    def _lose_leases(self) -> None:
        past = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        with self.platform.database.write() as connection:
            held = runs.c.lease_until.is_not(None)
            connection.execute(update(runs).where(held).values(lease_until=past))
        UpkeepStore(self.platform.database, LIMITS).reap()

    # What must be there

    def _expected(self) -> tuple[Counter[tuple[Any, ...]], Counter[tuple[Any, ...]]]:
        """Return what the destination holds before this run, and what it must hold after it."""
        now = list(self.table.rows.values())
        if self.plan.mode == "full_refresh":
            return self.table.canonical(self.delivered), self.table.canonical(now)
        if self.is_reset:
            before = self.merged.values() if self.plan.mode == "merge" else self.delivered
            return self.table.canonical(before), self.table.canonical(now)
        if self.plan.mode == "merge":
            merged = self.merged | {row["id"]: row for row in now}
            return self.table.canonical(self.merged.values()), self.table.canonical(merged.values())
        new = [row for row in now if not any(row is one for one in self.delivered)]
        return self.table.canonical(self.delivered), self.table.canonical([*self.delivered, *new])

    def _remember(self) -> None:
        now = list(self.table.rows.values())
        if self.is_reset:
            self.delivered, self.merged, self.is_reset = [], {}, False
        if self.plan.mode == "full_refresh":
            self.delivered = now
        elif self.plan.mode == "merge":
            self.merged |= {row["id"]: row for row in now}
        else:
            new = [row for row in now if not any(row is one for one in self.delivered)]
            self.delivered = [*self.delivered, *new]

    def _found(self) -> Counter[tuple[Any, ...]]:
        rows = self.target.rows()
        return self.table.canonical(rows or [])


def plans() -> list[Plan]:
    """Return every pair of a source and a target in every mode that both have."""
    return [
        Plan(source=source, target=target, mode=mode, cursor=cursor)
        for source, system in sources.SOURCES.items()
        for target, kept in destinations.TARGETS.items()
        for mode in get_args(Mode)
        for cursor in (_CURSORS if mode != "full_refresh" else _CURSORS[:1])
        if mode in kept.modes and (mode == "full_refresh" or system.incremental)
    ]


def plan_of(seed: int, servers: Servers) -> Plan:
    """Return the plan of a seed: the plans are gone through in turn."""
    possible = [one for one in plans() if servers.mariadb or "mysql" not in (one.source, one.target)]
    return possible[seed % len(possible)]


@contextmanager
def prepared(seed: int, platform: Platform, servers: Servers) -> Iterator[History]:
    """Make the history of a seed, with systems of its own; remove them at the end."""
    plan = plan_of(seed, servers)
    with tempfile.TemporaryDirectory(prefix="headrace-exact-") as name:
        folder = Path(name)
        (folder / "faults").mkdir()
        with (
            sources.made(plan.source, folder, servers) as source,
            destinations.made(plan.target, folder, servers) as target,
        ):
            yield History(
                plan=plan,
                rng=Random(seed),
                platform=platform,
                source=source,
                target=target,
                faults=folder / "faults",
            )
