"""How to open a DuckDB file, and what its failures mean."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from headrace import scratch
from headrace.connectors import ConnectorError, OutOfSpace, Section, Unreachable
from headrace.connectors.kit.local_paths import local_path
from headrace.connectors.kit.sql.loads import Busy

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",  # nothing is fetched from the network
    "memory_limit": "1GB",  # of what DuckDB would take, four fifths of the machine; more goes to the disk
}


class DuckDBConnection(Section):
    """Where the database is."""

    path: str = Field(min_length=1, description="The database's file on the worker's machine.")

    def file(self) -> Path:
        """Return the file's whole path: no word before a colon in it can mean another kind of database."""
        return local_path(self.path)

    def place(self) -> dict[str, Any]:
        """Name the file, whichever way leads to it."""
        return {"file": str(self.file().resolve())}


@contextmanager
def opened(
    config: DuckDBConnection, failure: type[ConnectorError], *, read_only: bool
) -> Iterator[DuckDBPyConnection]:
    """Hold the database open in a transaction, which ends undone unless it was committed.

    DuckDB lets one process write, or several read. What it raises becomes a ConnectorError.
    """
    import duckdb

    settings = dict(_SETTINGS)
    if folder := scratch.current():
        settings["temp_directory"] = str(folder / "duckdb")  # DuckDB's default lies beside the database
    try:
        connection = duckdb.connect(str(config.file()), read_only=read_only, config=settings)
    except duckdb.Error as error:
        raise _not_opened(error, config) from None
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("BEGIN")
        yield connection
    except duckdb.Error as error:
        if _is_disk_full(error):
            raise _out_of_space(config) from None
        raise failure(f"DuckDB: {_first_line(error)}") from None
    finally:
        connection.close()


def _is_disk_full(error: Exception) -> bool:
    # DuckDB's errors have no number. Their text ends with what the C library says, which is not translated.
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))


def _out_of_space(config: DuckDBConnection) -> ConnectorError:
    return OutOfSpace(f"The disk of {config.path!r} is full.")


def _not_opened(error: Exception, config: DuckDBConnection) -> ConnectorError:
    if _is_disk_full(error):
        return _out_of_space(config)
    if "Could not set lock" in str(error) or "already open" in str(error):
        return Busy(f"Another process has {config.path!r} open, and DuckDB takes one writer at a time.")
    return Unreachable(f"{config.path!r} could not be opened: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Leave out the statement, which follows after an empty line."""
    return str(error).partition("\n")[0].strip()
