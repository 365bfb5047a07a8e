"""The bulkhead of followed logs: their own threads, shared polls, and a bound for each token.

Without it a few hundred followers, who all come back at once after a restart, would hold every thread that
requests are answered by.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from anyio import CapacityLimiter

from headrace.errors import Unavailable
from headrace.records import Run
from headrace_api.dagster.log import LogPage
from headrace_api.shared_polls import SharedPolls

THREADS = 8
MOST = 250
"""How many logs one token may follow at once in this process."""
RECHECK_SECONDS = 3.0
_SHARED_SECONDS = 0.9  # less than between two polls of one follower


class LogSource(Protocol):
    """What reads logs: the Dagster client."""

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage: ...


class TooManyFollowers(Unavailable):
    """The token follows as many logs as one token may."""

    code = "run.too_many_followers"
    title = "Too many followed logs"
    hint = "Close some of the streams, or ask for the log without following it."


class Followers:
    """What the followers of one API process share."""

    def __init__(self) -> None:
        self.threads = CapacityLimiter(THREADS)
        self._polls = SharedPolls(_SHARED_SECONDS)
        self._counts: Counter[UUID | None] = Counter()

    def require_room(self, token_id: UUID | None) -> None:
        """Raise TooManyFollowers if the token follows as many logs as it may."""
        if self._counts[token_id] >= MOST:
            raise TooManyFollowers(f"This token follows {MOST} logs.")

    @contextmanager
    def counted(self, token_id: UUID | None) -> Iterator[None]:
        """Count a follower for the length of the block, on the event loop's thread."""
        self._counts[token_id] += 1
        try:
            yield
        finally:
            self._counts[token_id] -= 1
            self._counts += Counter()  # drops the zeros

    def run(self, run_id: UUID, organization_id: UUID, look_up: Callable[[], Run]) -> Run:
        """Return the run's row, looked up at most once a second for all of its followers."""
        return self._polls.get(
            (organization_id, run_id), look_up, is_final=lambda run: run.status.is_terminal
        )

    def source(self, source: LogSource) -> LogSource:
        """Return a source of logs that asks once a second for all followers at the same place."""
        return _SharedSource(source, self._polls)


class _SharedSource:
    def __init__(self, source: LogSource, polls: SharedPolls) -> None:
        self._source = source
        self._polls = polls

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage:
        """Return a page, perhaps one that another follower has just got."""
        return self._polls.get(
            (dagster_run_id, cursor),
            lambda: self._source.logs(dagster_run_id, cursor),
            is_final=lambda page: page.ended,
        )


def rechecked(look_up: Callable[[], Run], check: Callable[[], object]) -> Callable[[], Run]:
    """Return `look_up`, with `check` called before it every few seconds: a token may be revoked meanwhile."""
    due = time.monotonic() + RECHECK_SECONDS

    def checked() -> Run:
        nonlocal due
        if time.monotonic() >= due:
            check()
            due = time.monotonic() + RECHECK_SECONDS
        return look_up()

    return checked
