"""Plays a history: a source that changes, runs between the changes, faults in some of them.

After each run the destination is compared with what the oracle says must be there, and the run's receipt with
the oracle's own counts.
"""

import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import destinations
import faults
import receipt_check
import rival
import sources
from destinations import Target
from faults import Progressed
from history_steps import (
    Add,
    Begin,
    Break,
    Change,
    Commit,
    Intrude,
    Meanwhile,
    Plan,
    Put,
    Reset,
    Rival,
    Script,
    Step,
    applies,
    described,
)
from history_steps import Run as RunStep
from model import Row, Rows, mistyped
from oracle import SALT, Oracle
from servers import Servers
from source_system import Place, SourceSystem

from headrace.receipts import Receipt
from headrace.records import Run, RunStatus
from headrace.service.execution import RunFailed, execute_run
from headrace.service.lease import RunStopped
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.service.states import States

LOG = logging.getLogger("headrace.exact")
_DROPPING = {
    "python": {"label": "drop", "python": 'if data["id"] % 3 == 0:\n    data = None'},
    "sql": {"label": "drop", "sql": "SELECT * FROM data WHERE id % 3 <> 0"},
}


class Violation(AssertionError):
    """What a destination holds, or what a receipt says, is not what it must be."""


@dataclass(kw_only=True)
class History:
    """The state of one history while it is played."""

    script: Script
    platform: Platform
    source: SourceSystem
    target: Target
    place: Place
    events: list[str] = field(default_factory=list)
    refusals: int = 0
    runs: int = 0

    def __post_init__(self) -> None:
        self.plan = self.script.plan
        self.oracle = Oracle(plan=self.plan, by_file=self.source.by_file, tells_apart=self.source.tells_apart)
        self.late: dict[int, Row] = {}  # written in a transaction that is not committed yet
        self.fault: Break | None = None
        self.pipeline_id: UUID | None = None

    def play(self) -> None:
        """Play the history. Raises Violation."""
        for step in self.script.steps:
            self.events.append(described(step))
            self._take(step)

    def _take(self, step: Step) -> None:
        match step:
            case RunStep():
                self._run()
            case Break():
                self.fault = step
            case Begin():
                self._begin(dict(step.rows))
            case Commit():
                self._commit()
            case Meanwhile():
                self.oracle.meanwhile = dict(step.rows)
            case Reset():
                self._reset()
            case Intrude():
                self._create()
                rival.intrude(self.platform, self.target, self.place, self.plan)
            case Rival():
                self._create()
                self.oracle.rivals += self.rival.add(step.ids)
            case _:
                self._change(step)

    def _create(self) -> None:
        """Make the table and the pipeline, once the first columns are there."""
        if self.pipeline_id is not None:
            return
        self.source.create(self.oracle.table)
        self.pipeline_id = Pipelines(self.platform, self.platform.owner()).create(self._draft()).id
        self.rival = rival.SharedPipeline(self.platform, self.target, self.place, self.source.key)

    def _draft(self) -> PipelineDraft:
        config = {
            "name": "things",
            "source": self.source.config(),
            "destination": {**self.target.config(), "shared": self.plan.shared},
            "transforms": transforms(self.plan),
        }
        return PipelineDraft(name="Things", config=config)

    # Changes

    def _change(self, step: Change) -> None:
        if self.pipeline_id is None and not isinstance(step, Add):
            self._create()
        self._commit()
        if not applies(self.oracle.table, step):
            return
        if self.pipeline_id is not None:
            self.source.note(self.oracle.table, step)
        self.oracle.change(step)

    def _begin(self, rows: dict[int, Row]) -> None:
        self._create()
        self._commit()
        self.source.write(self.oracle.table)
        self.source.begin(self.oracle.table, rows)
        self.late = rows

    def _commit(self) -> None:
        late, self.late = self.late, {}
        if late:
            self.source.commit()
        for number, row in late.items():
            self.oracle.change(Put(number=number, row=row))

    def _reset(self) -> None:
        self._create()
        assert self.pipeline_id is not None, "it was created"
        States(self.platform, self.platform.owner()).reset(self.pipeline_id)
        self.oracle.is_reset = True

    # Runs

    def _run(self) -> None:
        self._create()
        self.source.write(self.oracle.table)
        if self.oracle.meanwhile:
            self.source.meanwhile(self.oracle.table, self.oracle.meanwhile)
        run = self._triggered()
        fault, self.fault = self.fault, None
        if fault is not None:
            run = self._after_fault(run, fault)
        try:
            receipt = self._execute(run)
        except RunFailed as error:
            self._refused(error)
        else:
            self._succeeded(receipt, is_checked=fault is None)
        self.oracle.settle()

    def _after_fault(self, run: Run, fault: Break) -> Run:
        """Meet the fault; return the run to go on with."""
        before, after = self.oracle.before(), self.oracle.after()
        run = faults.broken(self.platform, run, fault, self.place.folder / "faults", self._tries)
        found = self._found()
        has_loaded = not after.problem(found)
        if not has_loaded and before.problem(found):
            raise Violation(f"after a fault: against what was there: {before.problem(found)}")
        if has_loaded and before.problem(found):
            self.oracle.remember(found)
        return run if run.status is RunStatus.PENDING else self._triggered()

    def _succeeded(self, receipt: Receipt, *, is_checked: bool) -> None:
        self.events.append("-> loaded")
        after, found = self.oracle.after(), self._found()
        problem = after.problem(found) or self._mistyped()
        if not problem and is_checked:
            problem = receipt_check.problem(receipt, self.oracle, found)
            problem = problem or receipt_check.uncounted_nulls(receipt, self.oracle, self.source)
        if problem:
            raise Violation(problem)
        self.runs += 1
        self.oracle.remember(found)

    def _refused(self, error: RunFailed) -> None:
        """A drift that the target cannot hold is refused, and leaves everything as it was."""
        self.events.append(f"-> {error.cause_code}: {error.detail}")
        if not may_refuse(self.plan, error, self.oracle.columns()):
            raise Violation(f"the run failed: {error.cause_code}: {error.detail}") from error
        problem = self.oracle.before().problem(self._found())
        if problem:
            raise Violation(f"after a refusal: {problem}")
        self.refusals += 1

    def _triggered(self) -> Run:
        assert self.pipeline_id is not None, "it was created"
        return Runs(self.platform, self.platform.owner()).trigger(self.pipeline_id)

    def _execute(self, run: Run, progress: Progressed = lambda progress: None) -> Receipt:
        done = execute_run(
            self.platform,
            pipeline_id=run.pipeline_id,
            run_id=run.id,
            dagster_run_id="exact",
            log=LOG,
            progress=progress,
        )
        return done.result.receipt

    def _tries(self, run: Run, progress: Progressed) -> None:
        """Execute a run that may fail."""
        try:
            self._execute(run, progress)
        except (RunFailed, RunStopped) as error:
            self.events.append(f"-> {error.code}: {error.detail}")

    def _found(self) -> Rows:
        return self.oracle.canonical(self.target.rows() or [])

    def _mistyped(self) -> str:
        if self.plan.drifts or not (self.source.has_types and self.target.has_types):
            return ""
        return mistyped(self.target.rows() or [], self.oracle.columns())


def may_refuse(plan: Plan, error: RunFailed, kinds: Mapping[str, str]) -> bool:
    """Whether docs/types.md lets a run be refused: a column became what its table cannot hold."""
    if error.cause_code != "destination.schema_conflict" or not plan.is_incremental:
        return False
    if plan.shared:
        return True  # a column without values keeps the type that it was made with
    named = re.search(r"'(\w+)'", error.detail)
    if named and kinds.get(named[1]) == "json":
        return plan.source in ("rest", "files", "python")  # objects in one run, lists in the next
    return plan.drifts or plan.source == "csv"  # a CSV file has the types that it shows


def transforms(plan: Plan) -> list[dict[str, Any]]:
    """Return the plan's transforms as a pipeline has them."""

    def keys(what: str) -> list[str]:
        return [key for one, key in plan.transforms if one == what]

    columns: dict[str, Any] = {}
    if keys("exclude"):
        columns["exclude"] = keys("exclude")
    if keys("hash"):
        columns["hash"] = {"columns": keys("hash"), "salt": SALT}
    if keys("rename"):
        columns["rename"] = {key: f"r_{key}" for key in keys("rename")}
    steps = [{"label": "columns", "columns": columns}] if columns else []
    return steps + [_DROPPING[how] for how in keys("drop")]


@contextmanager
def prepared(script: Script, platform: Platform, servers: Servers) -> Iterator[History]:
    """Make the systems of a history; remove them at the end."""
    with tempfile.TemporaryDirectory(prefix="headrace-exact-") as name:
        place = Place(folder=Path(name), connectors=platform.settings.connectors, servers=servers)
        with (
            sources.made(place, script.plan) as source,
            destinations.made(script.plan.target, place) as target,
        ):
            yield History(script=script, platform=platform, source=source, target=target, place=place)
