"""Something built for each stored pipeline, kept up to date at the cost of the changes alone.

The store numbers its changes. A reader that remembers the last number it saw gets only the changes after it,
so a change costs the same beside ten pipelines and beside ten thousand.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from headrace.records import JobCard

T = TypeVar("T")


class ChangeLog(Protocol):
    """The store's numbered changes: `headrace.store.jobs.JobStore`."""

    def changed_after(self, sequence: int) -> tuple[int, Sequence[JobCard], Sequence[UUID]]:
        """Return the newest change's number, and the pipelines changed and deleted after `sequence`."""


class PipelineCache(Generic[T]):
    """What `build` makes of each pipeline's card. Safe to use from many threads.

    `changes` is called at each read, so the process may start before the database.
    """

    def __init__(self, changes: Callable[[], ChangeLog], build: Callable[[JobCard], T]) -> None:
        self._changes = changes
        self._build = build
        self._lock = threading.Lock()
        self._sequence = 0
        self._built: Mapping[UUID, T] = {}

    def all(self) -> Mapping[UUID, T]:
        """Return what is built of all pipelines that are stored now. The mapping never changes."""
        with self._lock:
            newest, cards, deleted = self._changes().changed_after(self._sequence)
            if newest < self._sequence:
                # The database was restored from a backup: start again.
                newest, cards, deleted = self._changes().changed_after(0)
                self._built = {}
            if cards or deleted:
                built = dict(self._built)
                for pipeline_id in deleted:
                    built.pop(pipeline_id, None)
                built.update((card.pipeline_id, self._build(card)) for card in cards)
                self._built = built
            self._sequence = newest
            return self._built
