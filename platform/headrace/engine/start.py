"""Where a run starts to read: after what its table already holds, or at the beginning.

A cursor belongs to the data that it orders and to the table that holds the rows up to it. The destination's
own record is asked first; the platform's copy of the state serves destinations that keep none.
"""

from dataclasses import dataclass

from headrace.connectors import Cursor, Destination, Loaded, RunWarning, Stream
from headrace.engine.job import EngineJob
from headrace.engine.reporting import Reporter
from headrace.engine.transforms.columns import renamed
from headrace.errors import Conflict
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.identity import Identity, identity_of
from headrace.records import State, StateDemand


class OtherState(Conflict):
    """The table holds rows of other data, or rows up to a cursor in another order."""

    code = "state.other_data"
    title = "The table holds other data"
    hint = (
        "Reset the pipeline's state to replace the table. Or set `adopt: true` in `destination` to keep its "
        "rows and load everything beside them. Or load into another table."
    )


class SharedReset(Conflict):
    """The state of a pipeline that appends to a shared table was reset."""

    code = "state.shared_reset"
    title = "A shared table cannot be reset"
    hint = (
        "Set the state to the cursor to go on from. Or take `shared` out of `destination` for one run, which "
        "then replaces the whole table."
    )


@dataclass(frozen=True, kw_only=True)
class Start:
    """From where a run reads, and what its load goes on from."""

    identity: str  # what the cursor that the run stores belongs to
    cursor: Cursor | None = None
    previous_load: str | None = None  # the load that the destination held a record of
    continues: bool = False  # the load has to find that record unchanged
    replaces: bool = False  # the run reads everything and replaces the table


def start_of(config: PipelineConfig, job: EngineJob, reporter: Reporter, stream: Stream | None) -> Start:
    """Return where the run starts; `stream` is None for a full refresh. Raises OtherState, SharedReset."""
    cursor_field = config.cursor_field or (stream.cursor_field if stream else None)
    identity = identity_of(config, cursor_field)
    if stream is None:
        return Start(identity=str(identity), replaces=True)
    if job.state.demand is not None:
        reporter.log.info("The state was %s by a client", job.state.demand)
        replaces = job.state.demand is StateDemand.RESET and not (config.shared and merges(config, stream))
        if replaces and config.shared:
            raise SharedReset("A reset would delete what other pipelines have loaded into the shared table.")
        return Start(identity=str(identity), cursor=job.state.cursor, replaces=replaces)
    last = config.destination.last_load(job.pipeline_id)
    choice = _Choice(config, reporter, identity, merges=merges(config, stream))
    return choice.after(last, job.state) if last else choice.without_record(job.state)


def merges(config: PipelineConfig, stream: Stream) -> bool:
    """Whether the stream's rows replace those with their primary key in the table."""
    has_key = bool(renamed(stream.primary_key, config.transforms))
    return has_key and "merge" in config.destination.dispositions


class _Choice:
    """Decides between going on and starting anew."""

    def __init__(
        self, config: PipelineConfig, reporter: Reporter, identity: Identity, *, merges: bool
    ) -> None:
        self._config = config
        self._reporter = reporter
        self._identity = identity
        self._merges = merges

    def after(self, last: Loaded, state: State) -> Start:
        """Go on from the destination's record, if it is of the same data and of a table that is there."""
        if not last.table_exists:
            return self._anew(last.load_id, "state.table_gone", "The destination's table is gone.")
        # A record of an older release tells no identity. The platform's copy of the same load may.
        copy = state.identity if str(state.load_id) == last.load_id else ""
        known = Identity.read(last.identity or copy)
        if self._is_whole_copy(known, last):
            self._reporter.log.info("The table holds a full refresh: it is replaced once more")
            return self._begin(last.load_id, replaces=True)
        return self._anew_if_other(known, last.load_id) or self._begin(last.load_id, last.cursor)

    def without_record(self, state: State) -> Start:
        """Go on from the platform's copy, if the destination keeps no record itself."""
        if state.cursor is None:
            return self._begin(None)
        known = Identity.read(state.identity)
        if known is not None and known.table != self._identity.table:
            return self._anew(None, "state.other_table", "The pipeline now fills another table.")
        keeps_records = type(self._config.destination).last_load is not Destination.last_load
        if keeps_records and state.load_id is not None:
            return self._anew(None, "state.table_gone", "The destination has no record of the last load.")
        return self._anew_if_other(known, None) or self._begin(None, state.cursor)

    def _is_whole_copy(self, known: Identity | None, last: Loaded) -> bool:
        """Whether the pipeline was a full refresh at its last load: appending would double its rows."""
        if self._config.shared:
            return False
        if known is None:
            return last.cursor is None
        return known.is_whole and known.table == self._identity.table

    def _anew_if_other(self, known: Identity | None, load_id: str | None) -> Start | None:
        """Start anew where the state belongs to another table; refuse to mix two kinds of data in one."""
        if known is None or known == self._identity:
            return None
        if known.table != self._identity.table:
            return self._anew(load_id, "state.other_table", "The pipeline now fills another table.")
        if known.data == self._identity.data and self._merges:
            return self._anew(load_id, "state.other_cursor", "The cursor field has changed.")
        if self._config.adopt:
            return self._anew(load_id, "state.other_data", "The table's earlier rows are of other data.")
        if known.data == self._identity.data:
            raise OtherState("The table's rows were read by another cursor field.")
        raise OtherState("The table holds rows of another source or stream.")

    def _anew(self, load_id: str | None, code: str, reason: str) -> Start:
        self._reporter.warn(RunWarning(code=code, detail=f"{reason} The stream is read from its beginning."))
        return self._begin(load_id)

    def _begin(self, load_id: str | None, cursor: Cursor | None = None, *, replaces: bool = False) -> Start:
        return Start(
            identity=str(self._identity),
            cursor=cursor,
            previous_load=load_id,
            continues=True,
            replaces=replaces,
        )
