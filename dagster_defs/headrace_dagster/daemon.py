"""`python -m headrace_dagster.daemon`: Dagster's daemon, which fires schedules and watches runs."""

import os
import sys
from pathlib import Path


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
    _run(workspace, log_level)
    return os.EX_OK


def _run(workspace: Path, log_level: str) -> None:
    from headrace_dagster import dagster_command, definitions
    from headrace_dagster.installation import job_store
    from headrace_dagster.private import code_location

    code_location.follow(job_store(), definitions.define_pipeline)
    dagster_command.run("dagster-daemon", "run", "--workspace", str(workspace), "--log-level", log_level)


if __name__ == "__main__":
    sys.exit(main())
