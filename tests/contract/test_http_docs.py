"""docs/http-api.md lists every endpoint with its role, and every metric; nothing else."""

import re
from pathlib import Path

from headrace.records import RunStatus
from headrace.store.stats import Figures
from headrace_api.app import ENDPOINTS
from headrace_api.documentation.routes import documentation
from headrace_api.http.routing import Endpoint
from headrace_api.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()
EVERY = [*ENDPOINTS, *documentation([]).endpoints]


def path(endpoint: Endpoint) -> str:
    return re.sub(r":\w+}", "}", endpoint.path)


def test_the_page_lists_every_endpoint_with_its_role_and_no_other():
    listed = set(re.findall(r"^\| `([A-Z]+) (\S+)` \| (\w+) \|", PAGE, re.MULTILINE))

    assert listed == {(each.method, path(each), each.role.value if each.role else "public") for each in EVERY}


def test_the_page_lists_every_metric_and_no_other():
    figures = Figures(
        pipelines=0,
        pipelines_enabled=0,
        domains=0,
        active_runs=0,
        pending_runs=0,
        longest_wait_seconds=0.0,
        waiting_slots=0,
        runs_last_24_hours=dict.fromkeys(RunStatus, 0),
        rows_last_24_hours=0,
        bytes_last_24_hours=0,
    )
    exposed = re.findall(
        r"^# HELP (headrace_\w+)", Metrics().render(figures, free_bytes=0).decode(), re.MULTILINE
    )

    listed = re.findall(r"^\| `(headrace_\w+)`", PAGE, re.MULTILINE)

    assert set(listed) == set(exposed)


def test_every_endpoint_says_what_it_does():
    assert all(endpoint.handler.__doc__ for endpoint in EVERY)


def test_operations_have_names_of_their_own():
    names = [endpoint.handler.__name__ for endpoint in EVERY]

    assert len(set(names)) == len(names)
