"""Bounds on every wait for the records' PostgreSQL.

The server's own time-outs hold while it works. A server that is frozen, or behind a network that swallows
packets, observes none of them, so the driver gives up too, and closes the connection.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event

STATEMENT_SECONDS = 8.0
"""How long the server works at a statement. A request is answered within 12 s, with whatever it waits for."""
ANSWER_SECONDS = 10.0
"""How long the driver waits for an answer: longer, so that a server that works says itself why it stopped."""
PING_SECONDS = 3.0
CONNECT_ARGS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# The last one: a process that was paused within a transaction holds its locks no longer than this.
_SET_UP = (
    f"SET statement_timeout = {STATEMENT_SECONDS * 1000:.0f}; SET idle_in_transaction_session_timeout = 30000"
)


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time. The connection is closed: its state is unknown."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose every wait ends after `seconds`; None: never."""

    seconds: float | None = ANSWER_SECONDS

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for what the driver does. Raises NoAnswer."""
        if self.seconds is None:
            return super().wait(gen, *args, **options)
        try:
            return super().wait(_until(gen, time.monotonic() + self.seconds), *args, **options)
        except NoAnswer:
            self.pgconn.finish()
            raise


def bounded(engine: Engine) -> Engine:
    """Make an engine's connections bounded ones."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _set_up)
    dialect: Any = engine.dialect
    dialect.do_ping = _quickly(dialect.do_ping)
    return engine


@contextmanager
def without_timeout(connection: Connection) -> Iterator[None]:
    """Let the transaction's statements take any time in the block."""
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    driver.seconds = None
    try:
        yield
    finally:
        driver.seconds = ANSWER_SECONDS


def _until(steps: Any, deadline: float) -> Generator[Any, Any, Any]:
    """Do the driver's steps. The driver resumes after a tenth of a second when nothing has come."""
    ready = None
    while True:
        try:
            wanted = steps.send(ready)
        except StopIteration as done:
            return done.value
        ready = yield wanted
        if not ready and time.monotonic() > deadline:
            steps.close()
            raise NoAnswer("The server did not answer in time.")


def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
    return BoundedConnection.connect(*arguments, **options)


def _set_up(connection: BoundedConnection, _record: Any) -> None:
    connection.execute(_SET_UP)
    connection.commit()


def _quickly(ping: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def quick(connection: Any) -> bool:
        connection.seconds = PING_SECONDS
        try:
            return ping(connection)
        finally:
            connection.seconds = ANSWER_SECONDS

    return quick
