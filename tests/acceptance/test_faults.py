"""What each failure leaves behind, with real processes: killed, stopped, cut off.

tests/integration/store shows what a failure leaves in the records of both databases. Here most failures
happen on one of them, and on both in `make test-long`.
"""

import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from live_platform import LivePlatform, Watch, alive, on
from postgres_server import PostgresServer
from waiting import eventually
from warehouse import Warehouse

pytestmark = pytest.mark.slow

mostly_on_sqlite = on("sqlite", long=("postgres",))
mostly_on_postgres = on("postgres", long=("sqlite",))

CREATURES = {"name": "dummy", "stream": "creatures"}
LONG = {**CREATURES, "records": 100_000, "sleep": 0.2}
BRIEF = {**CREATURES, "records": 3_000, "sleep": 0.2}  # six seconds
LOST_SECONDS = 30.0
RESTART_SECONDS = 30.0
TAGGED = """
query ($tag: String!) {
  runs: runsOrError(filter: {tags: [{key: "headrace/run_id", value: $tag}]}) {
    ... on Runs { results { runId status } }
  }
}"""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Faults whose repair takes a while, which the other tests do not wait for."""

    daemon_killed_at: datetime
    launching: str  # a run whose launch was under way when its service was killed


@pytest.fixture(scope="module")
def begun(platform: LivePlatform, every_minute: Watch) -> Begun:
    """Kill the daemon, and the service while it launches a run."""
    pipeline = platform.create("Launched once", CREATURES)
    webserver = platform.part("webserver")
    webserver.suspend()
    run_id = platform.run(pipeline)
    eventually(lambda: waits_for(platform, webserver), seconds=5, what="The launch")
    platform.part("api").kill()
    webserver.resume()
    platform.part("daemon").kill()
    killed_at = datetime.now(UTC)
    back(platform)
    return Begun(daemon_killed_at=killed_at, launching=run_id)


@mostly_on_sqlite
@pytest.mark.usefixtures("begun")  # its faults are repaired while the other tests go on
def test_runs_whose_workers_are_killed_or_hang_are_failed_and_publish_nothing(
    platform: LivePlatform, tmp_path: Path
) -> None:
    to_files = [{"name": "file", "config": {"path": str(tmp_path), "file_name": name}} for name in "ab"]
    killed = platform.run(platform.create("Killed", LONG, to_files[0]))
    platform.worker_of(killed).kill()
    paused = platform.run(platform.create("Paused", BRIEF, to_files[1]))
    worker = platform.worker_of(paused)
    worker.suspend()
    paused_at = time.monotonic()

    for run_id in (killed, paused):
        run = platform.run_that(run_id, "failed", seconds=LOST_SECONDS)
        assert run["error_code"] == "run.worker_lost"
    assert time.monotonic() - paused_at < LOST_SECONDS
    worker.resume()
    eventually(lambda: not alive(worker), seconds=15, what="The end of the worker that woke up")

    assert [platform.run_view(run_id)["status"] for run_id in (killed, paused)] == ["failed", "failed"]
    assert list(tmp_path.iterdir()) == []
    assert not list((platform.home / "outputs").glob(f"{paused}/*"))
    again = platform.run(platform.run_view(killed)["pipeline_id"])
    platform.run_that(again, "running")
    platform.call("POST", f"/pipelines/runs/{again}/cancel")


@mostly_on_postgres
def test_a_load_goes_on_after_its_worker_was_killed_and_one_that_was_committed_is_not_repeated(
    platform: LivePlatform, warehouse: Warehouse
) -> None:
    loaded, committed = (
        platform.create(point, warehouse.source(), warehouse.destination(table=f"{point}_{uuid4().hex}"))
        for point in ("loaded", "committed")
    )
    platform.fault("loaded", loaded)
    platform.fault("committed", committed)
    runs = [platform.run(pipeline) for pipeline in (loaded, committed)]

    ended = [platform.ended_run(run_id, seconds=2 * LOST_SECONDS) for run_id in runs]

    assert [(run["status"], run["rows"]) for run in ended] == [("success", 2500)] * 2
    assert [len(launches_of(platform, run_id)) for run_id in runs] == [2, 2]
    orders = warehouse.rows("orders")
    for pipeline, run_id, is_loaded_again in zip((loaded, committed), runs, (True, False), strict=True):
        table = platform.call("GET", f"/pipelines/{pipeline}")["config"]["destination"]["config"]["table"]
        assert warehouse.rows(table) == orders
        lines = platform.api.get(f"/api/pipelines/runs/{run_id}/logs").text
        assert ("An earlier attempt has read the source" in lines) is is_loaded_again
        assert ("An earlier attempt has loaded the destination" in lines) is not is_loaded_again


@mostly_on_sqlite
def test_a_run_that_a_service_stored_and_died_is_launched_once(platform: LivePlatform) -> None:
    pipeline = platform.create("Stored only", CREATURES)
    platform.fault("triggered", pipeline)

    with pytest.raises(httpx.TransportError):
        platform.api.post(f"/api/pipelines/{pipeline}/run")

    back(platform)
    (run,) = platform.runs_of(pipeline)
    assert platform.ended_run(run["id"])["status"] == "success"
    assert len(launches_of(platform, run["id"])) == 1


@mostly_on_sqlite
def test_a_launch_that_was_done_and_seemed_to_fail_is_not_done_again(platform: LivePlatform) -> None:
    pipeline = platform.create("Launched in doubt", CREATURES)
    platform.fault("launched", pipeline, "raise")

    run_id = platform.run(pipeline)

    assert platform.ended_run(run_id)["status"] == "success"
    assert len(launches_of(platform, run_id)) == 1


@mostly_on_postgres
def test_runs_wait_for_a_webserver_that_was_killed(platform: LivePlatform) -> None:
    pipeline = platform.create("While Dagster is away", CREATURES)
    platform.part("webserver").kill()

    new = platform.call("POST", f"/pipelines/{pipeline}/run", status=201)
    listed = platform.runs_of(pipeline)

    assert new["status"] == "pending"
    assert [run["id"] for run in listed] == [new["id"]]
    assert platform.ended_run(new["id"], seconds=60)["status"] == "success"
    assert len(launches_of(platform, new["id"])) == 1


@mostly_on_sqlite
def test_runs_outlive_their_code_server_and_can_still_be_cancelled(platform: LivePlatform) -> None:
    brief, long = (
        platform.create(f"Without its code server, {n}", source) for n, source in enumerate((BRIEF, LONG))
    )
    to_end, to_cancel = platform.run(brief), platform.run(long)
    for run_id in (to_end, to_cancel):
        platform.run_that(run_id, "running")
    workers = platform.workers()

    platform.part("code").kill()
    time.sleep(1)
    platform.call("POST", f"/pipelines/runs/{to_cancel}/cancel")
    ended = platform.ended_run(to_end)
    eventually(lambda: not any(map(alive, workers)), seconds=15, what="The workers' end")

    assert len(workers) >= 2
    assert (ended["status"], ended["rows"]) == ("success", BRIEF["records"])
    assert platform.run_view(to_cancel)["status"] == "cancelled"
    assert platform.ended_run(platform.run(brief), seconds=60)["status"] == "success"


@on("sqlite")  # PostgreSQL locks rows
def test_a_locked_database_is_told_of_and_never_an_internal_error(platform: LivePlatform) -> None:
    with sqlite3.connect(platform.home / "headrace.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            answer = platform.api.post("/api/domains", json={"name": "Locked out"})
        finally:
            other.execute("ROLLBACK")

    assert (answer.status_code, answer.json()["code"]) == (503, "database.unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.elapsed.total_seconds() < 7
    platform.call("POST", "/domains", {"name": "Let in"}, status=201)


@on("postgres")  # SQLite has no server
def test_a_restart_of_the_database_ends_no_process_and_no_run(
    platform: LivePlatform, postgres_server: PostgresServer
) -> None:
    run_id = platform.run(platform.create("Across a restart", BRIEF))
    platform.run_that(run_id, "running")
    before = {name: platform.part(name).pid for name in ("api", "daemon", "webserver", "code")}

    postgres_server.stop()
    try:
        answer = platform.api.get("/api/pipelines")
        health = platform.api.get("/api/health")
        ready = platform.api.get("/api/ready")
        time.sleep(2)
    finally:
        postgres_server.start()

    assert (answer.status_code, answer.json()["code"]) == (503, "database.unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert (health.status_code, ready.status_code) == (200, 503)
    assert ready.json()["database"]["ready"] is False
    assert platform.ended_run(run_id)["status"] == "success"
    assert {name: platform.part(name).pid for name in before} == before


@mostly_on_sqlite
def test_a_run_whose_service_died_while_launching_it_is_executed_once(
    platform: LivePlatform, begun: Begun
) -> None:
    run = platform.ended_run(begun.launching, seconds=60)

    assert (run["status"], run["attempt"]) == ("success", 1)
    statuses = launches_of(platform, begun.launching)
    assert statuses.pop(run["dagster_run_id"]) == "SUCCESS"
    # A test above may have killed the code server before the claim: then, and only then, it is launched anew.
    # Of two that were launched at once the one without the claim is told to stop, and CANCELED.
    assert set(statuses.values()) <= {"FAILURE"}
    assert len(platform.runs_of(run["pipeline_id"])) == 1


@mostly_on_sqlite
def test_a_schedule_goes_on_after_the_daemon_was_killed_with_each_slot_once(
    platform: LivePlatform, every_minute: Watch, begun: Begun
) -> None:
    def slots() -> list[datetime]:
        views = [platform.run_view(run_id) for run_id in list(every_minute.seen)]
        return [datetime.fromisoformat(view["scheduled_at"]) for view in views]

    eventually(
        lambda: max(slots(), default=begun.daemon_killed_at) > begun.daemon_killed_at,
        seconds=90,
        what="A slot after the kill",
    )

    assert len(set(slots())) == len(slots())


def back(platform: LivePlatform) -> None:
    """Wait until the supervisor has everything running again."""
    eventually(platform.is_ready, seconds=RESTART_SECONDS, what="Readiness again")


def waits_for(platform: LivePlatform, webserver: psutil.Process) -> bool:
    """Whether the service has sent the webserver a request that it has not answered."""
    (port,) = {
        listener.laddr.port for listener in webserver.net_connections("tcp") if listener.status == "LISTEN"
    }
    held = platform.part("api").net_connections("tcp")
    return any(connection.raddr and connection.raddr.port == port for connection in held)


def launches_of(platform: LivePlatform, run_id: str) -> dict[str, str]:
    """Return the statuses, by id, of all Dagster runs that were ever launched for a run."""
    results = platform.graphql(TAGGED, tag=run_id)["runs"]["results"]
    return {run["runId"]: run["status"] for run in results}
