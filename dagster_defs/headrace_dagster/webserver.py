"""`python -m headrace_dagster.webserver`: Dagster's UI and GraphQL, behind a guard."""

import hmac
import os
import sys
import time
from contextlib import suppress
from functools import partial

from headrace.errors import StartupError
from headrace.records import Role
from headrace.service.internal_token import internal_token
from headrace.service.platform import Platform
from headrace_dagster import startup
from headrace_dagster.installation import platform, settings

_CACHED_SECONDS = 5.0
"""How long a token's role is cached, because the UI sends several requests a second."""


class Roles:
    """The roles of tokens: those of the API, and the internal token by which our own processes sign in."""

    def __init__(self, platform: Platform, internal: str) -> None:
        self._platform = platform
        self._internal = internal
        self._cached: dict[str, tuple[Role, float]] = {}

    def __call__(self, token: str) -> Role:
        """Return the token's role; a revoked token keeps it for 5 s. Raises Unauthenticated, Unavailable."""
        if hmac.compare_digest(token.encode(), self._internal.encode()):
            return Role.OWNER
        now = time.monotonic()
        role, until = self._cached.get(token, (Role.VIEWER, 0.0))
        if now < until:
            return role
        self._cached = {known: entry for known, entry in self._cached.items() if entry[1] > now}
        role = self._platform.authenticate(token).role
        self._cached[token] = (role, now + _CACHED_SECONDS)
        return role


def main() -> int:
    """Serve until stopped. Returns the exit code: that of StartupError where the installation cannot open."""
    try:
        startup.begin()
        roles = Roles(platform(), internal_token(settings()))
    except StartupError as error:
        return startup.refuse(error)
    with suppress(KeyboardInterrupt):
        _serve(roles)
    return os.EX_OK


def _serve(roles: Roles) -> None:
    import uvicorn

    from headrace.service.jobs import Jobs
    from headrace.service.web_session import SessionSeal
    from headrace_dagster import definitions
    from headrace_dagster.catalog_entry import catalog_entry
    from headrace_dagster.home import workspace_file
    from headrace_dagster.launchable import with_launchable
    from headrace_dagster.private import code_location
    from headrace_dagster.private.webserver import webserver_app
    from headrace_dagster.ui import labels
    from headrace_dagster.ui.guard import Guard
    from headrace_dagster.ui.sign_in import SignIn

    jobs = Jobs(platform())
    make_entry = partial(catalog_entry, api_address=settings().api_address)
    code_location.follow(jobs, definitions.define_pipeline, make_entry)
    with webserver_app(workspace_file()) as app:
        guard = Guard(
            with_launchable(labels.with_names(app, jobs), code_location.launch_refusal),
            allowed_hosts=settings().allowed_hosts,
            authenticate=roles,
            sign_in=SignIn(SessionSeal.load(settings()), roles),
        )
        startup.freeze_garbage()
        uvicorn.run(
            guard,
            host=settings().dagster_host,
            port=settings().dagster_port,
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            timeout_graceful_shutdown=3,
        )


if __name__ == "__main__":
    sys.exit(main())
