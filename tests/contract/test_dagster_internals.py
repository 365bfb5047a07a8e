"""What Headrace uses of Dagster beyond its public API. A failure here names what a new version has moved.

docs/dagster-internals.md lists each internal with its reason and the test here that guards it.
"""

import importlib.util
import inspect
import multiprocessing
import pkgutil
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import dagster
import dagster_internals
import pytest
import yaml
from dagster import (
    AssetKey,
    AssetSpec,
    DagsterInstance,
    Definitions,
    GraphDefinition,
    JobDefinition,
    RepositoryData,
    RepositoryDefinition,
    op,
)
from dagster._cli.api import grpc_command
from dagster._core.definitions.assets.graph.remote_asset_graph import RemoteRepositoryAssetGraph
from dagster._core.execution import api
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan import objects
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import RemoteExecutionPlan, RemoteJob, RemoteRepository
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.snap.execution_plan_snapshot import snapshot_from_execution_plan
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._core.workspace.permissions import PermissionResult, Permissions
from dagster._grpc import server, server_watcher
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.server import DagsterApiServer
from dagster._grpc.types import CanCancelExecutionRequest
from dagster._serdes import ConfigurableClassData
from dagster._utils import start_termination_thread
from dagster_webserver.webserver import DagsterWebserver
from fakes.stored_jobs import FakeJobs, a_card

from headrace.naming import REPOSITORY, job_name, schedule_name
from headrace_dagster import dagster_command
from headrace_dagster.pipelines import define
from headrace_dagster.private import preload, sqlite_storage
from headrace_dagster.private.catalog import external_asset
from headrace_dagster.private.code_location import LiveLocation, RemotePipelines
from headrace_dagster.private.grpc_server import LiveServer
from headrace_dagster.private.remote_repository import StoredRepository
from headrace_dagster.private.snapshots import Snapshots
from headrace_dagster.private.sqlite_storage import EmbeddedStorage
from headrace_dagster.private.stop_signal import StopSignal
from headrace_dagster.repository import LiveRepository
from headrace_dagster.storage import PlatformStorage

ROOT = dagster_internals.ROOT
# Dagster reads this property itself when it makes a schedule's snapshot.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`")

RUFF = Path(sys.executable).with_name("ruff")


def moved(what: str, module: str) -> str:
    return (
        f"Dagster has moved {what}: adapt headrace_dagster/{module}, docs/dagster-internals.md and this test."
    )


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


# The page and the lint rule.


def test_the_page_lists_exactly_the_internals_that_the_package_uses() -> None:
    listed: dict[str, set[str]] = {}
    for row in dagster_internals.listed():
        modules = {name for name in row.used_by if name.isidentifier()}
        listed |= {name: set(modules) for name in row.names if modules}
    used = dagster_internals.used()

    assert set(listed) == set(used), "list in docs/dagster-internals.md what headrace_dagster.private imports"
    for name, modules in used.items():
        assert modules <= listed[name], f"{name} is used by {modules}: say so in docs/dagster-internals.md"


def test_each_internal_has_a_tripwire_that_exists() -> None:
    for row in dagster_internals.listed():
        assert row.tripwires, f"{row.names} has no tripwire in docs/dagster-internals.md"
        missing = {name for name in row.tripwires if not callable(globals().get(name))}
        assert not missing, f"docs/dagster-internals.md names {missing}, which is no test here"


def test_no_other_module_names_an_internal() -> None:
    found = dagster_internals.named_outside()

    assert not found, f"only headrace_dagster.private may name Dagster's internals: {found}"


def test_the_lint_rule_bans_every_private_module_of_dagster() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    banned = set(ruff["lint"]["flake8-tidy-imports"]["banned-api"])
    private = {f"dagster.{module.name}" for module in pkgutil.iter_modules(dagster.__path__)}

    assert {name for name in private if name.startswith("dagster._")} - {"dagster.__main__"} <= banned
    assert {"dagster_graphql", "dagster_shared", "dagster_webserver"} <= banned


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("dagster_defs/headrace_dagster/private/workspace.py", True),
        ("dagster_defs/headrace_dagster/home.py", False),
        ("platform/headrace/naming.py", False),
        ("tests/unit/headrace_dagster/test_pipelines.py", False),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        "from dagster._core.launcher import DefaultRunLauncher\nDefaultRunLauncher()\n",
        "import dagster\n\ndagster._core.launcher.DefaultRunLauncher()\n",
        "from dagster_shared.record import copy\n\ncopy(None)\n",
    ],
)
def test_the_lint_rule_lets_only_the_package_import_internals(module: str, allowed: bool, code: str) -> None:
    done = subprocess.run(
        [RUFF, "check", "--no-cache", "--select", "TID251", "--stdin-filename", ROOT / module, "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert (done.returncode == 0) is allowed, done.stdout + done.stderr


# Dagster's commands.


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            ("dagster", "api", "grpc"),
            {
                "--socket",
                "--module-name",
                "--attribute",
                "--max-workers",
                "--log-level",
                "--empty-working-directory",
                "--use-python-environment-entry-point",
            },
        ),
        (("dagster-daemon", "run"), {"--workspace", "--log-level"}),
    ],
)
def test_dagster_has_the_commands_that_are_run(
    command: tuple[str, ...],
    options: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, *arguments = command
    monkeypatch.setattr(sys, "argv", sys.argv)  # which the command takes for itself

    with pytest.raises(SystemExit):
        dagster_command.run(script, *arguments, "--help")

    missing = options - set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert not missing, (
        f"`{' '.join(command)}` no longer takes {missing}: adapt its module in headrace_dagster."
    )


# The code server.


@pytest.mark.parametrize(
    "call", ["GetServerId", "ReloadCode", "StartRun", "cleanup", "_check_for_orphaned_runs"]
)
def test_the_code_server_has_the_calls_that_are_replaced(call: str) -> None:
    assert call in vars(DagsterApiServer), moved(f"DagsterApiServer.{call}", "private/grpc_server.py")
    assert call in vars(LiveServer)
    assert parameters(getattr(LiveServer, call)) == {
        name.removeprefix("_") for name in parameters(getattr(DagsterApiServer, call))
    }, moved(f"the parameters of DagsterApiServer.{call}", "private/grpc_server.py")


def test_the_command_of_the_code_server_uses_the_class_that_is_replaced() -> None:
    source = inspect.getsource(inspect.unwrap(grpc_command.callback))

    assert "from dagster._grpc.server import DagsterApiServer" in source, moved(
        "where `dagster api grpc` finds its server", "private/grpc_server.py"
    )


@pytest.mark.parametrize("attribute", ["_server_id", "_executions", "_termination_events", "_execution_lock"])
def test_the_code_server_keeps_its_runs_where_a_stop_looks_for_them(attribute: str) -> None:
    source = inspect.getsource(DagsterApiServer.__init__)

    assert f"self.{attribute}" in source, moved(f"DagsterApiServer.{attribute}", "private/grpc_server.py")


def test_the_answers_of_the_replaced_calls_are_built_the_same_way() -> None:
    assert dagster_api_pb2.GetServerIdReply(server_id="1").server_id == "1"
    assert dagster_api_pb2.ReloadCodeReply() is not None


def test_the_webserver_and_the_daemon_poll_the_servers_id() -> None:
    assert server_watcher.WATCH_INTERVAL <= 1, moved(
        "how often the server's id is polled", "private/grpc_server.py"
    )
    watching = inspect.getsource(server_watcher.watch_grpc_server_thread)
    assert "get_server_id" in watching, moved("the poll of the server's id", "private/grpc_server.py")


def test_a_launch_starts_a_process_from_the_context_that_is_replaced() -> None:
    launching = inspect.getsource(DagsterApiServer.StartRun)

    for part in ("get_reconstructable_job", "start_run_in_subprocess", "self._mp_ctx.Process("):
        assert part in launching, moved(f"{part} in DagsterApiServer.StartRun", "private/grpc_server.py")


def test_a_worker_takes_our_signal_for_dagsters_event() -> None:
    waiting = inspect.getsource(start_termination_thread)

    assert issubclass(StopSignal, type(multiprocessing.Event())), moved(
        "the type that a worker's signal must have", "private/stop_signal.py"
    )
    assert "type(multiprocessing.Event())" in waiting
    assert "self._mp_ctx.Event()" in inspect.getsource(DagsterApiServer.StartRun), moved(
        "where a launch makes its signal", "private/stop_signal.py"
    )


def test_the_probe_of_launches_needs_the_lock_that_launches_need() -> None:
    for call in (DagsterApiServer.CanCancelExecution, DagsterApiServer.StartRun):
        assert "self._execution_lock" in inspect.getsource(call), moved(
            "the lock of launches", "private/code_location.py"
        )
    assert CanCancelExecutionRequest(run_id="").run_id == ""


def test_a_launch_polls_at_an_interval_that_can_be_set() -> None:
    assert hasattr(server, "EVENT_QUEUE_POLL_INTERVAL"), moved(
        "EVENT_QUEUE_POLL_INTERVAL", "private/grpc_server.py"
    )
    assert "EVENT_QUEUE_POLL_INTERVAL" in inspect.getsource(DagsterApiServer), moved(
        "the use of EVENT_QUEUE_POLL_INTERVAL", "private/grpc_server.py"
    )


# Runs.


@pytest.mark.parametrize("module", preload.MODULES)
def test_the_preloaded_modules_exist(module: str) -> None:
    assert importlib.util.find_spec(module), moved(module, "private/preload.py")


def test_the_fork_server_imports_what_workers_need() -> None:
    script = (
        "import sys, threading, headrace_dagster.worker_preload;"
        "assert 'headrace.service.execution' in sys.modules;"
        "assert threading.active_count() == 1, threading.enumerate()"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, moved("what a worker imports", "worker_preload.py") + done.stderr


@pytest.mark.parametrize("module", [api, objects])
def test_a_runs_errors_are_recorded_by_what_is_replaced(module: ModuleType) -> None:
    assert "serializable_error_info_from_exc_info" in vars(module), moved(
        f"the recording of errors in {module.__name__}", "private/run_errors.py"
    )


# The webserver's and the daemon's view of the pipelines.


@op
def nothing() -> None:
    pass


class Seen:
    """Two pipelines as the webserver sees them, and as Dagster would have fetched them."""

    def __init__(self, schedule: str = "30 2 * * *") -> None:
        self.cards = [a_card(name=name, schedule=schedule) for name in ("first", "second")]
        jobs = FakeJobs(*self.cards)
        graph = GraphDefinition(name="graph", node_defs=[nothing])

        def build(card: Any) -> Any:
            return define(card, graph=graph, take_slot=jobs.take_slot, api_address="http://localhost:8000")

        self.live = LiveRepository(lambda: jobs, build)
        self.handle = RepositoryHandle.for_test()
        self.ours = RemotePipelines(jobs, build).repository(self.handle)
        definition = RepositoryDefinition(REPOSITORY, repository_data=self.live)
        self.dagsters = RemoteRepository(RepositorySnap.from_def(definition), self.handle, False)

    def names(self, name_of: Any) -> list[str]:
        return [name_of(card.pipeline_id) for card in self.cards]


def test_a_job_is_seen_as_dagster_would_fetch_it() -> None:
    seen = Seen()

    for name in seen.names(job_name):
        ours, dagsters = seen.ours.get_full_job(name), seen.dagsters.get_full_job(name)

        message = moved("parts of a job's snapshot", "private/snapshots.py")
        assert ours.job_snapshot == dagsters.job_snapshot, message
        assert ours.identifying_job_snapshot_id == dagsters.identifying_job_snapshot_id, message
        assert ours.get_remote_origin() == dagsters.get_remote_origin(), message


def test_a_schedule_is_seen_as_dagster_would_fetch_it() -> None:
    seen = Seen()

    for name in seen.names(schedule_name):
        ours, dagsters = seen.ours.get_schedule(name), seen.dagsters.get_schedule(name)

        message = moved("parts of a schedule's snapshot", "private/remote_repository.py")
        assert ours._schedule_snap == dagsters._schedule_snap, message
        assert ours.get_remote_origin() == dagsters.get_remote_origin(), message


def test_a_schedule_of_a_months_last_days_has_a_next_slot_in_march() -> None:
    seen = Seen(schedule="0 0 29 * *")
    [name, _] = seen.names(schedule_name)

    slots = seen.ours.get_schedule(name).execution_time_iterator(
        datetime(2028, 3, 10, tzinfo=UTC).timestamp()
    )

    assert next(slots) == datetime(2028, 3, 29, tzinfo=UTC)


def test_a_plan_of_one_job_serves_the_others() -> None:
    seen = Seen()

    def dagsters_plan(name: str) -> RemoteExecutionPlan:
        plan = create_execution_plan(seen.live.get_job(name))
        snapshot_id = seen.ours.get_full_job(name).identifying_job_snapshot_id
        return RemoteExecutionPlan(snapshot_from_execution_plan(plan, snapshot_id))

    first, second = seen.names(job_name)
    snapshots = Snapshots()
    snapshots.plan(seen.ours.get_full_job(first), lambda: dagsters_plan(first))

    plan = snapshots.plan(seen.ours.get_full_job(second), lambda: pytest.fail("asked the code server again"))

    assert plan.execution_plan_snapshot == dagsters_plan(second).execution_plan_snapshot, moved(
        "parts of an execution plan", "private/snapshots.py"
    )


def test_every_look_up_of_jobs_is_replaced() -> None:
    looking = {
        name
        for name, method in vars(RemoteRepository).items()
        if inspect.isfunction(method) and "self._job_map" in inspect.getsource(method)
    } - {"__init__"}

    assert {"has_job", "get_full_job"} <= looking, moved(
        "RemoteRepository's jobs", "private/remote_repository.py"
    )
    assert looking <= set(vars(StoredRepository)), moved(
        "RemoteRepository's look-ups", "private/remote_repository.py"
    )


@pytest.mark.parametrize("name", ["get_asset_node_snaps", "_asset_snaps_by_key"])
def test_the_catalog_is_read_where_the_entries_are_given(name: str) -> None:
    assert name in vars(RemoteRepository), moved(f"RemoteRepository.{name}", "private/remote_repository.py")
    building = inspect.getsource(RemoteRepositoryAssetGraph.build)
    assert "repo.get_asset_node_snaps()" in building, moved(
        "how the catalog is built", "private/remote_repository.py"
    )


def test_an_entry_of_the_catalog_is_what_dagster_makes_of_an_external_asset() -> None:
    facts: dict[str, Any] = {
        "description": "Orders",
        "owners": ["team:data"],
        "tags": {"dagster/kind/mysql": ""},
    }
    spec = AssetSpec(AssetKey(["pipelines", "orders"]), group_name="sales", **facts)
    [dagsters] = RepositorySnap.from_def(Definitions(assets=[spec]).get_repository_def()).asset_nodes

    ours = external_asset(["pipelines", "orders"], group="sales", **facts)

    for part in ("asset_key", "execution_type", "group_name", "is_source", "job_names", *facts):
        assert getattr(ours, part) == getattr(dagsters, part), moved(
            f"AssetNodeSnap.{part}", "private/catalog.py"
        )


def test_the_connection_to_the_code_server_is_looked_up_where_it_is_replaced() -> None:
    creating = inspect.getsource(GrpcServerCodeLocationOrigin.create_location)
    fetching = inspect.getsource(GrpcServerCodeLocation.__init__)

    lookup = "from dagster._core.remote_representation.code_location import GrpcServerCodeLocation"
    assert lookup in creating, moved("GrpcServerCodeLocation", "private/code_location.py")
    lookup = "from dagster._api.snapshot_repository import sync_get_external_repositories_data_grpc"
    assert lookup in fetching, moved("how jobs are fetched", "private/code_location.py")
    assert "self.remote_repositories" in fetching, moved(
        "a location's repositories", "private/code_location.py"
    )


def test_a_plan_is_asked_for_as_the_connection_answers() -> None:
    assert parameters(LiveLocation.get_execution_plan) == parameters(
        GrpcServerCodeLocation.get_execution_plan
    ), moved("the parameters of get_execution_plan", "private/code_location.py")


def test_a_repository_belongs_to_a_code_location() -> None:
    assert parameters(RepositoryHandle.from_location) == {"repository_name", "code_location"}, moved(
        "RepositoryHandle.from_location", "private/code_location.py"
    )
    assert "_snapshot_id" in vars(RemoteJob), moved("RemoteJob._snapshot_id", "private/remote_repository.py")


# The live repository, which is public, and its undocumented neighbours.


def test_the_live_repository_answers_every_question_about_a_repository() -> None:
    asked = {
        name
        for name in vars(RepositoryData)
        if name.startswith(("get_", "has_", "load_")) and not hasattr(LiveRepository, name)
    }
    undocumented = {"get_top_level_resources", "get_env_vars_by_top_level_resource", "load_all_definitions"}

    assert not asked | set(LiveRepository.__abstractmethods__), moved("RepositoryData", "repository.py")
    assert undocumented <= set(vars(RepositoryData)), moved("RepositoryData", "repository.py")


@pytest.mark.parametrize("name", ["get_all_jobs", "get_job", "has_job", "get_schedule", "has_schedule"])
def test_no_look_up_of_the_live_repository_goes_through_dagsters_own_lists(name: str) -> None:
    assert name in vars(LiveRepository)


@pytest.mark.parametrize(
    ("owner", "name", "module"),
    [
        (DagsterInstance, "optimize_for_webserver", "private/webserver.py"),
        (DagsterInstance, "report_run_canceling", "execution.py"),
        (JobDefinition, "get_job_snapshot", "private/snapshots.py"),
    ],
)
def test_undocumented_methods_exist(owner: type, name: str, module: str) -> None:
    assert callable(getattr(owner, name, None)), moved(f"{owner.__name__}.{name}", module)


def test_the_classes_named_in_dagster_yaml_exist() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    named = [part for part in settings.values() if isinstance(part, dict) and "class" in part]
    private = {part["module"] for part in named} - {"dagster"}

    for part in named:
        assert hasattr(import_module(part["module"]), part["class"]), moved(
            part["class"], "../../dagster.yaml"
        )
    assert private <= {name for row in dagster_internals.listed() for name in row.names}


# The webserver.


def test_a_request_has_a_context_with_permissions() -> None:
    assert parameters(WorkspaceProcessContext.create_request_context) == {"self", "source"}, moved(
        "WorkspaceProcessContext.create_request_context", "private/workspace.py"
    )
    assert {
        "instance",
        "current_workspace",
        "process_context",
        "version",
        "source",
        "read_only",
    } <= parameters(WorkspaceRequestContext.__init__), moved(
        "WorkspaceRequestContext's options", "private/workspace.py"
    )
    assert {"permissions", "permissions_for_location"} <= set(vars(WorkspaceRequestContext)), moved(
        "WorkspaceRequestContext.permissions", "private/workspace.py"
    )
    assert "create_request_context(conn)" in inspect.getsource(DagsterWebserver), moved(
        "what DagsterWebserver tells of a request", "private/workspace.py"
    )
    assert WorkspaceFileTarget(["w.yaml"]).paths == ["w.yaml"], moved(
        "WorkspaceFileTarget", "private/workspace.py"
    )


def test_the_switches_of_schedules_are_permissions() -> None:
    refused = PermissionResult(enabled=False, disabled_reason="Not here.")

    assert (refused.enabled, refused.disabled_reason) == (False, "Not here.")
    assert (str(Permissions.START_SCHEDULE), str(Permissions.STOP_RUNNING_SCHEDULE)) == (
        "start_schedule",
        "stop_running_schedule",
    ), moved("the permissions of schedules", "private/workspace.py")


def test_the_webserver_is_an_asgi_app_over_a_workspace() -> None:
    assert {"process_context", "live_data_poll_rate"} <= parameters(DagsterWebserver.__init__), moved(
        "DagsterWebserver's options", "private/webserver.py"
    )
    assert hasattr(DagsterWebserver, "create_asgi_app"), moved(
        "DagsterWebserver.create_asgi_app", "private/webserver.py"
    )
    assert {"statement_timeout", "pool_recycle", "max_overflow"} <= parameters(
        DagsterInstance.optimize_for_webserver
    ), moved("DagsterInstance.optimize_for_webserver", "private/webserver.py")


def test_the_uis_page_has_a_nonce_for_scripts() -> None:
    build = Path(inspect.getfile(DagsterWebserver)).parent / "webapp" / "build"

    assert "'nonce-NONCE-PLACEHOLDER'" in (build / "csp-header.txt").read_text(), moved(
        "the nonce of the UI's page", "labels.py"
    )
    assert "</head>" in (build / "index.html").read_text(), moved("the end of the page's head", "labels.py")


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

    assert found, f"Dagster has moved {what}: adapt headrace_dagster/ui/labels.js, then this test."


# Storage.


def test_dagster_opens_a_custom_storage_by_its_class_methods() -> None:
    opening = inspect.getsource(ConfigurableClassData.rehydrate)

    for part in ("issubclass(klass, as_type", "klass.config_type()", "klass.from_config_value(self,"):
        assert part in opening, moved("how a custom storage is opened", "private/custom_storage.py")
    assert PlatformStorage.config_type() == {}


@pytest.fixture
def own_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that are forgotten at the end, as those of a process are."""
    for name in ("_engine", "_logs_engine"):
        monkeypatch.setattr(sqlite_storage, name, cache(getattr(sqlite_storage, name).__wrapped__))


@pytest.mark.usefixtures("own_engines")
def test_the_embedded_storage_uses_the_files_of_dagsters_own(tmp_path: Path) -> None:
    DagsterSqliteStorage.from_local(str(tmp_path)).dispose()
    files = sorted(tmp_path.rglob("*.db"))

    storage = EmbeddedStorage(str(tmp_path), None, is_made=True)

    message = moved("the files of its SQLite storage", "private/sqlite_storage.py")
    assert storage.run_storage.get_runs_count() == 0, message
    assert storage.schedule_storage.all_instigator_state() == [], message
    assert storage.event_log_storage.get_logs_for_run(str(UUID(int=1))) == [], message
    assert {file.parent for file in tmp_path.rglob("*.db")} == {file.parent for file in files}, message
    storage.dispose()


@pytest.mark.parametrize("storage", [SqliteRunStorage, SqliteScheduleStorage])
def test_the_embedded_storage_opens_its_files_in_one_place(storage: type) -> None:
    assert callable(getattr(storage, "connect", None)), moved(
        f"{storage.__name__}.connect", "private/sqlite_storage.py"
    )
    assert "self._conn_string" in inspect.getsource(storage.__init__), moved(
        f"{storage.__name__}'s address", "private/sqlite_storage.py"
    )


@pytest.mark.parametrize("part", ["_connect", "_initdb", "path_for_shard", "conn_string_for_shard"])
def test_the_embedded_logs_have_the_parts_that_are_replaced(part: str) -> None:
    assert callable(getattr(SqliteEventLogStorage, part, None)), moved(
        f"SqliteEventLogStorage.{part}", "private/sqlite_storage.py"
    )
    assert "self._db_lock" in inspect.getsource(SqliteEventLogStorage), moved(
        "the lock of run logs", "private/sqlite_storage.py"
    )
