"""The real REST application over a real database, with a Dagster that says what a test has it say."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace.service.execution import execute_run
from headrace.service.platform import Platform, new_token, token_hash
from headrace.store.schema import organizations
from headrace.store.tokens import Installation
from headrace_api.app import create_app
from headrace_api.dagster.graphql import DagsterUnavailable
from headrace_api.dagster.health import DagsterStatus
from headrace_api.dagster.log import LogLine, LogPage

EXAMPLE_CONFIG: dict[str, Any] = {
    "name": "hubspot-contacts",
    "source": {
        "name": "hubspot",
        "stream": "contacts",
        "authentication": {"type": "api_key", "params": {"token": "pat-xxx"}},
    },
    "destination": {"name": "bigquery", "config": {"project_id": "my-project", "dataset": "raw_data"}},
}
DUMMY_CONFIG: dict[str, Any] = {
    "name": "creatures",
    "source": {"name": "dummy", "stream": "creatures"},
    "destination": {"name": "logger"},
}


@dataclass
class ScriptedDagster:
    """Has the health and the log lines that a test gives it; `away` makes it fail as the client does."""

    lines: list[LogLine] = field(default_factory=list)
    ended: bool = True
    away: bool = False
    code_location: bool = True
    wait_for: threading.Event | None = None  # before it gives a page of a log

    def log(self, message: str, level: str = "INFO") -> None:
        """Add a line to the log of every run."""
        self.lines.append(LogLine(at=datetime(2024, 1, 15, 16, tzinfo=UTC), level=level, message=message))

    def health(self) -> DagsterStatus:
        up = not self.away
        return DagsterStatus(webserver=up, daemon=up, code_location=up and self.code_location, details={})

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage:
        if self.away:
            raise DagsterUnavailable("Dagster cannot be reached.")
        if self.wait_for is not None:
            self.wait_for.wait(30)
        start = int(cursor or 0)
        return LogPage(
            lines=tuple(self.lines[start:]), cursor=str(len(self.lines)), more=False, ended=self.ended
        )


@dataclass
class CountingControl:
    """Carries nothing out, and counts how often it was woken."""

    wakes: int = 0
    running: bool = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def wake(self) -> None:
        self.wakes += 1


@dataclass(frozen=True, kw_only=True)
class Service:
    """An application with what it stands on."""

    app: Starlette
    platform: Platform
    dagster: ScriptedDagster
    control: CountingControl

    @contextmanager
    def client(self, token: str | None) -> Iterator[TestClient]:
        """A client that bears the token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with TestClient(self.app, headers=headers, raise_server_exceptions=False) as client:
            yield client

    def new_organization(self) -> str:
        """Make an organization with nothing in it, and return its owner's token."""
        organization_id, token = uuid4(), new_token()
        with self.platform.database.write() as connection:
            now = self.platform.database.now(connection)
            row = {"id": organization_id, "name": "Tests", "created_at": now}
            connection.execute(insert(organizations).values(row))
        Installation(self.platform.database).ensure_owner(organization_id, token_hash(token))
        return token

    def execute(self, pipeline_id: str, run_id: str) -> None:
        """Execute a pending run as a worker does."""
        execute_run(
            self.platform,
            pipeline_id=UUID(pipeline_id),
            run_id=UUID(run_id),
            dagster_run_id=str(uuid4()),
            log=logging.getLogger("tests.run"),
        )


def service_over(platform: Platform) -> Service:
    """Return the application over a platform that is open."""
    dagster, control = ScriptedDagster(), CountingControl()
    app = create_app(platform, dagster, control)
    return Service(app=app, platform=platform, dagster=dagster, control=control)
