"""Bounds on what dlt waits for, and which of the errors that come through it may pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from headrace.connectors import ConnectorError, Unreachable, Untrusted
from headrace.connectors.kit.network.connections import Bounds, bounded_pools, is_untrusted
from headrace.connectors.kit.network.limits import NetworkLimits

_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_PASSING = {
    # By name: whichever of these libraries is not installed has raised nothing.
    ("requests", "ConnectionError"), ("requests", "Timeout"), ("requests", "ChunkedEncodingError"),
    ("urllib3", "HTTPError"), ("psycopg2", "OperationalError"), ("psycopg2", "InterfaceError"),
    ("sqlalchemy", "OperationalError"), ("sqlalchemy", "InterfaceError"),
    ("dlt", "DestinationTransientException"), ("dlt", "DatabaseTransientException"),
}  # fmt: skip


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that it was raised for, the first of all at the end."""
    while error is not None:
        yield error
        error = error.__cause__


def bounded(limits: NetworkLimits) -> AbstractContextManager[None]:
    """Hold a block in which the requests of dlt and its sources have an end."""
    # dlt's settings are the operator's, and so are the addresses that it connects to.
    return bounded_pools(Bounds(connect=limits.connect_timeout, read=limits.read_timeout, is_checked=False))


def of_the_network(error: BaseException, name: str) -> ConnectorError | None:
    """Return what an error means if a network, or a server that is away or overloaded, is its cause."""
    if is_untrusted(error):
        return Untrusted(f"{name}: the server's certificate is not trusted.")
    cause = next((cause for cause in causes(error) if _may_pass(cause)), None)
    return None if cause is None else Unreachable(f"{name} stopped with {type(cause).__name__}.")


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _STATUSES:
        return True
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    return bool(kinds & _PASSING)
