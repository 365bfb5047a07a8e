"""`python -m headrace_dagster.code_server`: serves the stored pipelines to Dagster's webserver and daemon.

Run workers are spawned from this process and import this module: everything heavy is imported in `main`.
"""

import os
import sys
from pathlib import Path


def main() -> int:
    """Serve until stopped. Returns the exit code: that of StartupError where the installation cannot open."""
    from headrace.errors import StartupError
    from headrace_dagster import startup

    try:
        startup.begin()
        from headrace_dagster import definitions

        definitions.live.stamp()
    except StartupError as error:
        return startup.refuse(error)
    from headrace_dagster import code_servicer

    startup.settle()
    code_servicer.serve(
        socket=Path(os.environ["HEADRACE_CODE_SOCKET"]),
        module=definitions.__name__,
        attribute="repository",
        stamp=lambda: str(definitions.live.stamp()),
    )
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
