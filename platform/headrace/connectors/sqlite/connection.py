"""How to open a SQLite file, and what its failures mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from headrace.connectors import ConnectorError, OutOfSpace, Section, Unreachable
from headrace.connectors.kit.local_paths import local_path
from headrace.connectors.kit.sql.loads import Busy

_BUSY_SECONDS = 30.0
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SQLiteConnection(Section):
    """Where the database is."""

    path: str = Field(min_length=1, description="The database's file on the worker's machine.")

    def file(self) -> Path:
        """Return the file's whole path."""
        return local_path(self.path)

    def place(self) -> dict[str, Any]:
        """Name the file, whichever way leads to it."""
        return {"file": str(self.file().resolve())}


@contextmanager
def opened(
    config: SQLiteConnection, failure: type[ConnectorError], *, read_only: bool
) -> Iterator[sqlite3.Connection]:
    """Hold the database open, outside a transaction; what SQLite raises becomes a ConnectorError.

    Text that is not UTF-8 is read as the bytes that it is.
    """
    mode = "ro" if read_only else "rwc"
    try:
        connection = sqlite3.connect(
            f"{config.file().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
        )
    except sqlite3.Error:
        raise Unreachable(f"{config.path!r} could not be opened.") from None
    connection.text_factory = _text
    with closing(connection):
        try:
            connection.execute(
                "SELECT count(*) FROM sqlite_schema"
            )  # the file is read here for the first time
            yield connection
        except sqlite3.Error as error:
            raise _translated(error, failure, config) from None


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _translated(
    error: sqlite3.Error, failure: type[ConnectorError], config: SQLiteConnection
) -> ConnectorError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _LOCKED:
        return Busy(f"Another process is writing to {config.path!r}.")
    if code == sqlite3.SQLITE_FULL:
        return OutOfSpace(f"The disk of {config.path!r} is full.")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB):
        return Unreachable(f"{config.path!r} could not be opened: {error}.")
    return failure(f"SQLite: {error}.")
