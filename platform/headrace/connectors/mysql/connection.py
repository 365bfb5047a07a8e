"""How to reach a MySQL or MariaDB server, and what its failures mean."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import ConnectorError, Section, Unauthorized, Unreachable
from headrace.connectors.kit.network import silence
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.kit.network.deadlines import ended_after
from headrace.connectors.kit.network.limits import DatabaseLimits
from headrace.connectors.mysql.failures import is_lost, not_connected, translated

if TYPE_CHECKING:
    from pymysql.connections import Connection

_CUT_OFF = 2013
# Standard quotes, no backslash escapes, and no value that is cut or replaced in silence.
_SQL_MODE = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
_SETTINGS = (
    "net_write_timeout = 600",  # while the engine writes what it read
    "sql_select_limit = 18446744073709551615",  # a lower one, of the server's, would leave rows out
    "sql_auto_is_null = 0",
    "sql_safe_updates = 0",
    "completion_type = 0",
)
# https://dev.mysql.com/doc/refman/8.4/en/general-thread-states.html: of a thread that waits for its client
_WAITING_STATES = {"Writing to net", "Sending to client", "Reading from net", "Receiving from client"}
_ACTIVITY = "SELECT command, state FROM information_schema.processlist WHERE id = {:d}"
_watches: WeakKeyDictionary[Connection, silence.Watch] = WeakKeyDictionary()


class DriverMissing(ConnectorError):
    """The database's driver is not installed beside Headrace."""

    code = "connector.driver_missing"
    title = "Driver is not installed"
    hint = "Install headrace[mysql]."


class MySQLConnection(Section):
    """Where the server is and who asks."""

    address_fields: ClassVar[tuple[str, ...]] = ("host", "port", "socket", "tls", "tls_ca")

    host: str | None = Field(None, min_length=1)
    port: int = Field(3306, ge=1, le=65535)
    socket: str | None = Field(
        None, min_length=1, description="A Unix socket's path on the worker's machine, instead of a host."
    )
    database: str = Field(min_length=1, max_length=64)
    user: str = Field(min_length=1)
    password: SecretStr | None = None
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-identity"] = Field(
        "prefer", description="As MySQL's ssl-mode: `prefer` and `require` do not look at the certificate."
    )
    tls_ca: str | None = Field(
        None, min_length=1, description="Authorities to trust, a PEM file; the machine's own when absent."
    )
    limits: DatabaseLimits = DatabaseLimits()

    @model_validator(mode="after")
    def _one_place(self) -> MySQLConnection:
        if (self.host is None) == (self.socket is None):
            raise PydanticCustomError("connection_incomplete", "Give either host or socket.")
        if self.tls_ca is not None and not self.tls.startswith("verify"):
            raise PydanticCustomError("tls_ca_unused", "tls_ca needs tls: verify-ca or verify-identity.")
        return self

    def place(self) -> dict[str, Any]:
        """Name the database by its server's address."""
        host = self.host.lower() if self.host else None
        port = None if self.socket else self.port
        return {"host": host, "port": port, "socket": self.socket, "database": self.database}


@contextmanager
def connected(
    config: MySQLConnection, failure: type[ConnectorError], name: str = "headrace"
) -> Iterator[Connection]:
    """Hold a session in UTC and utf8mb4 that commits nothing by itself; what is open at the end is undone.

    What the driver raises, inside the block too, becomes a ConnectorError: `failure` where the server did
    not like what was asked. `name` tells the session to those who look at the server's.
    """
    try:
        import pymysql
    except ImportError:
        raise DriverMissing("This connector needs PyMySQL.") from None

    connection, watch = _opened(config, name)
    _watches[connection] = watch
    watch.ask = partial(_doing, config, connection.thread_id())
    try:
        seconds = math.ceil(config.limits.lock_timeout)
        bounds = (f"lock_wait_timeout = {seconds}", f"innodb_lock_wait_timeout = {seconds}")
        execute(connection, f"SET SESSION {', '.join(bounds + _SETTINGS)}")
        yield connection
    except pymysql.Error as error:
        raise translated(error, failure) from None
    finally:
        watch.close()
        if connection.open:
            connection.close()


@contextmanager
def waiting(connection: Connection) -> Iterator[None]:
    """Hold a block that waits for the server, whose silence is watched meanwhile."""
    import pymysql

    watch = _watches.get(connection)
    try:
        with watch.waiting() if watch is not None else nullcontext():
            yield
    except (OSError, AssertionError, IndexError, struct.error) as error:
        # What the driver raises for bytes that are no packet, and for a socket that fails.
        raise pymysql.OperationalError(
            _CUT_OFF, f"the connection broke off ({type(error).__name__})"
        ) from None


def commit(connection: Connection) -> None:
    """Commit the transaction."""
    with waiting(connection):
        connection.commit()


def fetch(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a small query: all of them are held in memory."""
    with waiting(connection), connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def execute(connection: Connection, statement: str) -> int:
    """Run a statement that returns no rows, and return how many it changed."""
    with waiting(connection), connection.cursor() as cursor:
        return int(cursor.execute(statement))


def _opened(config: MySQLConnection, name: str = "headrace") -> tuple[Connection, silence.Watch]:
    """Return a connection, and a watch of it, which is for the caller to close."""
    import pymysql
    from pymysql.constants import CLIENT

    from headrace.connectors.kit.network import connections

    connection = pymysql.connect(
        host=config.host,
        port=config.port,
        unix_socket=config.socket,
        user=config.user,
        password=config.password.get_secret_value() if config.password else "",
        database=config.database,
        charset="utf8mb4",
        sql_mode=_SQL_MODE,
        init_command="SET SESSION time_zone = '+00:00'",
        program_name=name,
        client_flag=CLIENT.FOUND_ROWS,  # an UPDATE says how many rows it found, not how many it changed
        # The server names the file that LOAD DATA LOCAL sends: none of this machine's is its business.
        local_infile=False,
        defer_connect=True,
        **_tls(config),
    )
    ends = time.monotonic() + config.limits.connect_timeout
    try:
        # The guard resolves, checks and connects: the driver gets a socket to an allowed address.
        opened = (
            connections.connect(config.host, config.port, config.limits.connect_timeout)
            if config.host
            else _local(config)
        )
        return connection, _greeted(connection, opened, config.limits, ends)
    except ForbiddenAddress:
        raise
    except pymysql.Error as error:
        raise not_connected(error) from None
    except (AssertionError, IndexError, struct.error):
        raise Unreachable("MySQL could not be connected to: what answers speaks another protocol.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Unreachable(f"MySQL could not be connected to: {reason}.") from None


def _greeted(
    connection: Connection, opened: socket.socket, limits: DatabaseLimits, ends: float
) -> silence.Watch:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    watch = silence.Watch(opened.dup(), limits)
    try:
        with ended_after(max(ends - time.monotonic(), 0.1), opened):
            connection.connect(opened)
    except BaseException:
        watch.close()
        raise
    return watch


def _doing(config: MySQLConnection, number: int) -> silence.Doing:
    """Ask the server, over another connection, what one of its threads does."""
    import pymysql

    try:
        asking, watch = _opened(config)
        try:
            rows = fetch(asking, _ACTIVITY.format(number))
        finally:
            watch.close()
            asking.close()
    except Unauthorized:
        return "unknown"
    except Unreachable:
        return "nothing"
    except pymysql.Error as error:
        return "nothing" if is_lost(error) else "unknown"
    if not rows:
        return "unknown"
    command, state = rows[0]
    return "working" if command == "Query" and state not in _WAITING_STATES else "nothing"


def _local(config: MySQLConnection) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.settimeout(config.limits.connect_timeout)
        opened.connect(config.socket or "")
    except OSError:
        opened.close()
        raise
    return opened


def _tls(config: MySQLConnection) -> dict[str, Any]:
    if config.tls == "disable":
        return {"ssl_disabled": True}
    if config.tls == "prefer":
        return {}
    try:
        context = ssl.create_default_context(cafile=config.tls_ca)
    except (OSError, ssl.SSLError):
        raise Unreachable("tls_ca is not a readable PEM file.") from None
    context.check_hostname = config.tls == "verify-identity"
    if config.tls == "require":
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}
