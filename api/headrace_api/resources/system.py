"""The service itself over HTTP: whether it lives, what it is, what it has done."""

import shutil
from importlib.metadata import version

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from headrace.errors import HeadraceError
from headrace.records import Role, RunStatus
from headrace.service import stats
from headrace.service.platform import Platform
from headrace_api import metrics
from headrace_api.http.requests import Call, Visit
from headrace_api.http.responses import Answer
from headrace_api.http.routing import Routes

routes = Routes(tag="System")
NOT_READY = 503


class Health(BaseModel):
    """The process lives and answers."""

    status: str = Field(examples=["ok"])


class Part(BaseModel):
    """One part that the service stands on."""

    ready: bool
    detail: str


class Readiness(BaseModel):
    """Which parts work."""

    ready: bool = Field(description="Whether all of them do.")
    database: Part
    dagster_webserver: Part
    dagster_daemon: Part
    code_location: Part


class Version(BaseModel):
    """Which release this is."""

    name: str = Field(examples=["headrace"])
    version: str = Field(examples=["0.1.0"])


class StatsView(BaseModel):
    """What the organization has and does."""

    model_config = ConfigDict(from_attributes=True)

    pipelines: int
    pipelines_enabled: int
    domains: int
    active_runs: int = Field(description="Pending or running.")
    pending_runs: int
    longest_wait_seconds: float = Field(
        description="How long the oldest run has waited that might start, were there room; 0: none waits."
    )
    waiting_slots: int = Field(description="Slots of schedules that wait for a run of their pipeline to end.")
    runs_last_24_hours: dict[RunStatus, int] = Field(description="By status, of those created in that time.")
    rows_last_24_hours: int
    bytes_last_24_hours: int


@routes.public("/api/health")
def get_health(visit: Visit) -> Answer[Health]:
    """Tell that the process lives; asks nothing else."""
    return Answer(body=Health(status="ok"))


@routes.public("/api/ready", problems=(NOT_READY,))
def get_readiness(visit: Visit) -> Answer[Readiness]:
    """Tell which parts work: 200 when all do, else 503 with the same body.

    While Dagster is away the API goes on taking orders, and runs wait as `pending`.
    """
    dagster = visit.backend.dagster.health()
    parts = {
        "database": _database(visit.backend.platform),
        "dagster_webserver": _part(dagster.webserver, dagster.details.get("webserver")),
        "dagster_daemon": _part(dagster.daemon, dagster.details.get("daemon")),
        "code_location": _part(dagster.code_location, dagster.details.get("code_location")),
    }
    ready = all(part.ready for part in parts.values())
    body = Readiness(ready=ready, **parts)
    return Answer(body=body, status=200 if ready else NOT_READY, headers={"Cache-Control": "no-store"})


@routes.public("/api/version")
def get_version(visit: Visit) -> Answer[Version]:
    """Tell which release this is."""
    return Answer(body=Version(name="headrace", version=version("headrace")))


@routes("GET", "/api/stats", role=Role.VIEWER)
def get_stats(call: Call) -> Answer[StatsView]:
    """Get the organization's figures."""
    return Answer(body=StatsView.model_validate(stats.figures(call.backend.platform, call.principal)))


@routes("GET", "/metrics", role=Role.VIEWER, content={"text/plain": {"type": "string"}})
def get_metrics(call: Call) -> Response:
    """Get the metrics for Prometheus, in its text format."""
    figures = stats.figures(call.backend.platform, call.principal)
    free = shutil.disk_usage(call.backend.platform.settings.root).free
    return Response(call.backend.metrics.render(figures, free_bytes=free), media_type=metrics.CONTENT_TYPE)


def _database(platform: Platform) -> Part:
    try:
        with platform.database.read() as connection:
            platform.database.now(connection)
    except HeadraceError as error:
        return Part(ready=False, detail=error.detail)
    return Part(ready=True, detail="SQLite" if platform.database.is_sqlite else "PostgreSQL")


def _part(ready: bool, detail: str | None) -> Part:
    return Part(ready=ready, detail=detail or ("Works." if ready else "Unknown: Dagster does not answer."))
