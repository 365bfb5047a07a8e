"""Dagster's webserver as an ASGI app, which its command does not give out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance
from dagster_webserver.webserver import DagsterWebserver
from starlette.types import ASGIApp

from headrace_dagster.private.workspace import guarded_workspace

_UI_POLL_MILLISECONDS = 2000


@contextmanager
def webserver_app(workspace_file: Path) -> Iterator[ASGIApp]:
    """Yield Dagster's webserver as an ASGI app that checks no client: never serve it without a guard."""
    with DagsterInstance.get() as instance:
        # Pool sizes for many request threads on PostgreSQL; nothing on SQLite.
        instance.optimize_for_webserver(statement_timeout=15000, pool_recycle=3600, max_overflow=20)
        with guarded_workspace(instance, workspace_file) as workspace:
            yield DagsterWebserver(workspace, live_data_poll_rate=_UI_POLL_MILLISECONDS).create_asgi_app()
