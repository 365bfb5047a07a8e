"""`python -m headrace_dagster.code_server`: serves the stored pipelines to Dagster's webserver and daemon.

Run workers import this module too, so only `main` imports what is heavy.
"""

import os
import sys
import threading

_THREADS = 16  # each launch holds one until its process is up


def main() -> int:
    """Serve until stopped. Returns the exit code: that of StartupError where the installation cannot open."""
    from headrace.errors import StartupError
    from headrace_dagster import startup

    try:
        startup.begin()
        from headrace_dagster import definitions
        from headrace_dagster.installation import platform

        definitions.live.stamp()
        # The database may just have come back: leases that ran out before this start prove nothing yet.
        platform().database.steadiness.break_off()
    except StartupError as error:
        return startup.refuse(error)
    _serve()
    return os.EX_OK


def _serve() -> None:
    from headrace.service.upkeep import upkeep_store
    from headrace_dagster import agreement, dagster_command, definitions, home, startup
    from headrace_dagster.installation import platform, settings
    from headrace_dagster.private import grpc_server

    home.take_scratch(settings())
    grpc_server.follow(lambda: str(definitions.live.stamp()), definitions.status_of)
    agreement.keep_agreeing(upkeep_store(platform()).settling, threading.Event())
    startup.freeze_garbage()
    dagster_command.run(
        "dagster",
        *("api", "grpc", "--socket", os.environ["HEADRACE_CODE_SOCKET"]),
        *("--module-name", definitions.__name__, "--attribute", "repository"),
        *("--max-workers", str(_THREADS), "--log-level", "warning"),
        "--empty-working-directory",
        # Workers start with this interpreter, not with whichever `dagster` is on the path.
        "--use-python-environment-entry-point",
    )


if __name__ == "__main__":
    sys.exit(main())
