"""A real Dagster webserver with a code location of a few small jobs, for tests of what speaks to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from waiting import free_port

START_SECONDS = 90.0

_INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
python_logs: {python_log_level: DEBUG}
"""
_WORKSPACE = """
load_from:
  - python_file:
      relative_path: %s
      location_name: headrace_dagster
"""


@contextmanager
def run_dagster(home: Path, definitions: Path) -> Iterator[str]:
    """Serve the repository in the file `definitions`; yields the webserver's address."""
    (home / "dagster.yaml").write_text(_INSTANCE)
    workspace = home / "workspace.yaml"
    workspace.write_text(_WORKSPACE % definitions)
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-w", str(workspace), "-p", str(port)]
    environment = os.environ | {"DAGSTER_HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""}
    with (home / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{address}/server_info", timeout=5, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("The Dagster webserver did not start; see webserver.log in its home.")
