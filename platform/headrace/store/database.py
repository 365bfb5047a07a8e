"""The connection to the platform's database: SQLite (WAL) or PostgreSQL (psycopg 3).

Each method of a store is one transaction. On SQLite, a writer begins with IMMEDIATE and waits up to
`BUSY_SECONDS` for another writer. On PostgreSQL, connections are checked before use, so a restart of the
server causes at most one error for each request. Every wait has a bound, whatever state the server is in.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, create_engine, event, literal, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql import func

from headrace.errors import Conflict, HeadraceError, Unavailable
from headrace.store.steadiness import Steadiness

BUSY_SECONDS = 5.0
POOL_SIZE = 10
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TEMPORARY_CLASSES = {"08", "53", "57", "58", "40"}  # connection, resources, operator, system, rollback
_TEMPORARY_STATES = {
    "25006",
    "25P03",
    "25P04",
    "55P03",
}  # read-only for a while, time-outs, lock not available


class DatabaseUnavailable(Unavailable):
    """The platform's database does not respond, or was busy for too long."""

    code = "database.unavailable"
    title = "Database unavailable"


class ConstraintViolated(Conflict):
    """A write lost a race, which a constraint of the database decided."""

    code = "database.constraint"
    title = "Conflicting change"
    hint = "Read the resource again, and repeat the change."


class DatabaseFailed(HeadraceError):
    """A statement failed unexpectedly."""

    code = "database.failed"
    title = "Database error"
    hint = "See the log of the service."


class AdvisoryLock(IntEnum):
    """PostgreSQL's advisory locks of Headrace. Other users of the database should not take these numbers."""

    MIGRATIONS = 4242200721
    LAUNCHES = 4242200722
    DAGSTER_SCHEMA = 4242200723


class Database:
    """A pool of connections to the database at `url`."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.steadiness = Steadiness()
        self._joined: ContextVar[_Joined | None] = ContextVar("joined", default=None)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads, or use that of `joined` after its first write."""
        joined = self._joined.get()
        with self._watched():
            if joined is not None and joined.connection is not None:
                yield joined.connection
                return
            with self._connected() as connection:
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, rolled back by an exception.

        Within `joined`, this is a savepoint of the joined transaction, which is committed later.
        """
        joined = self._joined.get()
        with self._watched():
            if joined is not None:
                connection = joined.begun(self._connected)
                with connection.begin_nested():
                    yield connection
                return
            with self._connected(writes=True) as connection:
                yield connection
                connection.commit()

    @contextmanager
    def write_at_length(self) -> Iterator[Connection]:
        """A transaction that writes, of statements that may take any time, such as migrations."""
        with self.write() as connection:
            if self.is_sqlite:
                yield connection
                return
            from headrace.store.postgres import without_timeout

            with without_timeout(connection):
                yield connection

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Combine all writes of this thread in the block into one transaction, committed at its end.

        The transaction begins with the first write, so nothing is locked earlier. An exception rolls it back.
        """
        with self._watched(), ExitStack() as stack:
            joined = _Joined(stack)
            token = self._joined.set(joined)
            try:
                yield
            finally:
                self._joined.reset(token)
            if joined.connection is not None:
                joined.connection.commit()

    def now(self, connection: Connection) -> datetime:
        """Return the time of the database's clock. Leases use it, because workers' clocks may differ."""
        now = datetime.now(UTC) if self.is_sqlite else self._ask_time(connection)
        self.steadiness.saw(now)
        return now

    def close(self) -> None:
        """Close the pool's connections."""
        self.engine.dispose()

    def _ask_time(self, connection: Connection) -> datetime:
        began = time.monotonic()
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        self.steadiness.took(began)
        return now.astimezone(UTC)

    @contextmanager
    def _connected(self, *, writes: bool = False) -> Iterator[Connection]:
        began = time.monotonic()
        with self.engine.connect() as connection:
            self.steadiness.took(began)
            connection.execution_options(headrace_writes=writes)
            yield connection

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Replace exceptions of SQLAlchemy, and note those that say that the database is away."""
        try:
            with _without_sqlalchemy_errors():
                yield
        except DatabaseUnavailable:
            self.steadiness.break_off()
            raise


class _Joined:
    """A transaction that begins when it is first needed and lasts as long as `stack`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.connection: Connection | None = None

    def begun(self, connected: Callable[..., AbstractContextManager[Connection]]) -> Connection:
        """Return the connection, in its transaction."""
        if self.connection is None:
            self.connection = self._stack.enter_context(connected(writes=True))
        return self.connection


def hold_lock(connection: Connection, lock: AdvisoryLock) -> None:
    """Wait for the lock and hold it until the transaction ends. SQLite's writers take turns anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(literal(lock.value, BigInteger))))


@contextmanager
def _without_sqlalchemy_errors() -> Iterator[None]:
    """Replace exceptions of SQLAlchemy, because their texts contain statements, parameters and addresses."""
    try:
        yield
    except IntegrityError:
        raise ConstraintViolated("Another change was made at the same time.") from None
    except PoolTimeout:
        raise DatabaseUnavailable("All connections to the database are in use.") from None
    except DBAPIError as error:
        if error.connection_invalidated or _is_temporary(error):
            raise DatabaseUnavailable("The platform's database does not respond.") from None
        raise DatabaseFailed(f"The database refused a statement ({type(error.orig).__name__}).") from None
    except SQLAlchemyError as error:
        raise DatabaseFailed(f"The database refused a statement ({type(error).__name__}).") from None


def _is_temporary(error: DBAPIError) -> bool:
    """Return True if the statement may succeed later: no connection, locked, deadlock, shutdown."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _TEMPORARY_CLASSES or str(state) in _TEMPORARY_STATES
    # Without importing a driver: of SQLite, or of psycopg where no server has answered.
    return any(base.__name__ == "OperationalError" for base in type(error.orig).__mro__)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # Imported here: the embedded default needs no driver of PostgreSQL in memory.
        from headrace.store import postgres

        return postgres.bounded(
            create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=POOL_SIZE,
                max_overflow=POOL_SIZE,
                pool_timeout=BUSY_SECONDS,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args=postgres.CONNECT_ARGS,
            )
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
        # No isolation level, so the driver begins no transaction; `_begin_sqlite` does.
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # an accepted run survives a power failure
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that becomes a writer fails if another has written since. IMMEDIATE waits for its turn.
    writes = connection.get_execution_options().get("headrace_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
