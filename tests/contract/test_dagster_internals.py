"""What Headrace uses of Dagster without its promise. A failure here names what a new version has moved."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dagster import DagsterInstance, RepositoryData
from dagster._core.definitions.assets.graph.remote_asset_graph import RemoteRepositoryAssetGraph
from dagster._core.execution import api
from dagster._core.execution.plan import objects
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._daemon.controller import DagsterDaemonController, daemon_controller_from_instance
from dagster._grpc import server, server_watcher
from dagster._grpc.server import DagsterApiServer, DagsterGrpcServer
from dagster_webserver.webserver import DagsterWebserver

from headrace_dagster.code_servicer import LiveServicer
from headrace_dagster.hosts import SeenRepository
from headrace_dagster.repository import LiveRepository


def moved(what: str) -> str:
    return f"Dagster has moved {what}: adapt headrace_dagster.internals or .code_servicer, then this test."


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize("call", ["GetServerId", "ReloadCode", "cleanup"])
def test_the_code_server_has_the_calls_that_are_replaced(call: str) -> None:
    assert call in vars(DagsterApiServer), moved(f"DagsterApiServer.{call}")
    assert call in vars(LiveServicer)
    assert parameters(getattr(LiveServicer, call)) == {
        name.removeprefix("_") for name in parameters(getattr(DagsterApiServer, call))
    }, moved(f"the parameters of DagsterApiServer.{call}")


@pytest.mark.parametrize("attribute", ["_server_id", "_executions", "_termination_events", "_execution_lock"])
def test_the_code_server_keeps_its_runs_where_a_stop_looks_for_them(attribute: str) -> None:
    source = inspect.getsource(DagsterApiServer.__init__)

    assert f"self.{attribute}" in source, moved(f"DagsterApiServer.{attribute}")


def test_the_code_server_is_built_from_the_same_parts() -> None:
    assert {
        "server_termination_event",
        "logger",
        "server_threadpool_executor",
        "loadable_target_origin",
        "entry_point",
    } <= parameters(DagsterApiServer.__init__), moved("DagsterApiServer's options")
    assert list(inspect.signature(DagsterGrpcServer.__init__).parameters)[1:5] == [
        "server_termination_event",
        "dagster_api_servicer",
        "logger",
        "threadpool_executor",
    ], moved("DagsterGrpcServer's options")


def test_hosts_follow_the_server_id() -> None:
    assert server_watcher.WATCH_INTERVAL <= 1, moved("how often hosts ask for the server's id")
    watching = inspect.getsource(server_watcher.watch_grpc_server_thread)
    assert "get_server_id" in watching, moved("the hosts' watch of the server's id")


def test_a_launch_names_nothing_but_the_job() -> None:
    launching = inspect.getsource(DagsterApiServer.StartRun)

    assert "get_reconstructable_job" in launching, moved("how a run's worker gets its job")
    assert "start_run_in_subprocess" in launching, moved("how a run's worker starts")
    assert "self._mp_ctx.Process(" in launching, moved("how a run's worker starts")


def test_what_workers_are_forked_from_imports_whole() -> None:
    script = (
        "import sys, threading, headrace_dagster.worker;"
        "assert 'headrace.service.execution' in sys.modules;"
        "assert threading.active_count() == 1, threading.enumerate()"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, moved("what a worker imports") + done.stderr


def test_a_request_has_a_context_with_permissions() -> None:
    assert parameters(WorkspaceProcessContext.create_request_context) == {"self", "source"}, moved(
        "WorkspaceProcessContext.create_request_context"
    )
    assert {
        "instance",
        "current_workspace",
        "process_context",
        "version",
        "source",
        "read_only",
    } <= parameters(WorkspaceRequestContext.__init__), moved("WorkspaceRequestContext's options")
    assert {"permissions", "permissions_for_location"} <= set(vars(WorkspaceRequestContext)), moved(
        "WorkspaceRequestContext.permissions"
    )
    assert "create_request_context(conn)" in inspect.getsource(DagsterWebserver), moved(
        "what DagsterWebserver tells of a request"
    )


def test_the_uis_page_takes_a_script() -> None:
    assert "NONCE-PLACEHOLDER" in inspect.getsource(DagsterWebserver.index_html_endpoint), moved(
        "the nonce of the UI's page"
    )


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("how the search is told what can be found", r'postMessage\(\{type:"set-results",results:\w+'),
        ("by what the search finds", r'keys:\["label",'),
        (
            "how the filter of jobs is tried on them",
            r'new RegExp\("\^"\.concat\(.{,60},"\$"\)\);return new Set\(\[\.\.\.this\.all_jobs\]'
            r"\.filter\((\w)=>\w\.test\(\1\.name\)\)",
        ),
        (
            "how the filter of schedules is tried on them",
            r"\[\.\.\.this\.all_automations\]\.filter\((\w)=>\w\.test\(\1\.name\)\)",
        ),
        (
            "how a location's jobs are searched",
            r'"Search jobs by name…",nameFilter:\((\w),(\w)\)=>\1\.name\.toLowerCase\(\)\.includes\(\2\)',
        ),
    ],
)
def test_the_ui_searches_where_names_are_put_in(what: str, pattern: str) -> None:
    chunks = (Path(inspect.getfile(DagsterWebserver)).parent / "webapp" / "build").rglob("*.js")

    found = any(re.search(pattern, chunk.read_text()) for chunk in chunks)

    assert found, f"Dagster has moved {what}: adapt headrace_dagster/labels.js, then this test."


def test_the_webserver_is_an_asgi_app_over_a_workspace() -> None:
    assert {"process_context", "live_data_poll_rate"} <= parameters(DagsterWebserver.__init__), moved(
        "DagsterWebserver's options"
    )
    assert hasattr(DagsterWebserver, "create_asgi_app"), moved("DagsterWebserver.create_asgi_app")
    assert {"statement_timeout", "pool_recycle", "max_overflow"} <= parameters(
        DagsterInstance.optimize_for_webserver
    ), moved("DagsterInstance.optimize_for_webserver")


def test_the_daemon_is_a_controller_with_a_loop() -> None:
    assert {"instance", "workspace_load_target", "log_level"} <= parameters(
        daemon_controller_from_instance
    ), moved("daemon_controller_from_instance")
    assert hasattr(DagsterDaemonController, "check_daemon_loop"), moved("the daemon's loop")


def test_the_live_repository_answers_all_that_a_repository_is_asked() -> None:
    asked = {
        name
        for name in vars(RepositoryData)
        if name.startswith(("get_", "has_", "load_")) and not hasattr(LiveRepository, name)
    }
    abstract = LiveRepository.__abstractmethods__

    assert not asked | set(abstract), moved("RepositoryData")


@pytest.mark.parametrize("name", ["get_all_jobs", "get_job", "has_job", "get_schedule", "has_schedule"])
def test_no_look_up_of_the_live_repository_goes_through_dagsters_own_lists(name: str) -> None:
    assert name in vars(LiveRepository)


def test_no_look_up_in_the_hosts_goes_to_the_jobs_that_they_do_not_fetch() -> None:
    looking = {
        name
        for name, method in vars(RemoteRepository).items()
        if inspect.isfunction(method) and "self._job_map" in inspect.getsource(method)
    } - {"__init__"}

    assert {"has_job", "get_full_job"} <= looking, moved("RemoteRepository's jobs")
    assert looking <= set(vars(SeenRepository)), moved(
        "RemoteRepository's look-ups: see headrace_dagster.hosts"
    )


@pytest.mark.parametrize("module", [api, objects])
def test_a_runs_errors_are_told_by_what_is_replaced(module: ModuleType) -> None:
    assert "serializable_error_info_from_exc_info" in vars(module), moved("how a run's error is recorded")


@pytest.mark.parametrize("name", ["get_asset_node_snaps", "_asset_snaps_by_key"])
def test_the_catalog_is_asked_for_where_the_hosts_answer(name: str) -> None:
    assert name in vars(RemoteRepository), moved(f"RemoteRepository.{name}")
    building = inspect.getsource(RemoteRepositoryAssetGraph.build)
    assert "repo.get_asset_node_snaps()" in building, moved("how the catalog is built")


def test_the_code_server_answers_after_a_pause_that_can_be_set() -> None:
    assert hasattr(server, "EVENT_QUEUE_POLL_INTERVAL"), moved("EVENT_QUEUE_POLL_INTERVAL")
    assert "EVENT_QUEUE_POLL_INTERVAL" in inspect.getsource(DagsterApiServer), moved(
        "where that pause is made"
    )


@pytest.mark.parametrize("storage", [SqliteRunStorage, SqliteScheduleStorage])
def test_the_embedded_storage_opens_its_files_in_one_place(storage: type) -> None:
    assert callable(getattr(storage, "connect", None)), moved(f"{storage.__name__}.connect")
    assert "self._conn_string" in inspect.getsource(storage.__init__), moved(f"{storage.__name__}'s address")


@pytest.mark.parametrize("part", ["_connect", "_initdb", "path_for_shard", "conn_string_for_shard"])
def test_the_embedded_logs_have_the_parts_that_are_replaced(part: str) -> None:
    assert callable(getattr(SqliteEventLogStorage, part, None)), moved(f"SqliteEventLogStorage.{part}")
    assert "self._db_lock" in inspect.getsource(SqliteEventLogStorage), moved("the lock of run logs")
