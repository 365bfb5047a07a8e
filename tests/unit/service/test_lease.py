import threading
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from headrace.errors import HeadraceError
from headrace.records import Run, RunStatus, TriggeredBy
from headrace.service import lease as lease_module
from headrace.service.lease import Lease, RunStopped
from headrace.store.database import DatabaseFailed, DatabaseUnavailable
from headrace.store.lifecycle.leases import LeaseStore

RUN = Run(
    id=uuid4(), organization_id=uuid4(), pipeline_id=uuid4(), status=RunStatus.RUNNING,
    triggered_by=TriggeredBy.MANUAL, scheduled_at=None, attempt=1, dagster_run_id="d", fence=1,
    created_at=datetime.now(UTC), started_at=None, finished_at=None, error_code=None, error=None, rows=None,
    bytes=None, phase=None, output_file=None, output_file_size=None,
)  # fmt: skip


class Renewals:
    """Renews after some failures, and says when it did."""

    def __init__(self, *failures: Exception, held: bool = True) -> None:
        self._failures = list(failures)
        self._held = held
        self.renewed = threading.Event()

    def renew(self, _run: Run, **_facts: Any) -> bool:
        if self._failures:
            raise self._failures.pop(0)
        self.renewed.set()
        return self._held


def lease_of(renewals: Renewals) -> Lease:
    return Lease(
        cast("LeaseStore", renewals), RUN, seconds=0.3, timeout_seconds=None, end_process=lambda: None
    )


@pytest.mark.parametrize("failure", [DatabaseUnavailable("away"), DatabaseFailed("odd"), OSError("odd")])
def test_a_renewal_that_fails_is_tried_again_whatever_the_error(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "_RETRY_SECONDS", 0.05)
    renewals = Renewals(failure, failure, failure)

    with lease_of(renewals).kept() as lease:
        assert renewals.renewed.wait(10)

        lease.check()


def test_a_database_that_is_away_before_the_commit_is_waited_for() -> None:
    renewals = Renewals(DatabaseUnavailable("away"), DatabaseUnavailable("away"))

    lease_of(renewals).check_with_database()

    assert renewals.renewed.is_set()


def test_a_run_that_was_cancelled_during_the_outage_is_not_committed() -> None:
    with pytest.raises(RunStopped):
        lease_of(Renewals(DatabaseUnavailable("away"), held=False)).check_with_database()


def test_a_database_that_stays_away_before_the_commit_fails_the_attempt_as_passing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_module, "OUTAGE_SECONDS", 0.0)

    with pytest.raises(HeadraceError) as raised:
        lease_of(Renewals(*[DatabaseUnavailable("away")] * 3)).check_with_database()

    assert raised.value.code == "database.unavailable"
