"""How to reach a PostgreSQL server, and what its failures mean."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from weakref import WeakKeyDictionary

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import ConnectorError, Section, Unauthorized, Unreachable
from headrace.connectors.kit.network import silence
from headrace.connectors.kit.sql.loads import Busy
from headrace.masking import MASK

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

_LOST = re.compile(r"server closed the connection|terminating connection")
_MESSAGE = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(.+)")
_TRIED = re.compile(r"connection to server|could not translate host name|FATAL:")
# A statement that waits for its client, while the client waits for it, never gets on.
_ACTIVITY = (
    "SELECT coalesce(state = 'active' AND wait_event_type IS DISTINCT FROM 'Client', false)"
    " FROM pg_stat_activity WHERE pid = $1"
)
_PLAIN_VALUE = re.compile(r"[\w./-]+")
_REFUSED = re.compile(r"authentication failed|no pg_hba\.conf entry|role .+ does not exist|permission denied")
# Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSED_STATES = ("28", "42501")
_UNREACHABLE_STATES = ("08", "53", "57P")
_BUSY_STATES = ("40001", "40P01", "55P03")

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

    @model_validator(mode="after")
    def _url_or_fields(self) -> "PostgresConnection":
        if self.url is None and (self.host is None or self.database is None):
            raise PydanticCustomError("connection_incomplete", "Give either url, or host and database.")
        if self.url is not None and (self.host or self.database or self.user):
            raise PydanticCustomError("connection_twice", "Give either url, or host, database and user.")
        return self

    def conninfo(self) -> str:
        """Return libpq's connection string, secrets included. What is wrong with `url`, connecting shows."""
        given: dict[str, str | int | None] = {
            "host": self.host, "port": self.port if self.url is None else None, "dbname": self.database,
            "user": self.user, "password": self._password(), "sslmode": self.sslmode,
        }  # fmt: skip
        fixed: dict[str, str | int | None] = {
            "application_name": "headrace",
            "client_encoding": "UTF8",
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "passfile": "/dev/null",  # never send a password of this machine's user to a configured address
        }
        return _with_values(
            self._url(), {key: str(value) for key, value in (given | fixed).items() if value is not None}
        )

    def place(self) -> dict[str, Any]:
        """Name the database by its server's address; what a URL says counts as the fields do."""
        return {
            "host": self.host.lower() if self.host else None,
            "port": str(self.port),
            "database": self.database,
        } | _address(self._url())

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

    try:
        connection, known = silence.opened(
            lambda: dbapi.connect(config.conninfo()), ports=config.place()["port"].split(",")
        )
    except adbc_driver_manager.Error as error:
        raise _not_connected(config.masked(str(error))) from None
    watch = silence.Watch(known) if known is not None else None
    try:
        backend = _backend(connection)
        if watch is not None:
            _watches[connection] = watch
            watch.ask = partial(_doing, config, backend)
        yield connection
    except adbc_driver_manager.Error as error:
        raise _translated(error, failure, config) from None
    finally:
        if watch is not None:
            watch.close()
        connection.close()


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
                raise _broken_off(str(error), failure) from None
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
        with dbapi.connect(config.conninfo()) as asking:
            rows = fetch(asking, _ACTIVITY, backend)
    except adbc_driver_manager.Error as error:
        return "unknown" if error.sqlstate or "FATAL" in str(error) else "nothing"
    if not rows:
        return "unknown"
    return "working" if rows[0][0] else "nothing"


def _with_values(url: str, values: Mapping[str, str]) -> str:
    """Add values to a connection string of either form; of a value that is there twice libpq takes the last.

    By hand, since importing psycopg takes as long as loading a small table.
    """
    if url.startswith(("postgresql://", "postgres://")):
        rest = url.partition("://")[2]
        user, at, place = rest.partition("@")
        if not at or "/" in user:  # libpq's rule for where the password ends: it may hold a question mark
            place = rest
        return f"{url}{'&' if '?' in place else '?'}{urlencode(values, quote_via=quote)}"
    return " ".join([url, *(f"{key}={_quoted_value(value)}" for key, value in values.items())]).strip()


def _quoted_value(value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _broken_off(message: str, failure: type[ConnectorError]) -> ConnectorError:
    reason = _MESSAGE.search(message)
    detail = reason[1] if reason else message.partition("\n")[0]
    return _kind("", failure, lost=bool(_LOST.search(message)))(f"PostgreSQL: {detail.strip()}")


def _not_connected(message: str) -> ConnectorError:
    if not _TRIED.search(message):  # libpq could not read the string, and quotes it
        return Unreachable("The url or a setting beside it is not one that PostgreSQL's library understands.")
    reason = _MESSAGE.search(message)
    detail = reason[1] if reason else message.partition("\n")[0].rpartition("failed: ")[2]
    kind = Unauthorized if _REFUSED.search(message) else Unreachable
    return kind(f"PostgreSQL could not be connected to: {detail.strip()}")


def _translated(error: Any, failure: type[ConnectorError], config: PostgresConnection) -> ConnectorError:
    """Keep the server's primary message alone: its DETAIL and CONTEXT quote rows."""
    facts = {key: str(value) for key, value in error.details if isinstance(value, str)}
    reason = _MESSAGE.search(str(error))
    message = facts.get("PG_DIAG_MESSAGE_PRIMARY") or (reason[1] if reason else str(error).partition("\n")[0])
    state = error.sqlstate or ""
    kind = _kind(state, failure, lost=bool(_LOST.search(str(error))))
    return kind(
        f"PostgreSQL: {config.masked(message.strip())}", context={"sqlstate": state} if state else None
    )


def _kind(state: str, failure: type[ConnectorError], *, lost: bool) -> type[ConnectorError]:
    if state.startswith(_REFUSED_STATES):
        return Unauthorized
    if lost or (state.startswith(_UNREACHABLE_STATES) and state != "08P01"):  # a malformed COPY is ours
        return Unreachable
    return Busy if state in _BUSY_STATES else failure


def _address(url: str) -> dict[str, Any]:
    """Return the host, port and database of a libpq URL or of its `key=value` form; without credentials."""
    if "://" in url:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query))
        host, _, port = parts.netloc.rpartition("@")[2].partition(":")
        if "[" in host:  # an IPv6 address has colons itself
            host, _, port = parts.netloc.rpartition("@")[2].rpartition(":")
        found = {"host": host, "port": port, "database": unquote(parts.path.lstrip("/"))}
    else:
        given = dict(re.findall(r"(\w+)\s*=\s*'?([^'\s]*)", url))
        found = {}
    for name, key in (("host", "host"), ("port", "port"), ("database", "dbname")):
        found[name] = given.get(key) or found.get(name, "")
    return {name: value.lower() if name == "host" else value for name, value in found.items() if value}
