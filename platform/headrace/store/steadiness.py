"""How long the database has answered without a break, as far as this process knows.

While the database is away nobody can renew a lease. Afterwards all leases look expired, though their workers
are well. So a lease counts as expired only after the database has been steady for a while.
"""

import time
from datetime import datetime

RENEWAL_SECONDS = 12.0
"""A worker that lives has renewed its lease by then: one attempt that times out, and the next."""
SLOW_SECONDS = 3.0
"""A statement that takes longer may have waited for a database that was frozen."""
CLOCK_SECONDS = 2.0
"""How far the database's clock may leave this machine's monotonic clock before it counts as a jump."""


class Steadiness:
    """Takes note of breaks. Safe to use from any thread."""

    def __init__(self) -> None:
        self._broken_at: float | None = None
        self._seen: tuple[float, datetime] | None = None

    def break_off(self) -> None:
        """Take note that the database does not answer, or may not have answered until now."""
        self._broken_at = time.monotonic()

    def took(self, began: float) -> None:
        """Take note of something that began at this time of the monotonic clock and is done."""
        if time.monotonic() - began > SLOW_SECONDS:
            self.break_off()

    def saw(self, now: datetime) -> None:
        """Take note of the database's clock; a jump of it is a break, since leases are measured by it."""
        at, last = time.monotonic(), self._seen
        self._seen = (at, now)
        if last is not None and abs((now - last[1]).total_seconds() - (at - last[0])) > CLOCK_SECONDS:
            self.break_off()

    def holds(self) -> bool:
        """Return whether an expired lease means that its worker is gone."""
        return self._broken_at is None or time.monotonic() - self._broken_at > RENEWAL_SECONDS
