"""The steps of a load, which are the same for every destination; each destination fills them in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from headrace.connectors import Loaded, LoadRequest, LoadResult, MovedOn, Rejected, SchemaChange
from headrace.failpoints import reach


@dataclass(kw_only=True)
class Load(ABC):
    """One load. `run` calls the steps in this order: check, held, last, own, publish, note, commit."""

    request: LoadRequest
    table: str
    inserted: int | None = field(
        init=False, default=None
    )  # the counts of LoadResult, as far as they are known
    updated: int | None = field(init=False, default=None)
    deleted: int | None = field(init=False, default=None)
    total: int | None = field(init=False, default=None)
    changes: tuple[SchemaChange, ...] = field(init=False, default=())

    def run(self) -> LoadResult:
        """Load the output and note it, then commit. Do nothing if this very load was committed before.

        Whatever raises, `request.before_commit` included, leaves the destination as it was, as far as the
        destination can undo. Raises MovedOn if another load has come between, and TableOwned if the table is
        not the pipeline's.
        """
        if self.request.shared and self.request.disposition == "replace":
            raise Rejected(f"The table {self.table!r} is shared: its rows are added to, and never replaced.")
        self.check()
        with self.held():
            reach("locked", self.request.pipeline_id)
            last = self.last()
            if last is not None and last.load_id == self.request.load_id:
                self.request.log.info("This load was committed before; nothing is loaded twice.")
                self.tidy()
            else:
                self.own()
                check_continues(self.request, last)
                self._publish()
            return self._result()

    def advance(self) -> bool:
        """Note the request's cursor and load id without rows. Return False if there is no load to go on from.

        Raises what `run` raises.
        """
        with self.held():
            last = self.last()
            if last is None:
                return False
            if last.load_id == self.request.load_id:
                return True
            self.own()
            if not self.keeps():
                return False
            check_continues(self.request, last)
            self.note_alone()
            self.request.before_commit()
            self.commit()
        return True

    def _publish(self) -> None:
        self.publish()
        reach("staged", self.request.pipeline_id)
        self.note()
        reach("noted", self.request.pipeline_id)
        self.request.progress(self.request.output.rows)
        self.request.check_result(self._result())
        # Last: what it waits for is the only time in which the run may pass to another worker unseen.
        self.request.before_commit()
        self.commit()
        reach("landed", self.request.pipeline_id)

    def _result(self) -> LoadResult:
        return LoadResult(
            rows=self.request.output.rows,
            location=self.location(),
            inserted=self.inserted,
            updated=self.updated,
            deleted=self.deleted,
            total=self.total,
            schema_changes=self.changes,
        )

    def check(self) -> None:  # noqa: B027 - not every destination has something to refuse so early
        """Raise Rejected for what can be refused by the request alone."""

    @abstractmethod
    def held(self) -> AbstractContextManager[None]:
        """Keep other loads of the table and of the pipeline out; leave nothing behind on an error."""

    @abstractmethod
    def last(self) -> Loaded | None:
        """Return the pipeline's last committed load."""

    def own(self) -> None:  # noqa: B027 - not every destination keeps a record of owners
        """Raise TableOwned if the table is not the pipeline's."""

    @abstractmethod
    def publish(self) -> None:
        """Bring the rows in, unseen by readers until `commit`."""

    @abstractmethod
    def note(self) -> None:
        """Note the load as the pipeline's last one, to be committed with its rows."""

    def keeps(self) -> bool:
        """Whether the table of the last load is there, and is the one that this load is for."""
        return False

    def note_alone(self) -> None:
        """Note a load that published nothing."""
        self.note()

    @abstractmethod
    def commit(self) -> None:
        """Make the rows and the note visible."""

    def tidy(self) -> None:  # noqa: B027 - most destinations undo by themselves what a kill leaves
        """Remove what a killed load has left, where this one was committed before it was killed."""

    @abstractmethod
    def location(self) -> str:
        """Say where the rows are, for people."""


def check_continues(request: LoadRequest, last: Loaded | None) -> None:
    """Raise MovedOn if the rows go on from another load than the last one."""
    found = last.load_id if last else ""
    if request.continues and found != (request.previous_load or ""):
        raise MovedOn("Another load of this pipeline was committed after this run had read its cursor.")
