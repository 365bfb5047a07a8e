"""How to reach a PostgreSQL server, and what its failures mean."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import ConnectorError, Section, Unreachable
from headrace.connectors.kit.network import silence
from headrace.connectors.kit.network.limits import DatabaseLimits
from headrace.connectors.postgres.conninfo import address, reached, with_values
from headrace.connectors.postgres.failures import broken_off, not_connected, translated
from headrace.masking import MASK

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

# A statement that waits for its client, while the client waits for it, never gets on.
_ACTIVITY = (
    "SELECT coalesce(state = 'active' AND wait_event_type IS DISTINCT FROM 'Client', false)"
    " FROM pg_stat_activity WHERE pid = $1"
)
# How values are written as text and read from it. A user or a database may have other defaults (ALTER … SET).
_SETTINGS = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "1",  # the fewest digits that give a float again
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "xmloption": "content",
    "array_nulls": "on",
    "standard_conforming_strings": "on",  # a backslash has no meaning in our constants
    "transform_null_equals": "off",
    "gin_fuzzy_search_limit": "0",  # another one leaves rows out
}
_SETTLE = f"SELECT {', '.join(f'set_config({name!r}, {value!r}, true)' for name, value in _SETTINGS.items())}"

_watches: "WeakKeyDictionary[Connection, silence.Watch]" = WeakKeyDictionary()


class PostgresConnection(Section):
    """Where the server is and who asks: either `url`, or `host` with `database` and what else is needed."""

    address_fields: ClassVar[tuple[str, ...]] = ("host", "port", "sslmode", "url")

    url: SecretStr | None = Field(None, description="postgresql://user:password@host:5432/database")
    host: str | None = Field(None, min_length=1, description="A name, an address, or a socket's folder.")
    port: int = Field(5432, ge=1, le=65535)
    database: str | None = Field(None, min_length=1)
    user: str | None = Field(None, min_length=1)
    password: SecretStr | None = None
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    limits: DatabaseLimits = DatabaseLimits()

    @model_validator(mode="after")
    def _url_or_fields(self) -> "PostgresConnection":
        if self.url is None and (self.host is None or self.database is None):
            raise PydanticCustomError("connection_incomplete", "Give either url, or host and database.")
        if self.url is not None and (self.host or self.database or self.user):
            raise PydanticCustomError("connection_twice", "Give either url, or host, database and user.")
        return self

    def conninfo(self, hosts: Mapping[str, str] | None = None) -> str:
        """Return libpq's connection string, secrets included. What is wrong with `url`, connecting shows.

        `hosts` are libpq's settings of where the server is, as `reached` returns them.
        """
        given: dict[str, str | int | None] = {
            "host": self.host, "port": self.port if self.url is None else None, "dbname": self.database,
            "user": self.user, "password": self._password(), "sslmode": self.sslmode,
        }  # fmt: skip
        fixed: dict[str, str | int | None] = {
            "application_name": "headrace",
            "client_encoding": "UTF8",
            "connect_timeout": math.ceil(self.limits.connect_timeout),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "passfile": "/dev/null",  # never send a password of this machine's user to a configured address
        }
        values = {**given, **fixed, **(hosts or {})}
        return with_values(
            self._url(), {key: str(value) for key, value in values.items() if value is not None}
        )

    def reached(self) -> str:
        """Look the hosts up, and return the connection string that leads to their addresses."""
        return self.conninfo(reached(self._url(), self.host, self.port, self.limits.connect_timeout))

    def place(self) -> dict[str, Any]:
        """Name the database by its server's address; what a URL says counts as the fields do."""
        return {
            "host": self.host.lower() if self.host else None,
            "port": str(self.port),
            "database": self.database,
        } | address(self._url())

    def ports(self) -> set[str]:
        """Return the ports that connections may go to."""
        return set(re.findall(r"\d+", self.place()["port"]))

    def masked(self, text: str) -> str:
        """Return a server's message without this configuration's secrets."""
        for secret in (self._url(), self._password()):
            text = text.replace(secret, MASK) if secret else text
        return text

    def _url(self) -> str:
        return self.url.get_secret_value() if self.url else ""

    def _password(self) -> str | None:
        return self.password.get_secret_value() if self.password else None


@contextmanager
def connected(config: PostgresConnection, failure: type[ConnectorError]) -> "Iterator[Connection]":
    """Hold a connection in a transaction, which ends undone unless it was committed.

    What the driver raises, inside the block too, becomes a ConnectorError: `failure` where the server did
    not like what was asked. A server that falls silent is given up: see `waiting`.
    """
    import adbc_driver_manager
    from adbc_driver_postgresql import dbapi

    conninfo = config.reached()
    try:
        connection, known = silence.opened(lambda: dbapi.connect(conninfo), ports=config.ports())
    except adbc_driver_manager.Error as error:
        raise not_connected(config.masked(str(error))) from None
    watch = silence.Watch(known, config.limits) if known is not None else None
    try:
        backend = _backend(connection)
        if watch is not None:
            _watches[connection] = watch
            watch.ask = partial(_doing, config, backend)
        bound(connection, config.limits)
        yield connection
    except adbc_driver_manager.Error as error:
        raise translated(error, failure, config.masked) from None
    finally:
        if watch is not None:
            watch.close()
        with suppress(adbc_driver_manager.Error):  # what was committed stays so
            connection.close()


def bound(connection: "Connection", limits: DatabaseLimits) -> None:
    """Bound the waits for locks of the transaction that begins here."""
    execute(connection, f"SET LOCAL lock_timeout = {math.ceil(limits.lock_timeout * 1000)}")


def waiting(connection: "Connection") -> AbstractContextManager[None]:
    """Return a block that waits for the server, whose silence is watched meanwhile."""
    watch = _watches.get(connection)
    return watch.waiting() if watch is not None else nullcontext()


def settle(connection: "Connection") -> None:
    """Give the transaction the settings by which values are read and written, whatever the user's are.

    Of the transaction and not of the session: a pooler may hand the session on.
    """
    fetch(connection, _SETTLE)


def commit(connection: "Connection") -> None:
    """Commit the transaction."""
    with waiting(connection):
        connection.commit()


def fetch(connection: "Connection", query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a small query: all of them are held in memory."""
    with waiting(connection), connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


def execute(connection: "Connection", statement: str, *parameters: object) -> int:
    """Run a statement that returns no rows, and return how many it changed (-1: not known)."""
    with waiting(connection), connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return int(cursor.rowcount)


def stream(connection: "Connection", query: str, failure: type[ConnectorError]) -> "Iterator[pa.RecordBatch]":
    """Yield a query's rows as they come, some megabytes at a time. Raises `failure` or Unreachable."""
    import pyarrow as pa

    with connection.cursor() as cursor:
        with waiting(connection):
            cursor.execute(query)
            batches = cursor.fetch_record_batch()
        while True:
            try:
                with waiting(connection):
                    batch = batches.read_next_batch()
            except StopIteration:
                return
            except (OSError, pa.ArrowException) as error:  # once rows flow, the driver's errors are Arrow's
                raise broken_off(str(error), failure) from None
            yield batch


def _backend(connection: "Connection") -> int:
    """Return the number of the server's process for the connection, where the driver can read it."""
    ((number,),) = fetch(connection, "SELECT pg_backend_pid()")
    with waiting(connection):
        connection.rollback()  # what comes may begin with SET TRANSACTION
    if not isinstance(number, int):  # the driver looks types up by names, which are in quotes then
        raise Unreachable("Set quote_all_identifiers = off for this user: the driver knows no types with it.")
    return number


def _doing(config: PostgresConnection, backend: int) -> silence.Doing:
    """Ask the server, over another connection, what one of its processes does."""
    import adbc_driver_manager
    from adbc_driver_postgresql import dbapi

    try:
        with dbapi.connect(config.reached()) as asking:
            rows = fetch(asking, _ACTIVITY, backend)
    except Unreachable:
        return "nothing"
    except adbc_driver_manager.Error as error:
        return "unknown" if error.sqlstate or "FATAL" in str(error) else "nothing"
    if not rows:
        return "unknown"
    return "working" if rows[0][0] else "nothing"
