"""A COMMIT whose answer is lost: it was done, and the worker that asks again learns that it was its own."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from postgres_server import PostgresServer
from proxy import Proxy
from stored import store_pipeline

from headrace.records import RunStatus
from headrace.service.lease import until_written
from headrace.store.database import Database
from headrace.store.lifecycle.leases import AlreadyTaken, Ending, LeaseStore
from headrace.store.runs import RunStore
from headrace.store.tokens import Installation

pytestmark = pytest.mark.slow

SUCCESS = Ending(status=RunStatus.SUCCESS, rows=1)
FAILURE = Ending(status=RunStatus.FAILED, error_code="source.refused", error="Refused.")


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    """A proxy before the server."""
    made = Proxy(postgres_server.port)
    yield made
    made.close()


@pytest.fixture
def database(postgres_server: PostgresServer, migrated_postgres: str, proxy: Proxy) -> Iterator[Database]:
    """A migrated database, reached through the proxy."""
    url = postgres_server.fresh_database(like=migrated_postgres)
    opened = Database(url.replace(f":{postgres_server.port}/", f":{proxy.port}/"))
    yield opened
    opened.close()
    postgres_server.drop_database(url)


@pytest.fixture
def pipeline_id(database: Database) -> UUID:
    return store_pipeline(database, Installation(database).organization()).id


@pytest.fixture
def store(database: Database) -> RunStore:
    return RunStore(database, Installation(database).organization())


def leases_of_a_worker(database: Database) -> LeaseStore:
    return LeaseStore(database, timedelta(seconds=15))


def test_a_claim_whose_answer_is_lost_is_the_workers(
    database: Database, proxy: Proxy, store: RunStore, pipeline_id: UUID
) -> None:
    run_id = store.create(pipeline_id).id
    leases = leases_of_a_worker(database)
    proxy.lose_answer_to("COMMIT")

    claim = until_written(lambda: leases.claim(run_id, "mine"), seconds=20)

    assert proxy.lost == 1
    assert (claim.run.id, claim.run.fence, claim.run.status) == (run_id, 1, RunStatus.RUNNING)
    with pytest.raises(AlreadyTaken):  # another process with the same name, as of a launch that came twice
        leases_of_a_worker(database).claim(run_id, "mine")


def test_a_claim_that_was_lost_to_another_worker_meanwhile_stays_theirs(
    database: Database, proxy: Proxy, store: RunStore, pipeline_id: UUID
) -> None:
    run_id = store.create(pipeline_id).id
    leases_of_a_worker(database).claim(run_id, "theirs")
    leases = leases_of_a_worker(database)

    with pytest.raises(AlreadyTaken):
        until_written(lambda: leases.claim(run_id, "mine"), seconds=20)


def test_a_new_run_of_dagsters_own_whose_answer_is_lost_is_the_workers(
    database: Database, proxy: Proxy, store: RunStore, pipeline_id: UUID
) -> None:
    leases = leases_of_a_worker(database)
    proxy.lose_answer_to("COMMIT")

    claim = until_written(lambda: leases.claim_new(pipeline_id, "mine"), seconds=20)

    assert proxy.lost == 1
    assert store.get(claim.run.id).status is RunStatus.RUNNING


@pytest.mark.parametrize("ending", [SUCCESS, FAILURE], ids=["success", "failure"])
def test_a_result_whose_answer_is_lost_is_known_to_be_written(
    database: Database, proxy: Proxy, store: RunStore, pipeline_id: UUID, ending: Ending
) -> None:
    leases = leases_of_a_worker(database)
    run = leases.claim(store.create(pipeline_id).id, "mine").run
    proxy.lose_answer_to("COMMIT")

    is_written = until_written(lambda: leases.end(run, ending), seconds=20)

    assert proxy.lost == 1
    assert is_written
    assert store.get(run.id).status is ending.status


def test_a_result_after_a_cancel_is_refused(database: Database, store: RunStore, pipeline_id: UUID) -> None:
    leases = leases_of_a_worker(database)
    run = leases.claim(store.create(pipeline_id).id, "mine").run
    store.cancel(run.id)

    assert not leases.end(run, SUCCESS)
