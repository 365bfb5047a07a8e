import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from dagster import (
    AssetObservation,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRunStatus,
    ExecuteInProcessResult,
)
from fakes.stored_jobs import FakeJobs, a_card

from headrace.engine.job import Progress
from headrace.errors import Invalid
from headrace.naming import RUN_ID_TAG, asset_key
from headrace.receipts import ColumnChange, Receipt, WarningCount
from headrace.records import JobCard, RunPhase, RunStatus
from headrace_dagster import execution, progress
from headrace_dagster.execution import Stopped, extract_load_graph
from headrace_dagster.pipelines import define
from headrace_dagster.schema_changes import schema_changes
from headrace_dagster.telling import tell_patiently

pytestmark = pytest.mark.usefixtures("worker")

SECRET = "s3cr3t-t0k3n"
RECEIPT = Receipt(
    read=4,
    dropped=1,
    written=3,
    loaded=3,
    inserted=3,
    total=10,
    schema_changes=(ColumnChange(column="id", before="int32", after="int64"),),
    warnings=(WarningCount(code="state.table_gone", detail="The table is gone.", count=1),),
)


class WrongPassword(Invalid):
    code = "source.denied"
    hint = "Check the password."


@dataclass(frozen=True)
class Outcome:
    rows: int = 3
    bytes: int = 120
    output_size: int = 64
    schema: pa.Schema = field(default_factory=lambda: pa.schema([pa.field("id", pa.int64(), nullable=False)]))
    receipt: Receipt = field(default_factory=lambda: RECEIPT)
    preview: tuple[dict[str, str | None], ...] = ({"id": "basilisk"}, {"id": None}, {"id": "kraken"})


@dataclass(frozen=True, kw_only=True)
class Call:
    pipeline_id: UUID
    run_id: UUID | None
    dagster_run_id: str


class Engine:
    """Records its calls and then does what the test says."""

    def __init__(
        self, act: Callable[[logging.Logger], None] = lambda _log: None, reached: Sequence[Progress] = ()
    ) -> None:
        self.calls: list[Call] = []
        self._reached = reached
        self._act = act

    def __call__(
        self,
        *,
        pipeline_id: UUID,
        run_id: UUID | None,
        dagster_run_id: str,
        log: logging.Logger,
        progress: Callable[[Progress], None],
    ) -> Outcome:
        self.calls.append(Call(pipeline_id=pipeline_id, run_id=run_id, dagster_run_id=dagster_run_id))
        self._act(log)
        for reached in self._reached:
            progress(reached)
        return Outcome()


def run(
    engine: Engine,
    card: JobCard | None = None,
    tags: dict[str, str] | None = None,
    preview_rows: int = 0,
    status: RunStatus | None = None,
) -> tuple[Any, str]:
    """Run a pipeline's job; return the result and everything that Dagster recorded of it, as text."""
    job = define(
        card or a_card(),
        graph=extract_load_graph(engine, preview_rows, lambda dagster_run_id: status),
        take_slot=FakeJobs().take_slot,
        api_address="http://localhost:8000",
    ).job
    with DagsterInstance.ephemeral() as instance:
        result: ExecuteInProcessResult = job.execute_in_process(
            instance=instance, tags=tags, raise_on_error=False
        )
        records = instance.all_logs(result.run_id)
        return result, "\n".join(repr(record) for record in records)


def raising(error: BaseException) -> Callable[[logging.Logger], None]:
    def act(_log: logging.Logger) -> None:
        try:
            raise RuntimeError(f"password={SECRET}")
        except RuntimeError:
            raise error  # noqa: B904 - the context is what must not leak

    return act


def observations(result: Any) -> list[AssetObservation]:
    """Return what was observed of the pipeline's data."""
    return [
        event.asset_observation_data.asset_observation
        for event in result.all_events
        if event.event_type is DagsterEventType.ASSET_OBSERVATION
    ]


def test_a_run_launched_by_the_platform_is_executed_under_its_id() -> None:
    engine, card, run_id = Engine(), a_card(), uuid4()

    result, _ = run(engine, card, {RUN_ID_TAG: str(run_id)})

    assert engine.calls == [Call(pipeline_id=card.pipeline_id, run_id=run_id, dagster_run_id=result.run_id)]


def test_a_run_started_in_the_ui_gets_an_id_of_its_own() -> None:
    engine = Engine()

    run(engine)

    assert engine.calls[0].run_id is None


def test_a_re_execution_is_a_run_of_its_own() -> None:
    engine = Engine()

    run(engine, tags={RUN_ID_TAG: str(uuid4()), "dagster/parent_run_id": str(uuid4())})

    assert engine.calls[0].run_id is None


def test_a_long_runs_progress_is_recorded_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    card = a_card(source="postgres", stream="public.orders")

    result, _ = run(Engine(reached=[Progress(phase=RunPhase.EXTRACT, rows=12_000, bytes=500)]), card)

    [observed] = [each for each in observations(result) if "phase" in each.metadata]
    assert tuple(observed.asset_key.path) == asset_key(card.pipeline_id, "postgres", "public.orders")
    assert str(observed.description).startswith("12,000 rows read so far")
    assert observed.metadata["rows read so far"].value == 12_000


def test_a_short_runs_progress_is_not_recorded() -> None:
    reached = [Progress(phase=RunPhase.EXTRACT, rows=rows, bytes=500) for rows in range(100)]

    result, _ = run(Engine(reached=reached))

    assert not [each for each in observations(result) if "phase" in each.metadata]


def test_each_change_of_a_schema_is_an_event_of_its_own() -> None:
    class ChangedEngine(Engine):
        def __call__(self, **call: Any) -> Outcome:
            stream = (
                ColumnChange(column="id", before="int32", after="int64"),
                ColumnChange(column="old", before="bool", after=None),
            )
            table = (ColumnChange(column="note", before=None, after="VARCHAR"),)
            receipt = replace(RECEIPT, schema_changes=stream, table_changes=table)
            return replace(super().__call__(**call), receipt=receipt)

    card = a_card(source="postgres", stream="public.orders")
    result, _ = run(ChangedEngine(), card)

    observed = observations(result)
    assert {tuple(each.asset_key.path) for each in observed} == {
        tuple(asset_key(card.pipeline_id, "postgres", "public.orders"))
    }
    assert [each.description for each in observed] == [
        "Column id in the stream: int32 becomes int64",
        "Column old is gone from the stream; it was bool",
        "New column note in the table: VARCHAR",
    ]
    facts = [{name: value.value for name, value in each.metadata.items()} for each in observed]
    assert facts[0] == {
        "schema change in": "stream", "column": "id", "before": "int32", "after": "int64",
    }  # fmt: skip
    assert (facts[1]["after"], facts[2]["before"]) == ("none", "none")


def test_thousands_of_schema_changes_are_bounded_and_their_number_is_told() -> None:
    changes = tuple(ColumnChange(column=f"c{n}", before=None, after="int64") for n in range(1_000))

    *listed, last = schema_changes(Receipt(schema_changes=changes), ["a"])

    assert (len(listed), last.metadata["schema changes"].value) == (100, 900)


def test_success_is_recorded_as_a_materialization() -> None:
    card = a_card(source="postgres", stream="public.orders")

    result, _ = run(Engine(), card)

    (event,) = [
        event for event in result.all_events if event.event_type is DagsterEventType.ASSET_MATERIALIZATION
    ]
    facts = {name: value.value for name, value in event.materialization.metadata.items()}
    assert event.asset_key.path == ["pipelines", card.pipeline_id.hex[:12], "postgres", "public.orders"]
    assert (facts["dagster/row_count"], facts["bytes"]) == (3, 120)
    assert facts["duration (s)"] >= 0
    assert (facts["rows read"], facts["rows dropped"], facts["rows in the table"]) == (4, 1, 10)
    assert facts["schema changes"] == [{"column": "id", "before": "int32", "after": "int64"}]
    assert facts["warnings"][0]["code"] == "state.table_gone"
    assert "rows deleted" not in facts
    assert [(column.name, column.type) for column in facts["dagster/column_schema"].columns] == [
        ("id", "int64")
    ]


def test_figures_that_dagster_does_not_take_fail_no_run() -> None:
    class OddEngine(Engine):
        def __call__(self, **call: Any) -> Outcome:
            return replace(super().__call__(**call), receipt=None)  # type: ignore[arg-type]  # what breaks

    result, recorded = run(OddEngine())

    assert result.success
    assert "has not stored the run's figures: AttributeError" in recorded


def test_no_value_reaches_dagster_without_a_preview() -> None:
    _, recorded = run(Engine())

    assert "preview" not in recorded
    assert "basilisk" not in recorded


def test_a_preview_has_as_many_rows_as_the_setting_says() -> None:
    result, recorded = run(Engine(), preview_rows=2)

    (event,) = [
        event for event in result.all_events if event.event_type is DagsterEventType.ASSET_MATERIALIZATION
    ]
    preview = event.materialization.metadata["preview"]
    assert [record.data for record in preview.records] == [{"id": "basilisk"}, {"id": ""}]
    assert "kraken" not in recorded


def test_a_renamed_pipeline_keeps_its_asset() -> None:
    card = a_card(name="Old")
    renamed = a_card(name="New", pipeline_id=card.pipeline_id)

    keys = [
        event.asset_key
        for one in (card, renamed)
        for event in run(Engine(), one)[0].all_events
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION
    ]

    assert keys[0] == keys[1]


def test_the_engines_log_lines_are_recorded_by_dagster() -> None:
    _, recorded = run(Engine(lambda log: log.info("Read %d rows", 42)))

    assert "Read 42 rows" in recorded


def test_an_expected_error_fails_the_run_with_its_code_and_hint() -> None:
    result, recorded = run(Engine(raising(WrongPassword("The source refused the password."))))

    failure = result.failure_data_for_node("extract_load").user_failure_data
    assert not result.success
    assert failure.description == "source.denied: The source refused the password."
    assert failure.metadata["hint"].value == "Check the password."
    assert SECRET not in recorded


def test_a_failed_run_starts_with_its_code_and_has_no_stack() -> None:
    result, _ = run(Engine(raising(WrongPassword("The source refused the password."))))

    error = result.failure_data_for_node("extract_load").error
    (ended,) = [event for event in result.all_events if event.event_type is DagsterEventType.RUN_FAILURE]
    assert error.to_string().strip() == "source.denied: The source refused the password."
    assert ended.job_failure_data.first_step_failure_event.event_specific_data.error == error


def test_an_unexpected_error_records_its_type_and_place_but_no_text() -> None:
    result, recorded = run(Engine(raising(ValueError(f"bad value {SECRET}"))))

    failure = result.failure_data_for_node("extract_load").user_failure_data
    assert failure.description == "internal: Unexpected ValueError."
    assert "test_execution.py" in failure.metadata["where"].value
    assert SECRET not in recorded


def interrupted(error: BaseException) -> tuple[DagsterRunStatus, str]:
    """Run a job whose engine raises the interrupt; return how Dagster ended it and what it recorded."""
    job = define(
        a_card(),
        graph=extract_load_graph(Engine(raising(error))),
        take_slot=FakeJobs().take_slot,
        api_address="http://localhost:8000",
    ).job
    run_id = str(uuid4())
    with DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)
        recorded = "\n".join(repr(record) for record in instance.all_logs(run_id))
        return instance.get_run_by_id(run_id).status, recorded


def test_a_run_that_the_platform_has_ended_is_cancelled_in_dagster_too() -> None:
    status, recorded = interrupted(Stopped("The run was cancelled."))

    assert status is DagsterRunStatus.CANCELED
    assert SECRET not in recorded


def test_an_interrupt_leaks_nothing_of_what_it_interrupted() -> None:
    status, recorded = interrupted(DagsterExecutionInterruptedError())

    # Nobody has asked Dagster to stop this run.
    assert status is DagsterRunStatus.FAILURE
    assert SECRET not in recorded


def test_the_storage_of_a_worker_is_made_patient_once() -> None:
    with DagsterInstance.ephemeral() as instance:
        tell_patiently(instance)
        first = instance.event_log_storage.store_event
        tell_patiently(instance)

        assert instance.event_log_storage.store_event is first


def test_an_error_after_the_result_was_written_is_a_success_in_dagster_too() -> None:
    engine = Engine(raising(RuntimeError("too late")))

    result, _ = run(engine, status=RunStatus.SUCCESS)
    failed, _ = run(engine, status=RunStatus.RUNNING)

    assert (result.success, failed.success) == (True, False)


def test_an_interrupt_after_the_result_leaves_dagster_without_figures_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr(execution, "_facts", interrupt)

    result, _ = run(Engine())

    assert result.success
