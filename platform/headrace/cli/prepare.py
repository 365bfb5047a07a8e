"""`python -m headrace.cli.prepare`: prepares a home folder for the platform's processes.

It is a separate process, because the supervisor would keep the memory of these imports.
"""

import os
import sys
from contextlib import closing

from headrace.errors import HeadraceError, StartupError
from headrace.service.platform import Platform, owner_token
from headrace.service.targets import tell_targets
from headrace.service.web_session import Purpose, SessionSeal
from headrace.settings import load_settings


def main() -> int:
    """Migrate the database, and create the keyring and the owner token if they are missing.

    Stores which table each pipeline fills where an older release has not.

    Prints a ticket that signs a browser in to the Dagster UI once. Returns the exit code: 78 if settings,
    keys or tables prevent a start, 69 if the database does not respond.
    """
    try:
        settings = load_settings()
        with closing(Platform.open(settings, migrate=True)) as platform:
            tell_targets(platform)
        ticket = SessionSeal.load(settings).seal(owner_token(settings), Purpose.TICKET)
    except HeadraceError as error:
        sys.stderr.write(f"{error.detail}\n{error.hint}\n")
        return error.exit_code if isinstance(error, StartupError) else os.EX_UNAVAILABLE
    sys.stdout.write(ticket)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
