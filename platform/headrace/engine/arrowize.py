"""JSON records to Arrow, with nothing lost and nothing guessed. docs/types.md states the rules.

`pyarrow.array` infers the types of a page of records at once, late keys included, and refuses most mixtures.
The few that it would convert silently are looked for (`_is_exact`); a column that it refuses becomes text.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS

_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError)
_CERTAIN = {pa.int64().id, pa.string().id, pa.bool_().id, pa.null().id}
_FROM_BOOLEANS = pa.array([0.0, 1.0])
_HOLDS: tuple[tuple[Callable[[pa.DataType], bool], set[type]], ...] = (
    (pa.types.is_date, {date}),
    (pa.types.is_floating, {float, int}),
    (pa.types.is_decimal, {Decimal, int}),
    (pa.types.is_binary, {bytes}),
    (pa.types.is_duration, {timedelta}),
)


class NotRecords(Unreadable):
    """A source yielded something other than objects with text keys."""

    code = "source.not_records"


def arrowize(records: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Turn records into one batch: columns in the order in which their keys first appear.

    A missing key is a null. A column whose values share no type holds text: strings as they are, anything
    else as JSON. Raises NotRecords.
    """
    try:
        rows = pa.array(records, type=None if records else pa.struct([]))
        batch = pa.RecordBatch.from_struct_array(rows)
    except (*_REFUSALS, AttributeError, TypeError):
        return _by_column(records)
    if rows.null_count:
        raise NotRecords("The source yielded a null where a record belongs.")
    for index, name in enumerate(batch.schema.names):
        column = batch.column(index)
        if _is_doubtful(column):
            values = [record.get(name) for record in records]
            if not _is_exact(values, column.type):
                batch = batch.set_column(index, name, texts(values))
    return batch


def texts(values: Iterable[Any]) -> pa.Array:
    """Write values as a column of text: strings as they are, nulls as nulls, anything else as JSON."""
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _by_column(records: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    if not all(
        isinstance(record, dict) and all(isinstance(key, str) for key in record) for record in records
    ):
        raise NotRecords("The source yielded something other than objects with text keys.")
    names = dict.fromkeys(chain.from_iterable(records))
    columns = {name: _column([record.get(name) for record in records]) for name in names}
    return pa.RecordBatch.from_pydict({_valid(name): column for name, column in columns.items()})


def _column(values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
    except _REFUSALS:
        return texts(values)
    return column if _is_exact(values, column.type) else texts(values)


def _is_doubtful(column: pa.Array) -> bool:
    """Whether values of other types may have been converted to this column's without a word.

    Looks at the column only, since looking at each Python value costs as much as making the column did.
    """
    kind = column.type
    if kind.id in _CERTAIN:
        return False
    if pa.types.is_struct(kind):
        return any(_is_doubtful(column.field(index)) for index in range(kind.num_fields))
    if pa.types.is_list(kind):
        return _is_doubtful(column.flatten())
    if pa.types.is_floating(kind):
        return bool(pc.any(pc.is_in(column, value_set=_FROM_BOOLEANS)).as_py())
    return True


def _is_exact(values: Iterable[Any], kind: pa.DataType) -> bool:
    """Whether a column of this type holds just these values: measured against what pyarrow 26 converts."""
    if kind.id in _CERTAIN:
        return True
    present = [value for value in values if value is not None]
    if pa.types.is_struct(kind):
        return all(_is_exact([v.get(field.name) for v in present], field.type) for field in kind)
    if pa.types.is_list(kind):
        return _is_exact(chain.from_iterable(present), kind.value_type)
    types = set(map(type, present))
    if pa.types.is_timestamp(kind):
        return types <= {datetime} and len({value.tzinfo is None for value in present}) <= 1
    if pa.types.is_time(kind):
        return types <= {time} and all(value.tzinfo is None for value in present)
    if pa.types.is_decimal(kind) and kind.precision > DECIMAL_DIGITS:
        return False
    return any(test(kind) and types <= allowed for test, allowed in _HOLDS)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _valid(value)
    if isinstance(value, datetime | date | time | Decimal | UUID | bytes):
        return _plain(value)
    return _valid(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain))


def _plain(value: Any) -> str:
    """Write a value that JSON has no form for."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def _valid(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 text can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
