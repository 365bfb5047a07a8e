"""The primary key that rows are merged on: each row has to have one."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.connectors import Output
from headrace.errors import HeadraceError


class NoKeyValue(HeadraceError):
    """A row lacks a value in its primary key: each load would add it once more."""

    code = "run.no_key_value"
    title = "Row without its primary key"
    hint = "Correct the row in the source, or drop it with a transform."


def check_keys(output: Output, key: Sequence[str]) -> None:
    """Raise NoKeyValue for the first row that lacks a value in its key, with the number of such rows.

    The file's statistics tell whether there are any; only then are the key's columns read.
    """
    with pq.ParquetFile(output.path) as file:
        if not any(_may_lack(file.metadata.row_group(index), key) for index in range(file.num_row_groups)):
            return
        keys = file.read(list(key))
    lacking = pa.repeat(False, keys.num_rows)
    for name in key:
        lacking = pc.or_(lacking, keys.column(name).is_null())
    count = pc.sum(lacking).as_py()
    if count:
        first = pc.index(lacking, True).as_py()
        raise NoKeyValue(
            f"Row {first + 1:,} of the output has no value in its primary key ({', '.join(key)}); "
            f"{count:,} rows have none.",
            context={"rows": str(count)},
        )


def _may_lack(group: pq.RowGroupMetaData, key: Sequence[str]) -> bool:
    """Whether a row group may hold a null in one of the columns."""
    columns = (group.column(index) for index in range(group.num_columns))
    known = {
        column.path_in_schema: column.statistics.null_count
        for column in columns
        if column.is_stats_set and column.statistics.has_null_count
    }
    return any(known.get(name) != 0 for name in key)
