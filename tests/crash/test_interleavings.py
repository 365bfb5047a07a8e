"""Every order of what dispatchers, workers, clients and control loops do to one run, on a real store.

A loop's round takes several transactions. Here others come between them, whenever the loop talks to Dagster,
and it may be killed there. This is the small variant of `make crash`: one process, no waiting, many orders.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from effort import times
from fakes.dagster import FakeDagster
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update
from stored import LIMITS, store_pipeline

from headrace.errors import HeadraceError
from headrace.records import Page, Run, RunPhase, RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.leases import AlreadyTaken, Ending, LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunAlreadyActive, RunStore
from headrace.store.schema import pipelines, runs
from headrace.store.tokens import Installation
from headrace_api.control.dispatcher import Dispatcher
from headrace_api.control.reaper import Reaper
from headrace_api.control.reconciler import Reconciler
from headrace_api.control.terminator import Terminator

pytestmark = pytest.mark.slow

_LONG = timedelta(hours=2)
_EXAMPLES = times("ORDERS", 15, 500)
_ROUNDS = 40  # so many rounds of all loops must end everything
_LOOPS = ("dispatcher", "reconciler", "terminator", "reaper")
_ENDINGS = (
    Ending(status=RunStatus.SUCCESS, rows=1),
    Ending(status=RunStatus.FAILED, error_code="source.refused", error="Refused."),
    Ending(status=RunStatus.FAILED, error_code="source.away", error="Away.", may_pass=True),
)


class _Killed(BaseException):
    """The loop's process was killed."""


class _Interrupted(FakeDagster):
    """A Dagster whose callers are interrupted: others work before it answers."""

    between: Callable[[], None] = staticmethod(lambda: None)

    def _called(self, name: str) -> None:
        super()._called(name)
        self.between()


@dataclass(kw_only=True)
class _Worker:
    """A process that Dagster has started."""

    dagster_run_id: str
    run_id: UUID
    run: Run | None = None  # once it has claimed
    is_alive: bool = True


class Interleavings(RuleBasedStateMachine):
    """One pipeline, whose runs come and go."""

    migrated: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-crash-"))
        self.database = Database(f"sqlite:///{shutil.copy(self.migrated, self.folder / 'records.db')}")
        organization_id = Installation(self.database).organization()
        self.pipeline_id = store_pipeline(self.database, organization_id).id
        self.store = RunStore(self.database, organization_id)
        self.leases = LeaseStore(self.database, timedelta(seconds=15))
        self.dagster = _Interrupted()
        self.dagster.between = self._come_between
        upkeep = UpkeepStore(self.database, LIMITS)
        self.loops = {
            "dispatcher": Dispatcher(upkeep, self.dagster),
            "reconciler": Reconciler(upkeep, self.dagster),
            "terminator": Terminator(upkeep, self.dagster),
            "reaper": Reaper(upkeep),
        }
        self.interruptions: list[str] = []
        self.workers: dict[str, _Worker] = {}
        self.ended: dict[UUID, tuple[RunStatus, object]] = {}
        self.claims: dict[tuple[UUID, int], str] = {}

    @initialize(attempts=st.integers(1, 3))
    def allow_attempts(self, attempts: int) -> None:
        """Have errors that may pass lead to further attempts."""
        with self.database.write() as connection:
            policy = f'{{"max_attempts": {attempts}, "retry_delay_seconds": 1}}'
            connection.execute(update(pipelines).values(policy=policy))

    # Clients

    @rule()
    def trigger(self) -> None:
        """Trigger a run."""
        with suppress(RunAlreadyActive):
            self.store.create(self.pipeline_id)

    @rule()
    def cancel(self) -> None:
        """Cancel the newest run."""
        for run in self._runs()[:1]:
            with suppress(HeadraceError):
                self.store.cancel(run.id)

    # Loops

    @rule(loop=st.sampled_from(_LOOPS))
    def work(self, loop: str) -> None:
        """Let a loop work one round, as any of the processes that have it."""
        with suppress(HeadraceError, _Killed):
            self.loops[loop].work()

    @rule(what=st.sampled_from((*_LOOPS, "kill", "claim", "cancel", "end", "die", "time", "lose")))
    def interrupt(self, what: str) -> None:
        """Have something come between when a loop next talks to Dagster."""
        self.interruptions.append(what)

    @rule()
    def pass_time(self) -> None:
        """Let every lease and delay run out."""
        with self.database.write() as connection:
            for column in (runs.c.launch_at, runs.c.stop_at, runs.c.lease_until):
                held = connection.execute(select(runs.c.id, column).where(column.is_not(None))).all()
                for run_id, value in held:
                    moved = {column.name: value - _LONG}
                    connection.execute(update(runs).where(runs.c.id == run_id).values(moved))
        for dagster_run_id in self.dagster.known:
            self.dagster.age(dagster_run_id, _LONG.total_seconds())

    # Workers

    @rule(place=st.integers(0, 5))
    def claim(self, place: int = 0) -> None:
        """Have a process claim its run."""
        waiting = [worker for worker in self._living() if worker.run is None]
        if not waiting:
            return
        worker = waiting[place % len(waiting)]
        try:
            worker.run = self.leases.claim(worker.run_id, worker.dagster_run_id).run
        except AlreadyTaken:
            self._exit(worker, RunStatus.CANCELLED)
            return
        key = (worker.run_id, worker.run.fence)
        assert key not in self.claims, f"{self.claims[key]} and {worker.dagster_run_id} have {key}"
        self.claims[key] = worker.dagster_run_id

    @rule(place=st.integers(0, 5), phase=st.sampled_from((RunPhase.EXTRACT, RunPhase.LOAD)))
    def renew(self, place: int, phase: RunPhase) -> None:
        """Have a worker renew its lease; one that has lost it exits."""
        for worker in self._claimed()[place : place + 1]:
            assert worker.run is not None
            if not self.leases.renew(worker.run, phase=phase, rows=1, bytes_=1):
                self._exit(worker, RunStatus.CANCELLED)

    @rule(place=st.integers(0, 5), ending=st.sampled_from(_ENDINGS))
    def end(self, place: int = 0, ending: Ending = _ENDINGS[0]) -> None:
        """Have a worker write its result, and exit or be killed before Dagster hears of it."""
        for worker in self._claimed()[place : place + 1]:
            assert worker.run is not None
            was_ended = worker.run.id in self.ended
            written = self.leases.end(worker.run, ending)
            assert not (written and was_ended), "a run that had ended took a result"
            self._exit(worker, ending.status if written else RunStatus.CANCELLED)

    @rule(place=st.integers(0, 5), is_seen=st.booleans())
    def die(self, place: int = 0, is_seen: bool = False) -> None:
        """Kill a worker; Dagster may see it."""
        for worker in self._living()[place : place + 1]:
            worker.is_alive = False
            if is_seen:
                self.dagster.end(worker.dagster_run_id, RunStatus.FAILED)

    @precondition(lambda self: self.dagster.known)
    @rule()
    def lose_answers(self) -> None:
        """Have Dagster do what the next round asks, and not answer."""
        self.dagster.forgets_to_answer = True
        self.work("dispatcher")
        self.dagster.forgets_to_answer = False

    # What must hold

    @invariant()
    def ended_runs_stay_as_they_are(self) -> None:
        """A run that has ended never changes its state."""
        for run in self._runs():
            if run.status.is_terminal:
                known = self.ended.setdefault(run.id, (run.status, run.finished_at))
                assert known == (run.status, run.finished_at)

    def teardown(self) -> None:
        """Let the loops work without a fault: all must end, here and in Dagster."""
        try:
            self.interruptions.clear()
            for _ in range(_ROUNDS):
                self.pass_time_for_waiting()
                for loop in self.loops.values():
                    loop.work()
                self._let_workers_finish()
                if self._is_over():
                    break
            self.ended_runs_stay_as_they_are()
            rows = [(run.status, run.attempt, run.dagster_run_id) for run in self._runs()]
            assert self._is_over(), f"{_ROUNDS} rounds did not end {rows}; Dagster has {self.dagster.known}"
        finally:
            self.database.close()
            shutil.rmtree(self.folder)

    def pass_time_for_waiting(self) -> None:
        """Let time pass; workers that live have renewed by then."""
        self.pass_time()
        for worker in self._claimed():
            assert worker.run is not None
            self.leases.renew(worker.run, phase=RunPhase.EXTRACT, rows=1, bytes_=1)

    # What the rules need

    def _come_between(self) -> None:
        if not self.interruptions:
            return
        what = self.interruptions.pop()
        if what == "kill":
            raise _Killed
        doers: dict[str, Callable[[], None]] = {
            "claim": self.claim, "cancel": self.cancel, "end": self.end, "die": self.die,
            "time": self.pass_time, "lose": self.lose_answers,
        }  # fmt: skip
        if what in doers:
            doers[what]()
        else:
            self.work(what)

    def _runs(self) -> list[Run]:
        return list(self.store.list(Page())[0])

    def _living(self) -> list[_Worker]:
        """Return the processes of Dagster's runs; one that Dagster has stopped is gone."""
        for dagster_run_id, known in self.dagster.known.items():
            run_id = self.dagster.run_ids[dagster_run_id]
            if dagster_run_id not in self.workers and run_id is not None:
                self.workers[dagster_run_id] = _Worker(dagster_run_id=dagster_run_id, run_id=run_id)
            if known.status.is_terminal:
                self.workers[dagster_run_id].is_alive = False
        return [worker for worker in self.workers.values() if worker.is_alive]

    def _claimed(self) -> list[_Worker]:
        return [worker for worker in self._living() if worker.run is not None]

    def _exit(self, worker: _Worker, status: RunStatus) -> None:
        worker.is_alive = False
        self.dagster.end(worker.dagster_run_id, status)

    def _let_workers_finish(self) -> None:
        for _ in self._living():
            self.claim()
        for _ in self._claimed():
            self.end()

    def _is_over(self) -> bool:
        with self.database.read() as connection:
            stops = connection.execute(select(runs.c.id).where(runs.c.stop_at.is_not(None))).all()
        return (
            all(run.status.is_terminal for run in self._runs())
            and all(known.status.is_terminal for known in self.dagster.known.values())
            and not stops
        )


def test_whatever_comes_between_every_run_ends_once_and_in_dagster_too(migrated_sqlite: Path) -> None:
    Interleavings.migrated = migrated_sqlite

    run_state_machine_as_test(
        Interleavings, settings=settings(max_examples=_EXAMPLES, stateful_step_count=25)
    )
