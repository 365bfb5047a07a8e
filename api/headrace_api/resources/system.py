"""The service over HTTP: health, version, figures and metrics."""

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
    """The process is running."""

    status: str = Field(examples=["ok"])


class Part(BaseModel):
    """A part that the service depends on."""

    ready: bool
    detail: str


class Readiness(BaseModel):
    """Which parts are ready."""

    ready: bool = Field(description="Whether all parts are ready.")
    database: Part
    dagster_webserver: Part
    dagster_daemon: Part
    code_location: Part


class Version(BaseModel):
    """The installed release."""

    name: str = Field(examples=["headrace"])
    version: str = Field(examples=["0.1.0"])


class StatsView(BaseModel):
    """Figures of the organization."""

    model_config = ConfigDict(from_attributes=True)

    pipelines: int
    pipelines_enabled: int
    domains: int
    active_runs: int = Field(description="Pending and running runs.")
    pending_runs: int
    longest_wait_seconds: float = Field(
        description="Waiting time of the oldest run that could start if there were room; 0 if none waits."
    )
    waiting_slots: int = Field(description="Schedule slots that wait for a run of their pipeline to end.")
    runs_last_24_hours: dict[RunStatus, int] = Field(
        description="Runs created in the last 24 hours, by status."
    )
    rows_last_24_hours: int
    bytes_last_24_hours: int


@routes.public("/api/health")
def get_health(visit: Visit) -> Answer[Health]:
    """Tell that the process is running. Checks nothing else."""
    return Answer(body=Health(status="ok"))


@routes.public("/api/ready", problems=(NOT_READY,))
def get_readiness(visit: Visit) -> Answer[Readiness]:
    """Tell which parts are ready: 200 if all are, else 503 with the same body.

    While Dagster is down, the API still accepts every request, and new runs wait as `pending`.
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
    """Tell which release is installed."""
    return Answer(body=Version(name="headrace", version=version("headrace")))


@routes("GET", "/api/stats", role=Role.VIEWER)
def get_stats(call: Call) -> Answer[StatsView]:
    """Get the organization's figures."""
    return Answer(body=StatsView.model_validate(stats.figures(call.backend.platform, call.principal)))


@routes("GET", "/metrics", role=Role.VIEWER, content={"text/plain": {"type": "string"}})
def get_metrics(call: Call) -> Response:
    """Get the metrics in Prometheus's text format."""
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
