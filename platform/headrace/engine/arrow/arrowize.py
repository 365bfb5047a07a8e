"""JSON records to Arrow, with nothing lost and nothing guessed. docs/types.md states the rules.

`pyarrow.array` infers the types of a page of records at once, late keys included, and refuses most mixtures.
The few that it would convert silently are looked for (`_is_exact`); a column that it refuses becomes text.
"""

import base64
import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, count
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow import rendering
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS
from headrace.engine.arrow.conforming import TooDeep, is_deep

_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError)
_CERTAIN = {pa.int64().id, pa.string().id, pa.bool_().id, pa.null().id}
_MOST_DIGITS = 1_000  # of a decimal that is written without an exponent
_FROM_BOOLEANS = pa.array([0.0, 1.0])
_HOLDS: tuple[tuple[Callable[[pa.DataType], bool], set[type]], ...] = (
    (pa.types.is_date, {date}),
    (pa.types.is_floating, {float, int}),
    (pa.types.is_decimal, {Decimal, int}),
    (pa.types.is_binary, {bytes}),
    (pa.types.is_duration, {timedelta}),
)
UNNAMED = "unnamed"
_WITHOUT_JSON = (datetime, date, time, timedelta, Decimal, UUID, bytes)


class NotRecords(Unreadable):
    """A source yielded something other than objects with text keys."""

    code = "source.not_records"


def arrowize(records: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Turn records into one batch: columns in the order in which their keys first appear.

    A missing key is a null. The empty key is called `unnamed`: no destination has a column without a name. A
    column whose values share no type, or that is nested deeper than
    DEEPEST_COLUMN, holds text: strings as they are, anything else as JSON. Raises NotRecords and TooDeep.
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
        if is_deep(column.type) or _is_doubtful(column):
            values = [record.get(name) for record in records]
            if is_deep(column.type) or not _is_exact(values, column.type):
                batch = batch.set_column(index, name, texts(values))
    return named(batch)


def named(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with a name for a column that has none: `unnamed`, or `unnamed_2` and so on."""
    names: list[str] = batch.schema.names
    if "" not in names:
        return batch
    choices = (UNNAMED if number == 1 else f"{UNNAMED}_{number}" for number in count(1))
    name = next(choice for choice in choices if choice not in names)
    return batch.rename_columns([found or name for found in names])


def texts(values: Iterable[Any]) -> pa.Array:
    """Write values as a column of text, as docs/types.md says: strings as they are, nulls as nulls.

    Raises TooDeep.
    """
    try:
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    except RecursionError:
        raise TooDeep("A value is nested too deep to be written as text.") from None


def _by_column(records: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    if not all(
        isinstance(record, dict) and all(isinstance(key, str) for key in record) for record in records
    ):
        raise NotRecords("The source yielded something other than objects with text keys.")
    names = dict.fromkeys(chain.from_iterable(records))
    columns = {name: _column([record.get(name) for record in records]) for name in names}
    return named(pa.RecordBatch.from_pydict({_valid(name): column for name, column in columns.items()}))


def _column(values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
    except _REFUSALS:
        return texts(values)
    return texts(values) if is_deep(column.type) or not _is_exact(values, column.type) else column


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
    if isinstance(value, _WITHOUT_JSON) or (isinstance(value, float) and not math.isfinite(value)):
        return _plain(value)
    try:
        return _valid(_json(value))
    except ValueError:  # NaN or infinity
        return _valid(_json(_named(value)))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _named(value: Any) -> Any:
    """Copy a value with the names of the numbers that JSON lacks in their places."""
    if isinstance(value, dict):
        return {key: _named(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_named, value))
    return _plain(value) if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> str:
    """Write a value that JSON has no form for, as an Arrow column of such values is written."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(rendering.texts(pa.array([value], pa.duration("us")))[0])
    if isinstance(value, Decimal):
        is_long = not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS
        return str(value) if is_long else format(value, "f")
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _valid(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 text can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
