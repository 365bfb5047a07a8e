"""Dagster says of an ended run what its row says."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job, op

from headrace.records import Run, RunStatus, TriggeredBy
from headrace_dagster.agreement import agree

ROW = Run(
    id=uuid4(),
    organization_id=uuid4(),
    pipeline_id=uuid4(),
    status=RunStatus.SUCCESS,
    triggered_by=TriggeredBy.MANUAL,
    scheduled_at=None,
    attempt=1,
    created_at=datetime.now(UTC),
    started_at=None,
    finished_at=None,
    dagster_run_id=None,
    fence=1,
    phase=None,
    rows=None,
    bytes=None,
    output_file=None,
    output_file_size=None,
    error_code=None,
    error=None,
)


@op
def nothing() -> None: ...


@job
def empty() -> None:
    nothing()


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (RunStatus.SUCCESS, DagsterRunStatus.SUCCESS),
        (RunStatus.FAILED, DagsterRunStatus.FAILURE),
        (RunStatus.CANCELLED, DagsterRunStatus.CANCELED),
    ],
)
@pytest.mark.parametrize(
    "said", [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
)
def test_the_row_wins(here: RunStatus, there: DagsterRunStatus, said: DagsterRunStatus) -> None:
    with DagsterInstance.ephemeral() as instance:
        known = instance.create_run_for_job(empty, status=said)

        agree(instance, [replace(ROW, status=here, dagster_run_id=known.run_id)])

        found = instance.get_run_by_id(known.run_id)
        assert found is not None
        assert found.status is there


def test_a_run_that_has_not_ended_in_dagster_is_left_to_its_worker() -> None:
    with DagsterInstance.ephemeral() as instance:
        known = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTED)
        rows = [replace(ROW, dagster_run_id=id_) for id_ in (known.run_id, str(uuid4()), None)]

        agree(instance, rows)

        found = instance.get_run_by_id(known.run_id)
        assert found is not None
        assert found.status is DagsterRunStatus.STARTED
