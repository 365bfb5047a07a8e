"""Dagster's code server, told to follow what is stored: private parts, see `internals`."""

import logging
import multiprocessing
import sys
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc import server
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.server import DagsterApiServer, DagsterGrpcServer
from dagster._utils.interrupts import setup_interrupt_handlers

_log = logging.getLogger(__name__)
_THREADS = 16  # each launch holds one until its process is up
_KILL_AFTER_SECONDS = 8.0
_ANSWER_SECONDS = 0.02
"""How often a launch looks whether its process is up: as long waits the dispatcher."""


class LiveServicer(DagsterApiServer):
    """The code server's calls, with an id that says what is served.

    Dagster's webserver and daemon ask for the id each second and read the repository again when it differs:
    a change shows within a second, no process restarts, no run is disturbed, and nobody has to be told.
    """

    def __init__(self, *, stamp: Callable[[], str], **options: Any) -> None:
        self._stamp = stamp
        self._last_stamp = ""
        super().__init__(**options)
        # Dagster's own are started anew for each run, and take two seconds for their imports.
        self._mp_ctx = _worker_context()

    def GetServerId(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Answer with this process's id and the stamp of what it serves now."""
        return dagster_api_pb2.GetServerIdReply(server_id=self._live_id())

    def ReloadCode(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Do nothing: what is asked for next is read from the store anyway."""
        return dagster_api_pb2.ReloadCodeReply()

    def cleanup(self) -> None:
        """Interrupt the runs of this server, and wait until they have ended; kill those that linger."""
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

    def _live_id(self) -> str:
        try:
            self._last_stamp = self._stamp()
        except Exception as error:
            # The store's absence is no news about the pipelines: a new id would show an error in their place.
            _log.warning("Cannot tell whether pipelines changed: %s.", type(error).__name__)
        return f"{self._server_id}-{self._last_stamp}"


def _worker_context() -> Any:
    """Start the process that workers are forked from; it ends with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["headrace_dagster.worker"])
    forkserver.ensure_running()
    return context


def serve(*, socket: Path, module: str, attribute: str, stamp: Callable[[], str]) -> None:
    """Serve a module's repository on a Unix socket until the process is told to stop.

    `stamp` says what is served now; it is called each second by each host.
    """
    setup_interrupt_handlers()
    server.EVENT_QUEUE_POLL_INTERVAL = _ANSWER_SECONDS
    logger = logging.getLogger("dagster.code_server")
    stop = threading.Event()
    executor = FuturesAwareThreadPoolExecutor(max_workers=_THREADS)
    servicer = LiveServicer(
        stamp=stamp,
        server_termination_event=stop,
        logger=logger,
        server_threadpool_executor=executor,
        loadable_target_origin=LoadableTargetOrigin(
            executable_path=sys.executable, module_name=module, attribute=attribute
        ),
        # Workers are told to start with this interpreter, not with whatever `dagster` is on the path.
        entry_point=[sys.executable, "-m", "dagster"],
    )
    serving = DagsterGrpcServer(stop, servicer, logger, executor, socket=str(socket))
    try:
        serving.serve()  # type: ignore[no-untyped-call]  # Dagster's
    except KeyboardInterrupt:
        logger.info("The code server was told to stop.")
