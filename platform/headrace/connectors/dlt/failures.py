"""Which of the errors that come through dlt may pass."""

from collections.abc import Iterator

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


def passing(error: BaseException) -> BaseException | None:
    """Return what of an error's causes may pass: a network, a server that is away or overloaded; or None."""
    return next((cause for cause in causes(error) if _may_pass(cause)), None)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _STATUSES:
        return True
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    return bool(kinds & _PASSING)
