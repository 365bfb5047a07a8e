"""Dagster's code server, changed to follow the stored pipelines without restarts."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any, ClassVar

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun
from dagster._grpc import server
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.server import DagsterApiServer

from headrace.failpoints import reach
from headrace.records import RunStatus
from headrace_dagster.private.stop_signal import Workers

_log = logging.getLogger(__name__)
_KILL_AFTER_SECONDS = 8.0
_LAUNCH_POLL_SECONDS = 0.02
"""How often a launch checks whether its process is up; Dagster's 0.1 s would delay the dispatcher."""
_STUCK_SECONDS = 60.0
"""How long the lock of all launches may be held before this process ends, to be restarted."""
_WATCH_SECONDS = 5.0
_STOP_SECONDS = 60.0
"""How long a worker that was told to stop may take. One that hangs outside of the engine would never end."""


class LiveServer(DagsterApiServer):
    """The code server's gRPC calls, with a server id that changes whenever a pipeline does.

    Dagster's webserver and daemon ask for the id every second and read the repository again when it differs.
    So a change shows within a second, no process restarts, and no run is disturbed.
    """

    version: ClassVar[Callable[[], str]]
    """Returns a value that differs whenever a pipeline does."""
    status_of: ClassVar[Callable[[str], RunStatus | None]]
    """Returns the status of the row that a Dagster run executes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._last_version = ""
        super().__init__(*args, **options)
        # Dagster would spawn a new interpreter for each run, which needs two seconds for its imports.
        self._mp_ctx = _fork_server()
        threading.Thread(target=self._end_when_stuck, name="watch-launches", daemon=True).start()

    def GetServerId(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Return the id of this process, joined with the version of the pipelines."""
        return dagster_api_pb2.GetServerIdReply(server_id=f"{self._server_id}-{self._current_version()}")

    def ReloadCode(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Do nothing: every later call reads from the store anyway."""
        return dagster_api_pb2.ReloadCodeReply()

    def StartRun(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Start a worker; return once its process is up."""
        reach("starting")
        reply = super().StartRun(request, context)
        reach("started")
        return reply

    def cleanup(self) -> None:
        """Interrupt this server's runs and wait until they end; kill those that do not end in time."""
        if threading.current_thread() is threading.main_thread():
            for again in (signal.SIGINT, signal.SIGTERM):  # a second one would leave the runs behind
                signal.signal(again, signal.SIG_IGN)
        timer = threading.Timer(_KILL_AFTER_SECONDS, self._kill_runs)
        timer.daemon = True
        timer.start()
        with self._execution_lock:
            for event in self._termination_events.values():
                event.set()
        super().cleanup()
        timer.cancel()

    def _check_for_orphaned_runs(self) -> None:
        """End the Dagster runs whose process has died; called every second.

        Dagster's own method holds the lock of all launches while it writes to the database, which may be slow
        or unavailable. This one holds it only to read and to clear. A failed write is retried a second later.
        """
        with self._execution_lock:
            self._kill_stuck_runs()
            dead = {id_: held for id_, held in self._executions.items() if not held[0].is_alive()}
        recorded = [id_ for id_, (process, ref) in dead.items() if _record_death(id_, process.exitcode, ref)]
        with self._execution_lock:
            for id_ in recorded:
                if id_ in self._executions:
                    self._clear_run(id_)
            if self._shutdown_once_executions_finish_event.is_set() and not self._executions:
                self._server_termination_event.set()

    def _end_when_stuck(self) -> None:
        # A fork server that hangs would block every launch. The supervisor restarts this process, and its
        # workers continue.
        while self._execution_lock.acquire(timeout=_STUCK_SECONDS):
            self._execution_lock.release()
            if self._server_termination_event.wait(_WATCH_SECONDS):
                return
        _log.critical("No run could be launched for %g s; ending the code server.", _STUCK_SECONDS)
        os._exit(os.EX_SOFTWARE)

    def _kill_stuck_runs(self) -> None:
        for id_, told in self._termination_events.items():
            given_at = getattr(told, "given_at", None)
            if given_at is not None and time.monotonic() - given_at > _STOP_SECONDS:
                self._executions[id_][0].kill()

    def _kill_runs(self) -> None:
        for process, _ in list(self._executions.values()):
            process.kill()

    def _current_version(self) -> str:
        try:
            self._last_version = type(self).version()
        except Exception as error:
            # Keep the last version: with a new id, the UI would read the pipelines now and show an error.
            _log.warning("Cannot tell whether pipelines changed: %s.", type(error).__name__)
        return self._last_version


def _fork_server() -> Any:
    """Start the process that workers are forked from. It ends with this one."""
    context = Workers()
    context.set_forkserver_preload(["headrace_dagster.worker_preload"])
    forkserver.ensure_running()
    return context


def _record_death(dagster_run_id: str, exit_code: int | None, ref: Any) -> bool:
    """End a Dagster run whose process has died; return False if this must be retried.

    It ends as its row has, since a worker may die after it has written the result; otherwise as a failure.
    """
    try:
        with DagsterInstance.from_ref(ref) as instance:
            run = instance.get_run_by_id(dagster_run_id)
            if run and not run.is_finished:
                status = LiveServer.status_of(dagster_run_id)
                instance.report_engine_event(_death(exit_code), run, cls=LiveServer)
                _report_end(instance, run, status)
    except Exception as error:
        _log.warning("Cannot record the end of a run in Dagster: %s.", type(error).__name__)
        return False
    return True


def _report_end(instance: DagsterInstance, run: DagsterRun, status: RunStatus | None) -> None:
    if status is RunStatus.CANCELLED:
        instance.report_run_canceled(run)
    elif status is RunStatus.SUCCESS:
        event = DagsterEvent(
            event_type_value=DagsterEventType.RUN_SUCCESS.value,
            job_name=run.job_name,
            message="The run's data is loaded and its result is written.",
        )
        instance.report_dagster_event(event, run_id=run.run_id)
    else:
        instance.report_run_failed(run)


def _death(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"The run's process ended with exit code {exit_code}."
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
    hint = " The system does this to a process that needs too much memory." if name == "SIGKILL" else ""
    return f"The run's process was ended by {name}.{hint}"


def follow(version: Callable[[], str], status_of: Callable[[str], RunStatus | None]) -> None:
    """Make the code server of this process follow `version`, which is called every second by each host.

    `status_of` returns the status of the row that a Dagster run executes.
    Call this before `dagster api grpc`.
    """
    LiveServer.version = staticmethod(version)
    LiveServer.status_of = staticmethod(status_of)
    server.DagsterApiServer = LiveServer  # type: ignore[misc]  # the command takes the class from there
    server.EVENT_QUEUE_POLL_INTERVAL = _LAUNCH_POLL_SECONDS
