"""The token by which the platform's own processes know each other at Dagster's webserver.

It is no API token: nothing else accepts it, and it is not stored in the database.
"""

import secrets

from headrace import private_files
from headrace.settings import Settings


def internal_token(settings: Settings) -> str:
    """Return the installation's token of 256 random bits, made at the first call, whoever calls first.

    Raises NotPrivate when others may read the file.
    """
    path = settings.root / "run" / "dagster.token"
    private_files.make_private_folder(path.parent)
    private_files.create_private(path, secrets.token_urlsafe(32).encode())
    return private_files.read_private(path).decode()
