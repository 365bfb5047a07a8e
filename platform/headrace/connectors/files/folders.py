"""Columns in the names of folders (`country=DE/day=2024-01-31`), as Hive, Spark and `file` write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from headrace.connectors import Unreadable

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.connectors.files.found import Found

_NULL = "__HIVE_DEFAULT_PARTITION__"
Values = Mapping[str, "str | None"]


class AmbiguousFolders(Unreadable):
    """Two folders of a path give one column different values."""

    code = "source.ambiguous_folders"
    title = "Folders that contradict each other"
    hint = "Set `partition_columns` to false to leave the folders' names alone."


def folder_values(found: Found) -> dict[str, str | None]:
    """Return the values that the folders of a file have in their names, below the pattern's fixed part."""
    values: dict[str, str | None] = {}
    for part in found.folders:
        name, equals, value = part.partition("=")
        if not (name and equals):
            continue
        column, text = unquote(name), None if value == _NULL else unquote(value)
        if values.get(column, text) != text:
            raise AmbiguousFolders(f"{found.name}: its folders give {column!r} two values.")
        values[column] = text
    return values


def folder_types(files: Iterable[Found]) -> dict[str, pa.DataType]:
    """Return the narrowest type of each column over all of the files, by the rules of CSV."""
    import pyarrow as pa

    from headrace.connectors.files.csv_types import narrowest

    seen: dict[str, list[str | None]] = {}
    for found in files:
        for column, text in folder_values(found).items():
            seen.setdefault(column, []).append(text)
    return {column: narrowest(pa.array(texts, pa.string())) for column, texts in seen.items()}


def with_values(rows: Any, values: Values, types: Mapping[str, pa.DataType]) -> Any:
    """Return rows with the folders' columns, the file's own ones of such names left as they are.

    Raises ValueError where a value is none of its type.
    """
    import pyarrow as pa

    from headrace.connectors.kit.arrow.parsing import parsed

    scalars = {
        column: parsed(pa.array([text], pa.string()), types[column])[0] for column, text in values.items()
    }
    if isinstance(rows, pa.RecordBatch):
        for column, scalar in scalars.items():
            if column not in rows.schema.names:
                rows = rows.append_column(column, pa.repeat(scalar, rows.num_rows))
        return rows
    plain = {column: scalar.as_py() for column, scalar in scalars.items()}
    return [{**row, **{name: value for name, value in plain.items() if name not in row}} for row in rows]


def in_order(rows: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Return the batch with its columns in an order, those that are not in it last."""
    rest = [name for name in rows.schema.names if name not in names]
    return rows.select([*(name for name in names if name in rows.schema.names), *rest])
