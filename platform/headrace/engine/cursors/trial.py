"""A trial: the reading of a source's first batches, which `max_iterations` ends before the source does."""

from collections.abc import Iterator
from typing import Any

from headrace.connectors import Checkpoint, Cursor, CutShort, RunWarning
from headrace.connectors.contract.warnings import Warn


class Trial:
    """Lets at most so many batches pass, and says where a run that ends there has come to."""

    def __init__(self, most: int | None, warn: Warn) -> None:
        self.is_cut = False
        """Whether there was more, and the reading has ended at a place that it cannot go on from."""
        self._most = most
        self._warn = warn

    def items(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the first batches, and the checkpoints between them. Warn if there are more."""
        batches, at_checkpoint = 0, False
        for item in items:
            if not isinstance(item, Checkpoint):
                if self._most is not None and batches >= self._most:
                    detail = f"Only the first {self._most:,} batches were read: `max_iterations` says so."
                    self._warn(RunWarning(code="source.max_iterations", detail=detail))
                    self.is_cut = not at_checkpoint
                    return  # not earlier: the checkpoint of the last batch follows it
                batches += 1
            at_checkpoint = isinstance(item, Checkpoint)
            yield item

    def reached(self, start: Cursor | None, *, writes: bool, merges: bool) -> Cursor | None:
        """Return the cursor of a reading that was cut: the one that it began with.

        What was left out may have any cursor, so the next run reads the same again. Raises CutShort if rows
        would be appended twice so.
        """
        if writes and not merges:
            raise CutShort("`max_iterations` has ended the reading where the next run cannot go on from.")
        return start
