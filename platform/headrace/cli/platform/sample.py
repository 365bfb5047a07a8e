"""`python -m headrace.cli.platform.sample`: runs a sample pipeline with real data, and prints its result.

`headrace up --sample` starts it as a separate process when the platform is ready.
"""

import glob
import json
import shutil
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.cli.client import Client, Problem
from headrace.cli.connection import connect
from headrace.cli.console import ERR, OUT, print_facts, print_table, run_time, size_text
from headrace.cli.following import ending, follow
from headrace.errors import HeadraceError
from headrace.records import RunStatus
from headrace.settings import Settings, load_settings

_DATA = Path(__file__).parent / "sample_data" / "seattle_weather.csv"
_NAME = "Seattle weather"
_TAG = "sample"
_SHOWN_ROWS = 5


def main() -> int:
    """Run the sample unless it has succeeded before; print the result. Returns 1 if it failed."""
    try:
        settings = load_settings()
        client = connect(None, None, None)
        pipeline = _pipeline(client, settings)
        run = _successful_run(client, pipeline["id"])
        if run["status"] == RunStatus.SUCCESS:
            _print_result(client, settings, pipeline, run)
            return 0
        ERR.print(f"The sample did not succeed. {ending(run)}", style="red", markup=False)
    except (HeadraceError, Problem) as error:
        ERR.print(f"The sample did not succeed: {error}", style="red", markup=False)
    return 1


def _pipeline(client: Client, settings: Settings) -> Mapping[str, Any]:
    for pipeline in client.get("/api/pipelines", tag=_TAG, q=_NAME):
        if pipeline["name"] == _NAME:
            return dict(pipeline)
    return dict(client.post("/api/pipelines", _body(settings), idempotency_key="headrace-sample"))


def _body(settings: Settings) -> Mapping[str, Any]:
    # Copied, because the package's own file may move in an upgrade.
    folder = settings.root / "sample"
    folder.mkdir(mode=0o700, exist_ok=True)
    data = shutil.copy(_DATA, folder)
    return {
        "name": _NAME,
        "tags": [_TAG],
        "config": {
            "name": "seattle-weather",
            "source": {"name": "files", "stream": "seattle_weather", "paths": [glob.escape(str(data))]},
            "destination": {"name": "duckdb", "config": {"path": str(_database(settings))}},
        },
    }


def _database(settings: Settings) -> Path:
    return settings.root / "sample.duckdb"


def _successful_run(client: Client, pipeline_id: str) -> Mapping[str, Any]:
    """Return the last run if it succeeded. Otherwise wait for the active run, or for a new one."""
    last = client.get(f"/api/pipelines/{pipeline_id}/runs", limit=1)
    status = RunStatus(last[0]["status"]) if last else RunStatus.FAILED
    if status in (RunStatus.FAILED, RunStatus.CANCELLED):
        last = [client.post(f"/api/pipelines/{pipeline_id}/run")]
    return follow(client, last[0]["id"])


def _print_result(
    client: Client, settings: Settings, pipeline: Mapping[str, Any], run: Mapping[str, Any]
) -> None:
    OUT.print(f"\nThe sample succeeded: {pipeline['name']}\n", style="bold green")
    print_facts(
        {
            "Data": "daily weather in Seattle, 2012 to 2015: NOAA, public domain",
            "Rows": f"{run['rows']:,}",
            "Read": size_text(run["bytes"]),
            "Took": run_time(run),
            "Loaded into": str(_database(settings)),
            "Output": f"{settings.root / run['output_file']} ({size_text(run['output_file_size'])})",
            "Run": run["id"],
        }
    )
    rows = _first_rows(client, run["id"])
    OUT.print()
    print_table(rows, {name: name for name in rows[0]})
    OUT.print(f"... and {run['rows'] - len(rows):,} more", style="dim")


def _first_rows(client: Client, run_id: str) -> list[Mapping[str, Any]]:
    path = f"/api/pipelines/runs/{run_id}/download"
    text = b"".join(client.stream(path, format="jsonl")).decode()
    return [json.loads(line) for line in islice(text.splitlines(), _SHOWN_ROWS)]


if __name__ == "__main__":
    sys.exit(main())
