"""The REST service over many stored runs: latency of its lists, and throughput beside a bare handler's."""

import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
from benchmarks.control_plane.figures import Figure, single, timed
from benchmarks.control_plane.http_load import requests_a_second
from benchmarks.control_plane.platform import BenchPlatform
from sqlalchemy import func, insert, select

from headrace.store.schema import organizations, runs

_REQUESTS = 200
_LOAD_SECONDS = 5.0
_BATCH = 250

_BARE = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

content = sys.stdin.buffer.read()

async def answer(request):
    return Response(content, media_type="application/json")

app = Starlette(routes=[Route("/", answer)])
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)
"""


def stored(platform: BenchPlatform, count: int) -> list[Figure]:
    """Look at lists before and after `count` runs are stored, then load the service with many requests."""
    pipeline = platform.create("Stored")
    run_id = platform.run(pipeline)
    platform.ended(run_id)
    before = _latencies(platform, pipeline.id, run_id, "")
    _fill(platform, pipeline.id, count)
    after = _latencies(platform, pipeline.id, run_id, f", {count:,} runs stored")
    return [*before, *after, *_throughput(platform, run_id)]


def _latencies(platform: BenchPlatform, pipeline_id: UUID, run_id: UUID, suffix: str) -> list[Figure]:
    paths = {
        "list of pipelines": "/api/pipelines",
        "list of runs": "/api/runs",
        "list of failed runs": "/api/runs?status=failed",
        "list of a pipeline's runs": f"/api/pipelines/{pipeline_id}/runs",
        "a run": f"/api/pipelines/runs/{run_id}",
    }
    return [timed(f"GET {name}{suffix}", _samples(platform, path)) for name, path in paths.items()]


def _samples(platform: BenchPlatform, path: str) -> list[float]:
    samples = []
    for _ in range(_REQUESTS):
        began = time.perf_counter()
        platform.api.get(path).raise_for_status()
        samples.append(time.perf_counter() - began)
    return samples


def _fill(platform: BenchPlatform, pipeline_id: UUID, count: int) -> None:
    """Store ended runs of this pipeline, one a minute, of which every twentieth failed."""
    with platform.database.read() as connection:
        organization = connection.execute(select(organizations.c.id)).scalar_one()
        present = connection.execute(select(func.count()).select_from(runs)).scalar_one()
    for first in range(present, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        rows = [_ended(organization, pipeline_id, number) for number in numbers]
        # Short transactions: each of these runs is counted in the same row, whose versions PostgreSQL keeps
        # until the end of the transaction.
        with platform.database.write() as connection:
            connection.execute(insert(runs), rows)


def _ended(organization: UUID, pipeline_id: UUID, number: int) -> dict[str, object]:
    began = datetime.now(UTC) - timedelta(minutes=number + 10)
    failed = number % 20 == 0
    return {
        "id": uuid4(),
        "organization_id": organization,
        "pipeline_id": pipeline_id,
        "status": "failed" if failed else "success",
        "triggered_by": "manual",
        "attempt": 1,
        "created_at": began,
        "started_at": began,
        "finished_at": began + timedelta(seconds=5),
        "dagster_run_id": str(uuid4()),
        "launches": 1,
        "fence": 1,
        "rows": 10,
        "bytes": 80,
        "error_code": "source.failed" if failed else None,
        "error": "The source failed." if failed else None,
    }


def _throughput(platform: BenchPlatform, run_id: UUID) -> list[Figure]:
    token = platform.api.headers["Authorization"]
    figures = []
    for name, path in {
        "list of pipelines": "/api/pipelines",
        "list of runs": "/api/runs",
        "a run": f"/api/pipelines/runs/{run_id}",
    }.items():
        content = platform.api.get(path).raise_for_status().content
        served = requests_a_second(str(platform.api.base_url.join(path)), token, _LOAD_SECONDS)
        bare = _bare(content)
        note = f"{100 * served / bare:.0f} % of the bare handler's {bare:,.0f}"
        figures.append(single(f"GET {name}", served, "requests/s", note))
    return figures


def _bare(content: bytes) -> float:
    """Return the throughput of a Starlette handler that answers the same bytes and does nothing else."""
    port = _free_port()
    command = [sys.executable, "-c", _BARE, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        assert server.stdin is not None
        server.stdin.write(content)
        server.stdin.close()
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_for(url)
            return requests_a_second(url, "", _LOAD_SECONDS)
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("The bare handler did not start.")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
