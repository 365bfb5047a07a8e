"""State belongs to what it is of: a change of source, stream, cursor field or table starts anew or fails."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from headrace.connectors import (
    Checkpoint,
    Destination,
    Loaded,
    LoadRequest,
    LoadResult,
    MovedOn,
    ReadRequest,
    Source,
    Stream,
    SyncMode,
    Unreachable,
)
from headrace.engine.job import EngineJob, EngineResult
from headrace.engine.run import run_pipeline
from headrace.engine.start import OtherState, SharedReset
from headrace.engine.tally import SumsDisagree
from headrace.pipeline.document import PipelineConfig
from headrace.records import State, StateDemand


class Numbers(Source):
    """Rows of one system, `number` of them."""

    name: ClassVar[str] = "numbers"
    title: ClassVar[str] = "Numbers"
    address_fields: ClassVar[tuple[str, ...]] = ("host",)

    host: str = "a.example"
    password: str = "one"
    number: int = 3
    key: tuple[str, ...] = ()
    ends_at: int | None = None  # where the next run goes on, if that is not the last number
    is_away: bool = False

    def describe(self, stream: str) -> Stream:
        if self.is_away:
            raise Unreachable("No answer.")
        return Stream(name=stream, primary_key=self.key)

    def read(self, request: ReadRequest) -> Iterator:
        yield [{"id": n, "other": n} for n in range(1, self.number + 1) if n > (request.cursor or 0)]
        if self.ends_at is not None:
            yield Checkpoint(cursor=self.ends_at)


class Table(Destination):
    """One table in memory, with a record of its last load."""

    name: ClassVar[str] = "table"
    title: ClassVar[str] = "Table"

    table: str = "things"
    rows: list = Field([])
    loads: list = Field([])
    between: list = Field([])  # done right before the next load, once
    failure: list = Field([])  # raised after the next load, once
    answers: list = Field([])  # given in the place of the next load's figures, once
    asks: bool = True  # whether the figures are right, before the commit

    def target(self, stream: str) -> dict[str, Any]:
        return {"table": self.table}

    def load(self, request: LoadRequest) -> LoadResult:
        if self.between:
            self.between.pop()()
        last = self.loads[-1] if self.loads else None
        if request.continues and request.previous_load != (last and last.load_id):
            raise MovedOn("Another load came between.")
        found = [row for batch in request.output.batches() for row in batch.to_pylist()]
        rows = found if request.disposition == "replace" else self.rows + found
        result = LoadResult(rows=len(found), location="memory", inserted=len(found), total=len(rows))
        answer = self.answers.pop() if self.answers else result
        if self.asks:
            request.check_result(answer)
        self.rows[:] = rows
        self.loads.append(request)
        if self.failure:
            raise self.failure.pop()
        return answer

    def last_load(self, pipeline_id: str) -> Loaded | None:
        if not self.loads:
            return None
        last = self.loads[-1]
        return Loaded(load_id=last.load_id, cursor=last.cursor, identity=last.identity)


class Noting(Table):
    """A destination that stores a cursor without rows."""

    def advance(self, request: LoadRequest) -> bool:
        if not self.loads:
            return False
        if request.continues and request.previous_load != self.loads[-1].load_id:
            raise MovedOn("Another load came between.")
        self.loads.append(request)
        if self.failure:
            raise self.failure.pop()
        return True


class Forgetful(Table):
    """A destination that keeps no record."""

    last_load = Destination.last_load


class World:
    """One pipeline, its table and the platform's copy of its state, over several runs."""

    def __init__(self, folder: Any, destination: Destination | None = None) -> None:
        self.table: Any = destination or Table()
        self.state = State()
        self.warnings: list[str] = []
        self._folder = folder
        self.config = PipelineConfig(
            name="things",
            source=Numbers(),
            source_name="numbers",
            stream="things",
            sync_mode=SyncMode.INCREMENTAL,
            cursor_field="id",
            max_iterations=None,
            destination=self.table,
            destination_name="table",
        )

    def change(self, source: Source | None = None, **config: Any) -> None:
        self.config = replace(self.config, **({"source": source} if source else {}), **config)

    def run(self, run_id: UUID | None = None) -> EngineResult:
        run_id = run_id or uuid4()
        job = EngineJob(
            output_path=self._folder / f"{run_id}.parquet",
            pipeline_id="p",
            run_id=str(run_id),
            log=logging.getLogger("test.start"),
            state=self.state,
        )
        try:
            result = run_pipeline(self.config, job)
        finally:
            self.warnings = [each.code for each in job.tally.receipt().warnings]
        load_id = run_id if result.has_loaded else self.state.load_id
        self.state = State(cursor=result.cursor, load_id=load_id, identity=result.identity)
        return result

    def ids(self) -> list[int]:
        return [row["id"] for row in self.table.rows]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_an_unchanged_pipeline_goes_on(world: World) -> None:
    world.run()
    world.change(Numbers(number=5, password="two"))

    world.run()

    assert world.ids() == [1, 2, 3, 4, 5]
    assert world.warnings == []


@pytest.mark.parametrize(
    "other",
    [
        {"source": Numbers(host="b.example")},
        {"stream": "others"},
        {"source_name": "numerals"},
        {"cursor_field": "other"},
    ],
)
def test_rows_of_other_data_are_not_mixed_into_a_table(world: World, other: dict[str, Any]) -> None:
    world.run()
    world.change(**other)

    with pytest.raises(OtherState, match="rows") as refused:
        world.run()

    assert "reset" in refused.value.hint.lower()
    assert "adopt" in refused.value.hint
    assert world.ids() == [1, 2, 3]


def test_the_choice_to_reset_replaces_the_table(world: World) -> None:
    world.run()
    world.change(stream="others")
    world.state = replace(world.state, cursor=None, demand=StateDemand.RESET)

    world.run()

    assert world.ids() == [1, 2, 3]
    assert world.run().rows == 0


def test_the_choice_to_adopt_loads_all_beside_the_earlier_rows(world: World) -> None:
    world.run()
    world.change(stream="others", adopt=True)

    world.run()

    assert world.ids() == [1, 2, 3, 1, 2, 3]
    assert world.warnings == ["state.other_data"]
    assert world.run().rows == 0


def test_another_cursor_field_starts_anew_where_rows_are_merged(world: World) -> None:
    world.change(Numbers(key=("id",)))
    world.run()
    world.change(cursor_field="other")

    assert world.run().rows == 3
    assert world.table.loads[-1].disposition == "merge"
    assert world.warnings == ["state.other_cursor"]


def test_another_table_is_filled_from_the_beginning(world: World) -> None:
    world.run()
    world.table = Table(table="elsewhere")
    world.table.loads.extend(world.config.destination.loads)
    world.change(destination=world.table)

    world.run()

    assert world.ids() == [1, 2, 3]
    assert world.warnings == ["state.other_table"]


def test_a_table_that_is_gone_is_filled_from_the_beginning(world: World) -> None:
    world.run()
    world.table.rows.clear()
    world.table.loads.clear()

    world.run()

    assert world.ids() == [1, 2, 3]
    assert world.warnings == ["state.table_gone"]


def test_a_record_of_a_table_that_is_gone_counts_for_nothing(world: World, monkeypatch) -> None:
    world.run()
    gone = replace(world.table.last_load("p"), table_exists=False)
    monkeypatch.setattr(Table, "last_load", lambda self, pipeline_id: gone)

    assert world.run().rows == 3
    assert world.warnings == ["state.table_gone"]


def test_the_platform_s_copy_is_believed_where_the_destination_keeps_no_record(tmp_path) -> None:
    world = World(tmp_path, Forgetful())
    world.table.loads.clear()
    world.run()
    world.table.loads.clear()
    world.change(Numbers(number=4))

    world.run()

    assert world.ids() == [1, 2, 3, 4]
    world.change(stream="others")
    with pytest.raises(OtherState):
        world.run()


def test_state_of_an_older_release_is_believed_once_and_stamped(world: World) -> None:
    world.run()
    world.table.loads[-1] = replace(world.table.loads[-1], identity="")
    world.state = replace(world.state, identity="")

    result = world.run()

    assert result.rows == 0
    world.change(stream="others")
    with pytest.raises(OtherState):
        world.run()


def test_a_pipeline_that_was_a_full_refresh_replaces_its_table_once(world: World) -> None:
    world.change(sync_mode=SyncMode.FULL_REFRESH, cursor_field=None)
    world.run()
    world.change(sync_mode=SyncMode.INCREMENTAL, cursor_field="id")

    world.run()
    world.change(Numbers(number=4))
    world.run()

    assert world.ids() == [1, 2, 3, 4]


def test_a_load_that_came_between_is_gone_on_from(world: World) -> None:
    world.run()
    world.change(Numbers(number=5))
    late = replace(world.table.loads[-1], load_id="late", cursor=5)

    def commit_late() -> None:
        world.table.rows.extend({"id": n} for n in (4, 5))
        world.table.loads.append(late)

    world.table.between.append(commit_late)

    result = world.run()

    assert world.ids() == [1, 2, 3, 4, 5]
    assert (result.rows, result.cursor) == (0, 5)


def test_an_error_after_the_commit_is_a_warning(world: World) -> None:
    world.table.failure.append(Unreachable("The connection was lost."))

    result = world.run()

    assert (result.rows, result.cursor["value"], world.ids()) == (3, 3, [1, 2, 3])
    assert world.warnings == ["load.failed_after_commit"]


def test_a_shared_table_is_not_reset_where_rows_are_appended(world: World) -> None:
    world.run()
    world.change(shared=True)
    world.state = replace(world.state, cursor=None, demand=StateDemand.RESET)

    with pytest.raises(SharedReset):
        world.run()

    assert world.ids() == [1, 2, 3]


def test_a_file_of_an_earlier_attempt_is_not_loaded_by_a_changed_pipeline(world: World, tmp_path) -> None:
    run_id = uuid4()
    world.table.between.append(_fail)
    with pytest.raises(Unreachable):
        world.run(run_id)
    assert (tmp_path / f"{run_id}.parquet").exists()
    world.change(Numbers(number=1), stream="others")

    world.run(run_id)

    assert world.ids() == [1]


def _fail() -> None:
    raise Unreachable("No answer.")


@pytest.fixture
def noting(tmp_path) -> World:
    return World(tmp_path, Noting())


def test_the_destination_stores_where_a_run_without_new_rows_has_come_to(noting: World) -> None:
    noting.run()
    noting.change(Numbers(ends_at=9))

    result = noting.run()

    assert (result.rows, result.has_loaded, noting.ids()) == (0, True, [1, 2, 3])
    last = noting.table.last_load("p")
    assert (last.load_id, last.cursor["value"]) == (str(noting.state.load_id), 9)


def test_a_run_that_has_come_no_further_leaves_the_destination_alone(noting: World) -> None:
    noting.run()
    before = noting.table.last_load("p")

    result = noting.run()

    assert (result.has_loaded, noting.table.last_load("p")) == (False, before)


def test_a_cursor_that_a_client_has_set_is_stored_though_nothing_is_new(noting: World) -> None:
    noting.run()
    noting.state = replace(noting.state, cursor=10, demand=StateDemand.SET)

    noting.run()
    noting.change(Numbers(number=11))
    noting.run()

    assert noting.ids() == [1, 2, 3, 11]


def test_a_first_run_without_rows_leaves_no_record_of_a_table_that_is_not_there(noting: World) -> None:
    noting.change(Numbers(number=0, ends_at=9))

    assert not noting.run().has_loaded
    noting.change(Numbers(number=10))
    noting.run()

    assert (noting.ids(), noting.warnings) == ([10], [])


def test_a_cursor_that_came_between_is_gone_on_from(noting: World, monkeypatch) -> None:
    noting.run()
    late = replace(noting.table.loads[-1], load_id="late", cursor=7)
    noting.change(Numbers(ends_at=5))
    advance = Noting.advance

    def after_another(table: Noting, request: LoadRequest) -> bool:
        monkeypatch.setattr(Noting, "advance", advance)
        table.loads.append(late)
        return table.advance(request)

    monkeypatch.setattr(Noting, "advance", after_another)

    noting.run()

    assert [load.load_id for load in noting.table.loads][1:] == ["late", str(noting.state.load_id)]


def test_an_error_after_a_cursor_was_stored_is_a_warning(noting: World) -> None:
    noting.run()
    noting.change(Numbers(ends_at=9))
    noting.table.failure.append(Unreachable("The connection was lost."))

    assert noting.run().has_loaded
    assert noting.warnings == ["load.failed_after_commit"]


WRONG = LoadResult(rows=3, location="memory", inserted=2)


def test_figures_that_disagree_fail_a_run_before_its_commit(world: World) -> None:
    world.table.answers.append(WRONG)

    with pytest.raises(SumsDisagree, match="2 rows were inserted of 3"):
        world.run()

    assert (world.ids(), world.table.loads) == ([], [])


@pytest.mark.parametrize(
    ("answer", "warning"), [(WRONG, "load.sums_disagree"), (None, "load.no_result")], ids=["wrong", "none"]
)
def test_figures_that_are_known_after_the_commit_alone_fail_no_run(
    world: World, answer: Any, warning: str
) -> None:
    world.table = world.table.model_copy(update={"asks": False, "answers": [answer]})
    world.change(destination=world.table)

    result = world.run()

    assert (result.rows, world.ids(), world.warnings) == (3, [1, 2, 3], [warning])
    assert world.run().rows == 0


class Killed(BaseException):
    """Stands for a worker that dies right after the commit."""


def test_a_source_that_is_away_fails_no_run_whose_data_is_there(world: World) -> None:
    run_id = uuid4()
    world.table.failure.append(Killed())
    with pytest.raises(Killed):
        world.run(run_id)
    world.change(Numbers(is_away=True))

    result = world.run(run_id)

    assert (result.rows, result.cursor["value"], world.ids()) == (3, 3, [1, 2, 3])
    assert (result.receipt.read, result.receipt.loaded) == (3, 3)
