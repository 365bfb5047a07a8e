"""Everything of Dagster's hosts that Headrace uses and that is not public API, in one place.

Held by tests/contract/test_dagster_internals.py: when a new version of Dagster moves one of these, that test
says which, and this module and `code_servicer` are the only ones to change.
"""

import fcntl
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._core.workspace.permissions import PermissionResult, Permissions
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

READ_ONLY_SCOPE = "headrace.read_only"
"""Key in an ASGI scope: whether whoever asks may only look."""


_IN_THE_API = PermissionResult(
    enabled=False, disabled_reason="Enable or disable the pipeline through Headrace's API."
)


class GuardedContext(WorkspaceRequestContext):
    """What a request may do; Dagster's UI hides the rest.

    Nobody switches a schedule here: Dagster would remember it, and win over the pipeline's own `enabled` for
    ever.
    """

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """What may be done anywhere."""
        return _without_switches(super().permissions)

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """What may be done with one location's definitions."""
        return _without_switches(super().permissions_for_location(location_name=location_name))


class GuardedWorkspace(WorkspaceProcessContext):
    """The workspace as the webserver's requests see it: read-only for those who may only look."""

    def create_request_context(self, source: Any = None) -> WorkspaceRequestContext:
        """Return a request's context; `source` is the connection it came by."""
        return GuardedContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            # A connection of unknown origin may look only.
            read_only=source is None or bool(source.scope.get(READ_ONLY_SCOPE, True)),
        )


def _without_switches(permissions: Mapping[str, PermissionResult]) -> Mapping[str, PermissionResult]:
    switches = (Permissions.START_SCHEDULE, Permissions.STOP_RUNNING_SCHEDULE)
    return {**permissions, **dict.fromkeys(switches, _IN_THE_API)}


def make_storage(dagster_home: Path) -> None:
    """Make Dagster's storage unless it is there, one process at a time.

    Without this, processes that first start together on SQLite migrate it at once, and spoil it for good.
    """
    with (dagster_home / ".storage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with DagsterInstance.get() as instance:
            instance.get_runs_count()


@contextmanager
def webserver_app(workspace_file: Path, *, routes: Sequence[BaseRoute], script: str) -> Iterator[ASGIApp]:
    """Yield Dagster's webserver as an ASGI app that checks nobody: never serve it unguarded.

    `routes` come before its own; its page loads the `script`, a path.
    """
    from dagster_webserver.webserver import DagsterWebserver

    class Webserver(DagsterWebserver):  # type: ignore[type-arg]
        def build_routes(self) -> list[BaseRoute]:
            return [*routes, *super().build_routes()]  # type: ignore[no-untyped-call]

        def index_html_endpoint(self, request: Request) -> Response:
            page: Response = super().index_html_endpoint(request)
            return _with_script(page, script)

    with DagsterInstance.get() as instance:
        # Pool sizes for many request threads on PostgreSQL; nothing on SQLite.
        instance.optimize_for_webserver(statement_timeout=15000, pool_recycle=3600, max_overflow=20)
        with GuardedWorkspace(instance, WorkspaceFileTarget([str(workspace_file)])) as workspace:
            yield Webserver(workspace, live_data_poll_rate=2000).create_asgi_app()


def _with_script(page: Response, script: str) -> Response:
    nonce = re.search(r"'nonce-(\w+)'", page.headers.get("Content-Security-Policy", ""))
    if nonce:
        tag = f'<script defer src="{script}" nonce="{nonce[1]}"></script></head>'
        page.body = bytes(page.body).replace(b"</head>", tag.encode(), 1)
        page.headers["Content-Length"] = str(len(page.body))
    return page


def run_daemon(workspace_file: Path, log_level: str) -> None:
    """Run Dagster's daemon until the process is told to stop; raises when one of its threads dies."""
    from dagster._daemon.controller import daemon_controller_from_instance

    setup_interrupt_handlers()
    try:
        with (
            capture_interrupts(),
            DagsterInstance.get() as instance,
            daemon_controller_from_instance(
                instance,
                workspace_load_target=WorkspaceFileTarget([str(workspace_file)]),
                log_level=log_level,
            ) as controller,
        ):
            controller.check_daemon_loop()
    except KeyboardInterrupt:
        return
