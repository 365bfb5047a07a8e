"""Dagster's code server, changed to follow the stored pipelines without restarts."""

import logging
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any, ClassVar

from dagster._grpc import server
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.server import DagsterApiServer

_log = logging.getLogger(__name__)
_KILL_AFTER_SECONDS = 8.0
_LAUNCH_POLL_SECONDS = 0.02
"""How often a launch checks whether its process is up; Dagster's 0.1 s would delay the dispatcher."""


class LiveServer(DagsterApiServer):
    """The code server's gRPC calls, with a server id that changes whenever a pipeline does.

    Dagster's webserver and daemon ask for the id every second and read the repository again when it differs.
    So a change shows within a second, no process restarts, and no run is disturbed.
    """

    version: ClassVar[Callable[[], str]]
    """Returns a value that differs whenever a pipeline does."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._last_version = ""
        super().__init__(*args, **options)
        # Dagster would spawn a new interpreter for each run, which needs two seconds for its imports.
        self._mp_ctx = _fork_server()

    def GetServerId(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Return the id of this process, joined with the version of the pipelines."""
        return dagster_api_pb2.GetServerIdReply(server_id=f"{self._server_id}-{self._current_version()}")

    def ReloadCode(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Do nothing: every later call reads from the store anyway."""
        return dagster_api_pb2.ReloadCodeReply()

    def cleanup(self) -> None:
        """Interrupt this server's runs and wait until they end; kill those that do not end in time."""
        killer = threading.Timer(_KILL_AFTER_SECONDS, self._kill_runs)
        killer.daemon = True
        killer.start()
        with self._execution_lock:
            for event in self._termination_events.values():
                event.set()
        super().cleanup()
        killer.cancel()

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
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["headrace_dagster.worker_preload"])
    forkserver.ensure_running()
    return context


def follow(version: Callable[[], str]) -> None:
    """Make the code server of this process follow `version`, which is called every second by each host.

    Call this before `dagster api grpc`.
    """
    LiveServer.version = staticmethod(version)
    server.DagsterApiServer = LiveServer  # type: ignore[misc]  # the command takes the class from there
    server.EVENT_QUEUE_POLL_INTERVAL = _LAUNCH_POLL_SECONDS
