"""Pipelines' names for Dagster's UI, which knows jobs by their names alone and has no place for a title."""

import json
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from headrace_dagster.catalogue import Followed
from headrace_dagster.repository import StoredJobs

SCRIPT_PATH = "/headrace/labels.js"
NAMES_PATH = "/headrace/names"


def routes(jobs: StoredJobs) -> list[Route]:
    """Return the routes of the script that puts names into the UI, and of the names."""

    followed = Followed(lambda: jobs, lambda card: card.name)

    def names(request: Request) -> Response:
        # The stamp is read first: names that change in between are sent again with the next.
        etag = f'"{hash(jobs.stamp()):x}"'
        headers = {"ETag": etag, "Cache-Control": "no-store"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        content = json.dumps({pipeline_id.hex: name for pipeline_id, name in followed.all().items()})
        return Response(content, media_type="application/json", headers=headers)

    script = Path(__file__).with_name("labels.js")
    return [
        Route(SCRIPT_PATH, lambda _request: FileResponse(script, media_type="text/javascript")),
        Route(NAMES_PATH, names, methods=["GET"]),
    ]
