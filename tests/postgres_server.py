"""The tests' PostgreSQL, for programs outside of pytest that have `tests` on their path."""

from support.postgres_server import run_postgres

__all__ = ["run_postgres"]
