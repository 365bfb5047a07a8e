"""Has Dagster say of an ended run what its row says, because the row is the truth.

A worker writes its result first and tells Dagster second. If it dies in between, or if Dagster takes it for
dead, Dagster records another end. GraphQL can only cancel, so the code server tells Dagster.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import assert_never

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from headrace.records import Run, RunStatus

SECONDS = 5.0
"""How often it looks. The terminator keeps a run in sight until both agree."""
_TOLD = "Headrace's record of this run says how it ended: it is the truth."
_DAGSTERS: Mapping[RunStatus, DagsterRunStatus] = {
    RunStatus.SUCCESS: DagsterRunStatus.SUCCESS,
    RunStatus.FAILED: DagsterRunStatus.FAILURE,
    RunStatus.CANCELLED: DagsterRunStatus.CANCELED,
}
_log = logging.getLogger(__name__)


def agree(instance: DagsterInstance, ended: Sequence[Run]) -> None:
    """Correct Dagster's status of runs that have ended in both places."""
    for row in ended:
        known = instance.get_run_by_id(row.dagster_run_id) if row.dagster_run_id else None
        if known is not None and known.is_finished and known.status is not _DAGSTERS[row.status]:
            _log.warning("Run %s is %s; Dagster said %s.", row.id, row.status, known.status.value)
            _tell(instance, known, row.status)


def keep_agreeing(ended: Callable[[], Sequence[Run]], stopping: threading.Event) -> None:
    """Agree again and again in a thread, until the process ends or `stopping` is set."""
    threading.Thread(target=partial(_work, ended, stopping), name="agreement", daemon=True).start()


def _work(ended: Callable[[], Sequence[Run]], stopping: threading.Event) -> None:
    with DagsterInstance.get() as instance:
        while not stopping.wait(SECONDS):
            try:
                agree(instance, ended())
            except Exception as error:  # a storage that is away: the next round finds the same runs
                _log.warning("Dagster was not told how runs ended: %s.", type(error).__name__)


def _tell(instance: DagsterInstance, known: DagsterRun, status: RunStatus) -> None:
    match status:
        case RunStatus.SUCCESS:
            event = DagsterEvent(
                event_type_value=DagsterEventType.RUN_SUCCESS.value, job_name=known.job_name, message=_TOLD
            )
            instance.report_dagster_event(event, run_id=known.run_id)
        case RunStatus.FAILED:
            instance.report_run_failed(known, _TOLD)
        case RunStatus.CANCELLED:
            instance.report_run_canceled(known, _TOLD)
        case RunStatus.PENDING | RunStatus.RUNNING:
            raise AssertionError(f"{status} is no end")
        case _:
            assert_never(status)
