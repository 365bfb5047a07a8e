"""How patient the HTTP client is, as part of a configuration."""

from pydantic import Field

from headrace.connectors import Section


class Limits(Section):
    """How long to wait, how often to try, how much to take."""

    requests_per_second: float | None = Field(None, gt=0, description="At most this many; unset: no limit.")
    connect_timeout: float = Field(10.0, gt=0, description="Seconds to wait for a connection.")
    read_timeout: float = Field(60.0, gt=0, description="Seconds to wait for the next bytes of an answer.")
    response_timeout: float = Field(300.0, gt=0, description="Seconds that one answer may take as a whole.")
    attempts: int = Field(6, ge=1, le=20, description="Requests at most for one page, retries included.")
    longest_wait: float = Field(300.0, ge=0, description="Longest Retry-After to obey, in seconds.")
    response_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="Size of one answer at most.")
