"""The commands against a real HTTP service with scripted answers."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import home_lock

PIPELINE_ID = "3f0f8b0e-3c52-4b8e-9f54-6f2f6cbb7c11"
RUN_ID = "9d5f3c1e-55a0-4a0a-8a3c-0f6f2c9be001"
PIPELINE = {
    "id": PIPELINE_ID,
    "name": "Weather",
    "schedule": None,
    "enabled": True,
    "domain_id": None,
    "domain_name": None,
    "last_run_status": "success",
    "last_run_at": "2024-01-15T16:00:00Z",
    "created_at": "2024-01-15T10:00:00Z",
}
PENDING = {"id": RUN_ID, "pipeline_id": PIPELINE_ID, "status": "pending", "triggered_by": "manual"}
RUNNING = {**PENDING, "status": "running", "rows": 700, "bytes": 70_000, "started_at": "2024-01-15T16:00:00Z"}
SUCCEEDED = {
    **RUNNING,
    "status": "success",
    "rows": 1461,
    "bytes": 99_000,
    "finished_at": "2024-01-15T16:00:02Z",
}
FAILED = {**SUCCEEDED, "status": "failed", "rows": None, "bytes": None, "error": "The file is gone."}

Headrace = Callable[..., Any]


def test_token_prints_the_token_and_nothing_else(headrace: Headrace, home: Path) -> None:
    outcome = headrace("token", "--home", home)

    assert (outcome.code, outcome.out, outcome.err) == (0, "headrace_test-token\n", "")


def test_token_of_a_home_that_was_never_up_says_what_to_do(headrace: Headrace, tmp_path: Path) -> None:
    outcome = headrace("token", "--home", tmp_path / "other")

    assert outcome.code == 78
    assert outcome.out == ""
    assert "headrace up" in outcome.err


def test_pipelines_are_listed_a_line_each(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", [PIPELINE, {**PIPELINE, "name": "A [bold]name[/] " + "x" * 120}])

    outcome = headrace("pipelines", "list", "--home", home)

    lines = outcome.out.splitlines()
    assert len(lines) == 3
    assert PIPELINE_ID in lines[1]
    assert "A [bold]name[/] " + "x" * 120 in lines[2]
    assert service.requests[0].token == "headrace_test-token"


def test_pipelines_are_listed_as_json(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", [PIPELINE])

    outcome = headrace("pipelines", "list", "--json", "--tag", "sample", "--home", home)

    assert outcome.json == [PIPELINE]
    assert service.requests[0].query == "limit=100&offset=0&tag=sample"


def test_more_than_a_page_is_listed_by_pages(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", [PIPELINE] * 1000, [PIPELINE] * 200)

    outcome = headrace("pipelines", "list", "--json", "--limit", "1500", "--home", home)

    assert len(outcome.json) == 1200
    assert [request.query for request in service.requests] == ["limit=1000&offset=0", "limit=500&offset=1000"]


def test_a_pipeline_is_created_from_a_file(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    service.answer("POST /api/pipelines", PIPELINE, status=201)
    body = "name: Weather\nconfig: {source: {name: files}, destination: {name: logger}}\n"
    (tmp_path / "weather.yaml").write_text(body)

    outcome = headrace("pipelines", "create", "-f", tmp_path / "weather.yaml", "--home", home)

    assert outcome.code == 0
    assert PIPELINE_ID in outcome.out
    assert service.requests[0].body["config"]["source"] == {"name": "files"}


def test_a_config_alone_is_a_pipeline_of_its_own_name(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    service.answer("POST /api/pipelines", PIPELINE, status=201)
    config = {"name": "weather", "source": {"name": "files"}, "destination": {"name": "logger"}}
    (tmp_path / "bizon.yaml").write_text(str(config))

    headrace("pipelines", "create", "-f", tmp_path / "bizon.yaml", "--home", home)

    assert service.requests[0].body == {"name": "weather", "config": config}


def test_what_the_service_refuses_is_told_field_by_field(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    faults = [{"pointer": "/config/source/stream", "code": "stream.unknown", "detail": "No such stream."}]
    problem = {
        "title": "Invalid pipeline",
        "detail": "One field is wrong.",
        "hint": "Correct it.",
        "code": "pipeline.invalid",
        "errors": faults,
    }
    service.answer("POST /api/pipelines", problem, status=422)
    (tmp_path / "p.yaml").write_text("name: x\n")

    outcome = headrace("pipelines", "create", "-f", tmp_path / "p.yaml", "--home", home)

    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "Invalid pipeline: One field is wrong. (pipeline.invalid)",
        "  /config/source/stream: No such stream.",
        "Correct it.",
    ]


def test_a_pipeline_is_found_by_its_whole_name(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", [{**PIPELINE, "id": RUN_ID, "name": "Weather 2"}, PIPELINE])
    service.answer(f"GET /api/pipelines/{PIPELINE_ID}", {**PIPELINE, "config": {"source": {"name": "files"}}})

    outcome = headrace("pipelines", "show", "Weather", "--home", home)

    assert outcome.code == 0
    assert "source:\n  name: files" in outcome.out


def test_a_name_that_two_pipelines_have_is_a_conflict(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", [PIPELINE, {**PIPELINE, "id": RUN_ID}])

    outcome = headrace("pipelines", "run", "Weather", "--home", home)

    assert outcome.code == 4
    assert "2 pipelines" in outcome.err


def test_a_name_that_no_pipeline_has_is_not_found(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", [])

    assert headrace("pipelines", "run", "Weather", "--home", home).code == 3


def test_a_run_that_is_followed_shows_progress_and_its_end(
    headrace: Headrace, home: Path, service: Any
) -> None:
    service.answer(f"POST /api/pipelines/{PIPELINE_ID}/run", PENDING, status=201)
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}", RUNNING, SUCCEEDED)

    outcome = headrace("pipelines", "run", PIPELINE_ID, "--follow", "--home", home)

    assert outcome.code == 0
    assert outcome.out == f"Run {RUN_ID} success in 2 s: 1,461 rows, 99.0 kB\n"
    assert "running  700 rows  70.0 kB" in outcome.err


def test_a_followed_run_that_fails_fails_the_command(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer(f"POST /api/pipelines/{PIPELINE_ID}/run", PENDING, status=201)
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}", FAILED)

    outcome = headrace("pipelines", "run", PIPELINE_ID, "--follow", "--json", "--home", home)

    assert outcome.code == 1
    assert outcome.json == FAILED


def test_following_outlasts_a_service_that_is_away_for_a_moment(
    headrace: Headrace, home: Path, service: Any
) -> None:
    service.answer(f"POST /api/pipelines/{PIPELINE_ID}/run", PENDING, status=201)
    service.answers[f"GET /api/pipelines/runs/{RUN_ID}"] = [(503, {}), (200, SUCCEEDED)]

    assert headrace("pipelines", "run", PIPELINE_ID, "--follow", "--home", home).code == 0


def test_ctrl_c_stops_the_following_and_not_the_run(home: Path, service: Any) -> None:
    service.answer(f"POST /api/pipelines/{PIPELINE_ID}/run", PENDING, status=201)
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}", RUNNING)
    command = [sys.executable, "-m", "headrace.cli.main", "pipelines", "run", PIPELINE_ID, "--follow"]

    with subprocess.Popen([*command, "--home", str(home)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "700 rows" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()

    assert process.returncode == 130
    assert said.splitlines()[-1] == f"Stopped following run {RUN_ID}, which continues."
    assert not [request for request in service.requests if request.path.endswith("/cancel")]


def test_nothing_is_deleted_unless_it_was_confirmed(
    headrace: Headrace, home: Path, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answer(f"DELETE /api/pipelines/{PIPELINE_ID}", None, status=204)

    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    unconfirmed = headrace("pipelines", "delete", PIPELINE_ID, "--home", home)
    confirmed = headrace("pipelines", "delete", PIPELINE_ID, "--yes", "--home", home)

    assert (unconfirmed.code, confirmed.code) == (1, 0)
    assert len(service.requests) == 1


def test_runs_of_all_pipelines_are_listed(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/runs", [FAILED])

    outcome = headrace("runs", "list", "--status", "failed", "--home", home)

    assert "The file is gone." in outcome.out
    assert service.requests[0].query == "limit=20&offset=0&status=failed"


def test_a_log_is_printed_as_it_is(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}/logs", {"logs": "2024-01-15 16:00:00 INFO [a] b\n..."})

    outcome = headrace("runs", "logs", RUN_ID, "--home", home)

    assert outcome.out == "2024-01-15 16:00:00 INFO [a] b\n...\n"


def test_a_log_is_followed_event_by_event(headrace: Headrace, home: Path, service: Any) -> None:
    stream = b": hello\n\nid: 1\ndata: first\n\nid: 2\ndata: second\ndata: and more\n\n"
    stream += b"event: end\ndata: The log is complete.\n\n"
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}/logs", stream)

    outcome = headrace("runs", "logs", RUN_ID, "--follow", "--home", home)

    assert outcome.out == "first\nsecond\nand more\n"


def test_an_output_is_downloaded_whole_and_never_over_another_file(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}/download", b"a,b\n1,2\n")
    target = tmp_path / "out.csv"

    first = headrace("runs", "download", RUN_ID, "--format", "csv", "-o", target, "--home", home)
    second = headrace("runs", "download", RUN_ID, "--format", "csv", "-o", target, "--home", home)

    assert (first.code, second.code) == (0, 4)
    assert target.read_bytes() == b"a,b\n1,2\n"
    assert service.requests[0].query == "format=csv"


def test_a_refused_download_leaves_no_file(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}/download", {"detail": "Not finished."}, status=409)

    outcome = headrace("runs", "download", RUN_ID, "-o", tmp_path / "out.parquet", "--home", home)

    assert outcome.code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_connector_that_refuses_fails_the_check(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    refusal = {"success": False, "message": "The server does not answer."}
    service.answer("POST /api/connectors/source/postgres/check", refusal)
    (tmp_path / "c.json").write_text('{"host": "db"}')

    outcome = headrace("connectors", "check", "source", "postgres", "-f", tmp_path / "c.json", "--home", home)

    assert outcome.code == 1
    assert "does not answer" in outcome.out


def test_domains_are_listed_without_a_command(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/domains", [{"id": RUN_ID, "name": "Marketing"}])

    assert "Marketing" in headrace("domains", "--home", home).out


def test_a_platform_that_is_not_up_is_unavailable(headrace: Headrace, tmp_path: Path) -> None:
    outcome = headrace("runs", "list", "--home", tmp_path / "other")

    assert outcome.code == 69
    assert "headrace up" in outcome.err


def test_the_addresses_that_a_killed_platform_left_are_not_used(
    headrace: Headrace, home: Path, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_lock, "is_held", lambda root: False)

    outcome = headrace("pipelines", "list", "--home", home)

    assert outcome.code == 69
    assert service.requests == []


def test_the_owner_token_is_not_sent_to_another_service(headrace: Headrace, home: Path, service: Any) -> None:
    other = service.url.replace("127.0.0.1", "localhost")

    outcome = headrace("pipelines", "list", "--url", other, "--home", home)

    assert outcome.code == 78
    assert service.requests == []


def test_another_service_gets_the_token_of_the_file(headrace: Headrace, service: Any, tmp_path: Path) -> None:
    service.answer("GET /api/pipelines", [])
    (tmp_path / "token").write_text("headrace_other\n")

    outcome = headrace("pipelines", "list", "--url", service.url, "--token-file", tmp_path / "token")

    assert outcome.code == 0
    assert service.requests[0].token == "headrace_other"


def test_a_token_that_is_not_valid_is_denied(headrace: Headrace, home: Path, service: Any) -> None:
    service.answer("GET /api/pipelines", {"title": "Not authenticated"}, status=401)

    assert headrace("pipelines", "list", "--home", home).code == 5


def test_a_service_that_does_not_answer_is_unavailable(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_TOKEN", "headrace_x")

    assert headrace("pipelines", "list", "--url", "http://127.0.0.1:9").code == 69


def test_the_doctor_finds_nothing_wrong_with_a_new_home(headrace: Headrace, tmp_path: Path) -> None:
    outcome = headrace("doctor", "--json", "--home", tmp_path / "new")

    checks = {finding["check"]: finding["ok"] for finding in outcome.json}
    assert {check for check in ("python", "packages", "settings", "home") if not checks[check]} == set()


def test_the_doctor_says_what_to_do_about_a_home_that_others_may_enter(
    headrace: Headrace, tmp_path: Path
) -> None:
    root = tmp_path / "open"
    root.mkdir(mode=0o755)
    root.chmod(0o755)

    outcome = headrace("doctor", "--home", root)

    assert outcome.code == 78
    assert "chmod 700" in outcome.out


def test_the_doctor_says_what_to_do_about_a_database_of_another_version(
    headrace: Headrace, tmp_path: Path
) -> None:
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    with sqlite3.connect(root / "headrace.db") as database:
        database.execute("CREATE TABLE other (id INTEGER)")
    database.close()

    outcome = headrace("doctor", "--home", root)

    assert outcome.code == 78
    assert "headrace up" in outcome.out


def test_an_unknown_command_is_a_usage_error(headrace: Headrace) -> None:
    assert headrace("pipelines", "destroy").code == 2


STATE = {"sync_mode": "incremental", "cursor": 41, "run_id": None, "pending": "set", "updated_at": None}


def test_state_is_shown_set_and_reset(headrace: Headrace, home: Path, service: Any) -> None:
    path = f"/api/pipelines/{PIPELINE_ID}/state"
    for method in ("GET", "PUT", "DELETE"):
        service.answer(f"{method} {path}", STATE)

    shown = headrace("state", "show", PIPELINE_ID, "--json", "--home", home)
    number = headrace("state", "set", PIPELINE_ID, "41", "--home", home)
    text = headrace("state", "set", PIPELINE_ID, "2024-01-15T10:00:00Z", "--home", home)
    reset = headrace("state", "reset", PIPELINE_ID, "--home", home)

    assert shown.json == STATE
    assert [number.code, text.code, reset.code] == [0, 0, 0]
    sent = [request.body for request in service.requests if request.method == "PUT"]
    assert sent == [{"cursor": 41}, {"cursor": "2024-01-15T10:00:00Z"}]
    assert service.requests[-1].method == "DELETE"


def test_a_schedule_is_shown_with_its_past(headrace: Headrace, home: Path, service: Any) -> None:
    slot = {
        "scheduled_at": "2024-01-15T10:00:00Z",
        "outcome": "skipped",
        "reason": "The pipeline is disabled.",
        "run_id": None,
        "run_status": None,
    }
    body = {"schedule": "@daily", "timezone": "UTC", "enabled": True, "next": ["2024-01-16T00:00:00Z"]}
    service.answer(f"GET /api/pipelines/{PIPELINE_ID}/schedule", body | {"past": [slot]})

    shown = headrace("pipelines", "schedule", PIPELINE_ID, "--home", home)

    assert shown.code == 0
    for expected in ("2024-01-16T00:00:00Z", "skipped", "@daily"):
        assert expected in shown.out


def test_a_run_is_shown_with_its_receipt(headrace: Headrace, home: Path, service: Any) -> None:
    receipt = {
        "read": 12,
        "dropped": 2,
        "written": 10,
        "deleted": None,
        "schema_after": {"secret_looking": "string"},
        "schema_changes": [{"column": "extra", "before": None, "after": "string"}],
        "table_changes": [{"column": "age", "before": "INTEGER", "after": "VARCHAR"}],
    }
    warning = {"code": "state.table_gone", "detail": "The table is gone.", "count": 1}
    run = {"id": RUN_ID, "status": "success", "receipt": receipt, "warnings": [warning]}
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}", run)

    shown = headrace("runs", "show", RUN_ID, "--home", home)

    for expected in ("read", "12", "extra", "VARCHAR", "state.table_gone", "The table is gone."):
        assert expected in shown.out
    assert "deleted" not in shown.out
    assert "secret_looking" not in shown.out


def test_a_run_is_shown_with_its_earlier_attempts(headrace: Headrace, home: Path, service: Any) -> None:
    attempt = {
        "attempt": 1,
        "started_at": "2024-01-15T10:00:00Z",
        "finished_at": "2024-01-15T10:00:02Z",
        "error_code": "connector.unreachable",
        "error": "No answer.",
        "dagster_run_id": None,
    }
    run = {"id": RUN_ID, "status": "success", "attempt": 2, "attempts": [attempt]}
    service.answer(f"GET /api/pipelines/runs/{RUN_ID}", run)

    shown = headrace("runs", "show", RUN_ID, "--home", home)
    as_json = headrace("runs", "show", RUN_ID, "--json", "--home", home)

    before, _, after = shown.out.partition("Earlier attempts")
    assert "connector.unreachable" in after
    assert "attempts" not in before.replace("attempt ", "")
    assert as_json.json == run
