"""The real code server, webserver and daemon of a home folder."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from waiting import eventually, free_port

from headrace.encryption import keyring_file
from headrace.naming import LOCATION
from headrace.service.internal_token import internal_token
from headrace.service.platform import Platform
from headrace.settings import Settings
from headrace_dagster.processes import commands

READY_SECONDS = 120.0
STOP_SECONDS = 20.0
_HEALTH = "{ instance { daemonHealth { allDaemonStatuses { healthy } } } }"
# The webserver keeps what a code server that is gone has told: only a reload asks the one that runs now.
_RELOAD = """mutation ($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  ... on WorkspaceLocationEntry { locationOrLoadError { __typename } } } }"""


@dataclass(frozen=True, kw_only=True)
class DagsterSide:
    """Dagster's side of a running installation."""

    platform: Platform
    client: httpx.Client  # bears the internal token
    log: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start processes; return when all of them are ready."""
        for process in commands(self.platform.settings):
            if process.name in names:
                with self.log.open("ab") as output:
                    self.processes[process.name] = subprocess.Popen(
                        process.argv,
                        env=_environment(self.platform.settings) | process.env,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
        eventually(lambda: _is_ready(self), seconds=READY_SECONDS, what="Readiness")

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return a query's data; fails when Dagster answers with errors."""
        answer = self.client.post("/graphql", json={"query": query, "variables": variables})
        body: dict[str, Any] = answer.json()
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data


@contextmanager
def run_dagster(home: Path) -> Iterator[DagsterSide]:
    """Start the three processes on a fresh home at once, and stop them."""
    keyring = home.with_name("keyring")
    keyring_file.create(keyring)
    settings = Settings(home=home, keyring_file=keyring, dagster_port=free_port())
    platform = Platform.open(settings, migrate=True)
    log = home.with_name("dagster.log")
    with ExitStack() as stack:
        stack.callback(platform.close)
        headers = {"Authorization": f"Bearer {internal_token(settings)}"}
        client = httpx.Client(base_url=settings.dagster_address, headers=headers, timeout=30)
        stack.callback(client.close)
        side = DagsterSide(platform=platform, client=client, log=log)
        stack.callback(lambda: _stop(list(side.processes.values())))
        side.start(*(process.name for process in commands(settings)))
        yield side


def _environment(settings: Settings) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    return plain | {
        "HEADRACE_KEYRING_FILE": str(settings.keyring_file),
        "HEADRACE_DAGSTER_PORT": str(settings.dagster_port),
        "HEADRACE_LEASE_SECONDS": "5",
    }


def _is_ready(side: DagsterSide) -> bool:
    for name, process in side.processes.items():
        assert process.poll() is None, f"{name} ended: {side.log.read_text()[-3000:]}"
    try:
        data = side.graphql(_HEALTH)
        answered = side.graphql(_RELOAD, name=LOCATION)["reloadRepositoryLocation"]
    except httpx.TransportError:
        return False
    beating = all(daemon["healthy"] for daemon in data["instance"]["daemonHealth"]["allDaemonStatuses"])
    loaded = answered.get("locationOrLoadError", {}).get("__typename") == "RepositoryLocation"
    return loaded and beating


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
