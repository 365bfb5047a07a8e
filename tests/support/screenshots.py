"""`make screenshots`: takes the pictures of docs/images, of a real platform in a headless Chromium."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from browser import Browser, browsing, chromium
from live_platform import LivePlatform, running

from headrace.naming import LOCATION, asset_key, job_name

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DUMMY = {"name": "dummy", "stream": "creatures"}
PLANTS = {"name": "dummy", "stream": "plants", "records": 1200}
SETTLE_SECONDS = 2.0  # what the UI draws after its last request


def main() -> int:
    """Take the pictures anew. Returns 1 where there is no Chromium."""
    program = chromium()
    if program is None:
        sys.stderr.write("Chromium is not on this machine.\n")
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home") as platform:
        pipelines = _pipelines(platform)
        runs = _runs(platform, pipelines)
        with browsing(Path(folder) / "profile", program) as browser:
            _take(browser, platform, pipelines, runs)
    return 0


def _pipelines(platform: LivePlatform) -> dict[str, UUID]:
    """Create what an installation of some weeks has; return their ids by name."""
    domains = {
        name: platform.call("POST", "/domains", {"name": name}, status=201)["id"]
        for name in ("Marketing", "Finance", "Research")
    }
    made: list[tuple[str, dict[str, Any], str | None, str, list[str]]] = [
        ("Campaign creatures to the warehouse", {**DUMMY, "records": 25_000}, "*/15 * * * *", "Marketing",
         ["daily", "owner:maria@example.com"]),
        ("Greenhouse inventory", PLANTS, "@hourly", "Research", ["owner:botany"]),
        ("Invoices of the aquarium", {**DUMMY, "records": 5000, "fail_after": 2000}, "0 5 * * 1-5", "Finance",
         ["owner:finance"]),
        ("Ledger of the herbarium", PLANTS, "30 2 * * *", "Finance", []),
        ("Sightings, all of them", {**DUMMY, "records": 60_000, "sleep": 0.5}, None, "Research", ["slow"]),
        ("Seed catalogue", PLANTS, "0 */6 * * *", "Marketing", []),
    ]  # fmt: skip
    return {
        name: UUID(
            platform.create(
                name, source, _duckdb(platform, name), schedule=cron, domain_id=domains[domain], tags=tags
            )
        )
        for name, source, cron, domain, tags in made
    }


def _duckdb(platform: LivePlatform, name: str) -> dict[str, Any]:
    return {"name": "duckdb", "config": {"path": str(platform.home / f"{name.split()[0].lower()}.duckdb")}}


def _runs(platform: LivePlatform, pipelines: dict[str, UUID]) -> dict[str, str]:
    """Run the pipelines; return each one's last run in Dagster."""
    last = {}
    for _ in range(3):
        ids = {name: platform.run(str(pipeline)) for name, pipeline in pipelines.items() if "all" not in name}
        last = {name: platform.ended_run(run, seconds=300)["dagster_run_id"] for name, run in ids.items()}
    platform.run(str(pipelines["Sightings, all of them"]))
    return last


def _take(browser: Browser, platform: LivePlatform, pipelines: dict[str, UUID], runs: dict[str, str]) -> None:
    shown, failed = "Campaign creatures to the warehouse", "Invoices of the aquarium"
    ui, pipeline = platform.addresses.dagster_url, pipelines[shown]
    _picture(browser, f"{platform.addresses.url}/docs", "rest_docs", "Create a pipeline")
    _picture(browser, ui, "sign_in", "API token")
    browser.open(_sign_in_link(platform))
    _picture(browser, f"{ui}/jobs", "jobs", *pipelines)
    _picture(browser, f"{ui}/locations/{LOCATION}/jobs/{job_name(pipeline)}", "job", shown, "REST resource")
    _picture(browser, f"{ui}/automation", "schedules", shown)
    _picture(browser, f"{ui}/runs", "runs", shown, failed)
    browser.size(1440, 1100)
    _picture(browser, f"{ui}/runs/{runs[shown]}", "run", "RUN_SUCCESS", "Extracted 25,000 rows")
    _picture(browser, f"{ui}/runs/{runs[failed]}", "failed_run", "RUN_FAILURE", "source.unreadable")
    browser.size(1440, 900)
    _picture(browser, f"{ui}/assets", "catalog", shown, "marketing")
    entry = "/".join((ui, "assets", *asset_key(pipeline, "dummy", "creatures")))
    browser.size(1440, 1500)
    _picture(browser, entry, "catalog_entry", shown, "Row count")
    browser.click("button", "Plots")
    browser.click("body")
    _picture(browser, None, "plots", "bytes")


def _picture(browser: Browser, address: str | None, name: str, *texts: str) -> None:
    if address is not None:
        browser.open(address)
    browser.sees(*texts)
    time.sleep(SETTLE_SECONDS)
    browser.rest()
    browser.picture(IMAGES / f"{name}.png")


def _sign_in_link(platform: LivePlatform) -> str:
    command = [sys.executable, "-m", "headrace.cli.main", "ui", "--home", str(platform.home)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
