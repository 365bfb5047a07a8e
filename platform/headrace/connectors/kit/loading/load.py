"""The steps of a load, which are the same for every destination; each destination fills them in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass

from headrace.connectors import Loaded, LoadRequest, LoadResult


@dataclass(kw_only=True)
class Load(ABC):
    """One load. `run` calls the steps in this order: check, held, last, publish, note, commit."""

    request: LoadRequest
    table: str

    def run(self) -> LoadResult:
        """Load the output and note it, then commit. Do nothing if this very load was committed before.

        Whatever raises, `request.before_commit` included, leaves the destination as it was, as far as the
        destination can undo.
        """
        self.check()
        with self.held():
            last = self.last()
            if last is not None and last.load_id == self.request.load_id:
                self.request.log.info("This load was committed before; nothing is loaded twice.")
                self.tidy()
            else:
                self.publish()
                self.note()
                self.request.progress(self.request.output.rows)
                self.request.before_commit()
                self.commit()
            return LoadResult(rows=self.request.output.rows, location=self.location())

    def check(self) -> None:  # noqa: B027 - not every destination has something to refuse so early
        """Raise Rejected for what can be refused by the request alone."""

    @abstractmethod
    def held(self) -> AbstractContextManager[None]:
        """Keep other loads of the table and of the pipeline out; leave nothing behind on an error."""

    @abstractmethod
    def last(self) -> Loaded | None:
        """Return the pipeline's last committed load."""

    @abstractmethod
    def publish(self) -> None:
        """Bring the rows in, unseen by readers until `commit`."""

    @abstractmethod
    def note(self) -> None:
        """Note the load as the pipeline's last one, to be committed with its rows."""

    @abstractmethod
    def commit(self) -> None:
        """Make the rows and the note visible."""

    def tidy(self) -> None:  # noqa: B027 - most destinations undo by themselves what a kill leaves
        """Remove what a killed load has left, where this one was committed before it was killed."""

    @abstractmethod
    def location(self) -> str:
        """Say where the rows are, for people."""
