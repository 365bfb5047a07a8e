"""The staging table: the output as it came, in columns of exactly the types that COPY sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import LoadRequest, Output, Rejected
from headrace.connectors.kit.arrow.prefetch import ahead
from headrace.connectors.kit.loading.lost import Lost, finer_than_microseconds
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.connection import execute, waiting
from headrace.connectors.postgres.landing import Landing
from headrace.connectors.postgres.values import without_json_nuls, without_nuls

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

ORDINAL = "_headrace_row"
"""The row's place in the output: of two rows with one key, the later one wins."""

_TEMPORARY = "_headrace_stage"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A table to send the output to: the session's own or, with a schema, one that becomes the target."""

    landings: list[Landing]
    schema: str | None = None
    table: str = _TEMPORARY
    ordinal: bool = False

    @property
    def sql(self) -> str:
        """The table's name as SQL."""
        return quoted(self.schema or "pg_temp", self.table)


def fill(connection: Connection, stage: Stage, request: LoadRequest) -> int:
    """Create the staging table and send it every row; return how many the server has taken.

    What the server cannot hold is left out with a warning: NUL characters, parts of a microsecond.
    """
    parts = [f"{quoted(item.name)} {item.wire}" for item in stage.landings]
    if stage.ordinal:
        parts.append(f"{quoted(ORDINAL)} bigint")
    kind, end = ("TABLE", "") if stage.schema else ("TEMPORARY TABLE", " ON COMMIT DROP")
    name = stage.sql if stage.schema else quoted(stage.table)
    execute(connection, f"CREATE {kind} {name} ({', '.join(parts)}){end}")
    lost = Lost()
    sent = 0
    # The next batch is read and converted in another thread while the server takes this one.
    for batch in ahead(_made_ready(stage, request.output, lost), check=lambda: None, depth=1):
        sent += _send(connection, stage, batch)
        request.progress(sent)
    lost.tell(request, "PostgreSQL")
    return sent


def _made_ready(stage: Stage, output: Output, lost: Lost) -> Iterator[pa.RecordBatch]:
    before = 0
    for batch in output.batches() if stage.landings else ():
        if batch.num_rows:
            yield _converted(batch, stage, before, lost)
        before += batch.num_rows


def _send(connection: Connection, stage: Stage, batch: pa.RecordBatch) -> int:
    # A statement a batch: what the caller raises in between is not lost inside the driver.
    with waiting(connection), connection.cursor() as cursor:
        if stage.schema:
            return cursor.adbc_ingest(stage.table, batch, mode="append", db_schema_name=stage.schema)
        return cursor.adbc_ingest(stage.table, batch, mode="append", temporary=True)


def _converted(batch: pa.RecordBatch, stage: Stage, before: int, lost: Lost) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = [_column(array, item, lost) for array, item in zip(batch.columns, stage.landings, strict=True)]
    names = [item.name for item in stage.landings]
    if stage.ordinal:
        arrays.append(pa.array(range(before, before + batch.num_rows), pa.int64()))
        names.append(ORDINAL)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _column(array: pa.Array, item: Landing, lost: Lost) -> pa.Array:
    import pyarrow as pa

    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    try:
        converted = item.convert(array)
        converted, count = without_json_nuls(converted) if item.wire == "jsonb" else without_nuls(converted)
    except (pa.ArrowException, ValueError, OverflowError, KeyError):  # a map may have a key twice
        raise Rejected(
            f"Column {item.name!r} holds a value that PostgreSQL's {item.natural} cannot."
        ) from None
    lost.nuls[item.name] += count
    if item.wire.startswith("time"):
        lost.fractions[item.name] += finer_than_microseconds(array)
    return converted
