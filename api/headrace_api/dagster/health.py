"""Which parts of Dagster work."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import HeadraceError
from headrace_api.dagster.graphql import DagsterFailed

HEARTBEAT_SECONDS = 90.0
"""Daemons send a heartbeat every 30 s. Dagster itself tolerates 30 minutes of silence."""


@dataclass(frozen=True, kw_only=True)
class DagsterStatus:
    """Which parts of Dagster work; `details` has a sentence for each part whose state is known."""

    webserver: bool
    daemon: bool
    code_location: bool
    details: dict[str, str]


def status_of(data: Mapping[str, Any], *, refusal: str) -> DagsterStatus:
    """Convert the data of the query `health`; `refusal` says why no launch can be made, if none can."""
    silent = _silent_daemons(data["instance"]["daemonHealth"]["allDaemonStatuses"])
    loaded = (data["location"] or {}).get("locationOrLoadError")
    is_loaded = loaded is not None and loaded["__typename"] == "RepositoryLocation"
    location = "Not loaded." if not is_loaded else refusal or "Loaded, and takes runs."
    return DagsterStatus(
        webserver=True,
        daemon=not silent,
        code_location=is_loaded and not refusal,
        details={
            "webserver": "Answers.",
            "daemon": f"No heartbeat from {', '.join(silent)}." if silent else "All daemons send heartbeats.",
            "code_location": location,
        },
    )


def status_after(error: HeadraceError) -> DagsterStatus:
    """Return the status if the query `health` failed: a webserver that answers with an error works."""
    return DagsterStatus(
        webserver=isinstance(error, DagsterFailed),
        daemon=False,
        code_location=False,
        details={"webserver": error.detail},
    )


def _silent_daemons(statuses: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        str(status["daemonType"])
        for status in statuses
        if status["required"]
        and not (status["healthy"] and time.time() - status["lastHeartbeatTime"] < HEARTBEAT_SECONDS)
    ]
