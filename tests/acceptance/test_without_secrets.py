"""No secret that a pipeline was given is found again, in any form, wherever the platform keeps things."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from live_platform import LivePlatform, on
from secret_search import forms, found_in, found_in_files, found_in_processes
from warehouse import PASSWORD, Warehouse

pytestmark = pytest.mark.slow

on_both = on("postgres", long=("sqlite",))

TOKEN = "pat-na1-5f0c0d3e-9a61-4f0e-8c75-c0ffee0ddba1"
WRONG = 'wr0ng "p@ss/wörd" + 1 \\ %'
HEADER = "Bearer s3cret+header/value=="
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
SECRETS = {
    "the warehouse's password": PASSWORD,
    "the token": TOKEN,
    "the page's token": "pat-xxx",
    "the wrong password": WRONG,
    "the header": HEADER,
    "the private key": PRIVATE_KEY.splitlines()[1],
}
EVENTS = """
query ($run: ID!) {
  logsForRun(runId: $run, limit: 1000) {
    ... on EventConnection { events { __typename ... on MessageEvent { message } ... on ErrorEvent {
      error { message stack className causes { message stack } } } } }
  }
  runOrError(runId: $run) { ... on Run { runConfigYaml tags { key value } } }
}"""


@pytest.fixture(scope="module")
def runs(platform: LivePlatform, warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """Runs of pipelines with secrets, by name: one that succeeds, and some whose errors could quote them."""
    plants = {"name": "dummy", "stream": "plants"}
    table = f"copied_{uuid4().hex}"  # the platforms of both databases load into one warehouse
    pipelines = {
        "succeeds": platform.create("Succeeds", warehouse.source(), warehouse.destination(table=table)),
        "wrong password": platform.create("Wrong password", warehouse.source(password=WRONG)),
        "wrong url": platform.create("Wrong URL", plants, warehouse.destination(password=WRONG)),
        "unreachable": platform.create("Unreachable", warehouse.source(port=1)),
        "unresolvable": platform.create("Unresolvable", warehouse.source(host="db.invalid")),
        "no such table": platform.create("No such table", warehouse.source(stream="public.missing")),
        "header": platform.create("Refused download", unreachable_file()),
        "token": platform.create("HubSpot", unreachable_hubspot(), bigquery()),
    }
    started = {name: platform.run(pipeline) for name, pipeline in pipelines.items()}
    return {name: platform.ended_run(run_id, seconds=90) for name, run_id in started.items()}


@on_both
def test_failing_runs_say_why_without_their_secrets(
    platform: LivePlatform, runs: dict[str, dict[str, Any]]
) -> None:
    told = {name: json.dumps([run, tellings_of(platform, run)]) for name, run in runs.items()}

    assert {name: run["status"] for name, run in runs.items()} == {
        name: "success" if name == "succeeds" else "failed" for name in runs
    }
    assert all(run["error"] for name, run in runs.items() if name != "succeeds")
    assert {name: found_in(SECRETS, text.encode()) for name, text in told.items()} == {
        name: [] for name in runs
    }


@on_both
def test_no_file_of_the_platform_holds_a_secret(
    platform: LivePlatform, runs: dict[str, dict[str, Any]]
) -> None:
    own = {"the owner's token": platform.token}
    if platform.database_url is not None:
        own["the database's password"] = password_of(platform.database_url)

    everywhere = found_in_files(SECRETS, platform.home)
    but_in_their_places = found_in_files(own, platform.home, but=places_of_own_secrets(platform.home))

    assert runs
    assert everywhere == []
    assert but_in_their_places == []
    assert found_in(SECRETS | own, platform.printed_to.read_bytes()) == []


@on("postgres")  # SQLite's file is among the files
def test_no_row_of_the_records_or_of_dagsters_storage_holds_a_secret(
    platform: LivePlatform, runs: dict[str, dict[str, Any]]
) -> None:
    assert platform.database_url is not None
    with psycopg.connect(platform.database_url) as connection:
        query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dagster')"
        tables = connection.execute(query).fetchall()
        content = {table: b"".join(copied(connection, *table)) for table in tables}

    stored = {("public", "runs"), ("public", "pipelines"), ("dagster", "runs"), ("dagster", "event_logs")}
    assert all(len(content[table]) > 100 for table in stored)
    password = password_of(platform.database_url)
    owned = SECRETS | {"the owner's token": platform.token, "the database's password": password}
    assert {table: found_in(owned, rows) for table, rows in content.items()} == {
        table: [] for table in content
    }


@on_both
def test_no_process_has_a_secret_in_its_environment_or_arguments(
    platform: LivePlatform, warehouse: Warehouse
) -> None:
    own = SECRETS | {"the owner's token": platform.token}
    if platform.database_url is not None:
        own["the database's password"] = password_of(platform.database_url)
    slow = {"name": "dummy", "stream": "plants", "records": 100_000, "sleep": 0.2}
    run_id = platform.run(platform.create("Looked at", slow, warehouse.destination(table="looked_at")))
    worker = platform.worker_of(run_id)

    processes = [psutil.Process(platform.process.pid), *platform.family()]
    found = found_in_processes(own, processes)
    platform.call("POST", f"/pipelines/runs/{run_id}/cancel")

    assert worker.pid in {process.pid for process in processes}
    assert len(processes) >= 6
    assert found == []


def test_the_search_finds_what_is_hidden_in_each_form(tmp_path: Path) -> None:
    for number, form in enumerate(forms(WRONG)):
        (tmp_path / str(number)).write_bytes(b"before" + form + b"after")
    for length in range(3):
        encoded = base64.b64encode(b"x" * length + WRONG.encode() + b"tail")
        (tmp_path / f"base64-{length}").write_bytes(encoded)

    found = found_in_files({"it": WRONG}, tmp_path)

    assert len(found) == len(list(tmp_path.iterdir()))


def tellings_of(platform: LivePlatform, run: dict[str, Any]) -> list[Any]:
    """Return all that can be asked about a run: its log, and Dagster's events, configuration and tags."""
    return [
        platform.call("GET", f"/pipelines/runs/{run['id']}/logs"),
        platform.graphql(EVENTS, run=run["dagster_run_id"]),
    ]


def places_of_own_secrets(home: Path) -> list[Path]:
    """Where the installation keeps its own: files that only their owner may read."""
    places = [home / "owner.token", home / "secrets" / "headrace_database_url"]
    assert all(place.stat().st_mode & 0o077 == 0 for place in places if place.exists())
    return places


def password_of(database_url: str) -> str:
    return database_url.split(":")[2].split("@")[0]


def copied(connection: "psycopg.Connection[Any]", schema: str, table: str) -> list[bytes]:
    with connection.cursor().copy(f'COPY "{schema}"."{table}" TO STDOUT (FORMAT binary)') as copy:
        return [bytes(part) for part in copy]


def unreachable_file() -> dict[str, Any]:
    headers = {"Authorization": HEADER}
    return {"name": "files", "stream": "f", "paths": ["http://127.0.0.1:1/f.csv"], "headers": headers}


def unreachable_hubspot() -> dict[str, Any]:
    authentication = {"type": "api_key", "params": {"token": TOKEN}}
    address = "http://127.0.0.1:1"
    return {"name": "hubspot", "stream": "contacts", "authentication": authentication, "base_url": address}


def bigquery() -> dict[str, Any]:
    key = {"type": "service_account", "client_email": "a@b.example", "private_key": PRIVATE_KEY}
    config = {"project_id": "p", "dataset": "d", "authentication": {"service_account_key": json.dumps(key)}}
    return {"name": "bigquery", "config": config}
