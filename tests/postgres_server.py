"""The tests' PostgreSQL, for programs outside of pytest that have `tests` on their path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).with_name("support")))  # where its own imports are

from support.postgres_server import run_postgres

__all__ = ["run_postgres"]
