"""How long connectors wait, and how often they try again: each bound, as part of a configuration.

docs/connectors/limits.md says what each of them covers.
"""

from pydantic import Field

from headrace.connectors import Section


class NetworkLimits(Section):
    """What holds for every connection."""

    connect_timeout: float = Field(
        10.0, gt=0, description="Seconds to look up the name, connect, agree on TLS and sign in."
    )
    read_timeout: float = Field(60.0, gt=0, description="Seconds to wait for the next bytes.")


class DatabaseLimits(NetworkLimits):
    """How long to wait for a database."""

    read_timeout: float = Field(
        40.0, gt=0, description="Seconds without progress, after which the server is asked what it does."
    )
    lock_timeout: float = Field(60.0, gt=0, description="Seconds to wait for a lock of another session.")


class RetryLimits(NetworkLimits):
    """How long to wait for what is asked for by HTTP, and how often to ask."""

    attempts: int = Field(5, ge=1, le=20, description="Requests at most for one answer, retries included.")
    retry_timeout: float = Field(180.0, gt=0, description="Seconds after which nothing is asked for again.")


class TransferLimits(RetryLimits):
    """The same for files."""

    response_timeout: float = Field(
        3600.0, gt=0, description="Seconds that one request to an object store may take as a whole."
    )
    longest_wait: float = Field(60.0, ge=0, description="Longest Retry-After to obey, in seconds.")


class WarehouseLimits(RetryLimits):
    """The same for a service that runs jobs."""

    retry_timeout: float = Field(60.0, gt=0, description="Seconds after which nothing is asked for again.")
    response_timeout: float = Field(300.0, gt=0, description="Seconds that one answer may take as a whole.")


class Limits(RetryLimits):
    """The same for an API, and how much to take of it."""

    requests_per_second: float | None = Field(None, gt=0, description="At most this many; unset: no limit.")
    response_timeout: float = Field(300.0, gt=0, description="Seconds that one answer may take as a whole.")
    attempts: int = Field(6, ge=1, le=20, description="Requests at most for one page, retries included.")
    retry_timeout: float = Field(
        1800.0, gt=0, description="Seconds after which a page is not asked for again."
    )
    longest_wait: float = Field(300.0, ge=0, description="Longest Retry-After to obey, in seconds.")
    response_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="Size of one answer at most.")
