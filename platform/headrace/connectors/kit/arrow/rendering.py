"""Arrow values as text: the one form that each type has in files, downloads, logs and columns of text.

docs/types.md has the table. No value goes through a Python object that might not hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_BYTES_AT_ONCE = 4 * 1024 * 1024  # of Arrow memory; the text may take several times as much


def texts(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Write each value as text; a null stays a null.

    Raises ValueError for values nested beyond 100 levels.
    """
    import pyarrow as pa

    from headrace.connectors.kit.arrow.flat_texts import resolved, writer_of
    from headrace.connectors.kit.arrow.json_columns import json_texts
    from headrace.connectors.kit.arrow.json_writer import union_of

    array = resolved(array)
    write = writer_of(array.type)
    if write is not None:
        return write(array)
    if pa.types.is_union(array.type):
        return union_of(array, texts)
    return json_texts(array, "text")


def json_lines(batch: pa.RecordBatch) -> bytes:
    """Write one JSON object a line. Raises ValueError for values nested beyond 100 levels."""
    from headrace.connectors.kit.arrow.json_writer import objects

    if not batch.num_columns:
        return b"{}\n" * int(batch.num_rows)
    return _content(objects(batch.schema.names, batch.columns, "text", 0, end="}\n"))


def csv_lines(batch: pa.RecordBatch, quote: Literal["texts", "needed"] = "needed") -> bytes:
    """Write the rows as CSV (RFC 4180). A null is an empty field, an empty text a pair of quotes.

    With `texts` every value of a text column is in quotes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not batch.num_columns or not batch.num_rows:
        return b""
    fields = [pc.fill_null(_field(column, quote), "") for column in batch.columns]
    rows = pc.binary_join_element_wise(*fields, ",") if len(fields) > 1 else fields[0]
    return _content(pc.binary_join_element_wise(rows, pa.scalar("\n"), ""))


def csv_header(names: list[str], quote: Literal["texts", "needed"] = "needed") -> bytes:
    """Write the names of the columns as the first line of a CSV file."""
    import pyarrow as pa

    columns = [pa.array([name], pa.string()) for name in names]
    return csv_lines(pa.RecordBatch.from_arrays(columns, names), quote) or b"\n"


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch into parts whose text needs little memory, however wide the rows are."""
    parts = max(1, -(-batch.nbytes // _BYTES_AT_ONCE))
    rows = max(1, batch.num_rows // parts)
    return (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def _field(column: pa.Array, quote: str) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    written = texts(column)
    special = pc.or_(pc.match_substring_regex(written, '[",\r\n]'), pc.equal(written, ""))
    in_quotes = pc.if_else(written.is_valid(), True, None) if quote == "texts" and is_text else special
    if not pc.any(in_quotes).as_py():
        return written
    escaped = pc.replace_substring(written, '"', '""')
    return pc.if_else(in_quotes, pc.binary_join_element_wise('"', escaped, '"', ""), written)


def _content(lines: pa.Array) -> bytes:
    """Return the texts one behind the other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    return pc.binary_join(whole, "")[0].as_buffer().to_pybytes()  # type: ignore[no-any-return]
