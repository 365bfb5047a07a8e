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

_REMEMBERED_SECONDS = 5.0
"""How long a token's role is remembered: the UI asks several times a second."""


class Roles:
    """The roles that tokens give: the API's tokens, and the one by which the platform knows itself."""

    def __init__(self, platform: Platform, internal: str) -> None:
        self._platform = platform
        self._internal = internal
        self._remembered: dict[str, tuple[Role, float]] = {}

    def __call__(self, token: str) -> Role:
        """Return the token's role; a revoked token's for 5 s more. Raises Unauthenticated, Unavailable."""
        if hmac.compare_digest(token.encode(), self._internal.encode()):
            return Role.OWNER
        now = time.monotonic()
        role, until = self._remembered.get(token, (Role.VIEWER, 0.0))
        if now < until:
            return role
        self._remembered = {known: entry for known, entry in self._remembered.items() if entry[1] > now}
        role = self._platform.authenticate(token).role
        self._remembered[token] = (role, now + _REMEMBERED_SECONDS)
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
    from headrace_dagster import definitions, hosts, labels
    from headrace_dagster.catalog_entry import catalog_entry
    from headrace_dagster.guard import Guard
    from headrace_dagster.home import workspace_file
    from headrace_dagster.internals import webserver_app
    from headrace_dagster.sign_in import SignIn

    enter = partial(catalog_entry, api_address=settings().api_address)
    hosts.follow(Jobs(platform()), definitions.define_pipeline, enter)
    routes = labels.routes(Jobs(platform()))
    with webserver_app(workspace_file(), routes=routes, script=labels.SCRIPT_PATH) as app:
        guard = Guard(
            app,
            allowed_hosts=settings().allowed_hosts,
            authenticate=roles,
            sign_in=SignIn(SessionSeal.load(settings()), roles),
        )
        startup.settle()
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
