"""`python -m headrace_dagster.daemon`: Dagster's daemon, which fires schedules and watches runs."""

import os
import sys


def main() -> int:
    """Run until stopped. Returns the exit code: that of StartupError where the installation cannot open."""
    from headrace.errors import StartupError
    from headrace_dagster import startup
    from headrace_dagster.home import workspace_file
    from headrace_dagster.installation import settings

    try:
        startup.begin()
        workspace = workspace_file()
        log_level = settings().log_level
    except StartupError as error:
        return startup.refuse(error)
    from headrace_dagster import definitions, hosts, internals
    from headrace_dagster.installation import catalogue

    hosts.follow(catalogue(), definitions.define_pipeline)
    internals.run_daemon(workspace, log_level)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
