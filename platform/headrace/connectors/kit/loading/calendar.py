"""Dates and times beyond a system's calendar, found without reading rows: by the statistics of the output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import Output, Rejected

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_NANOSECONDS = {"milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9
_SECOND = 10**9


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The first and the last date, and time with a date, that a system has."""

    system: str
    days: tuple[int, int]  # since 1970
    seconds: tuple[int, int]  # since 1970: the first one, and the one after the last
    nested: bool = False  # whether the system keeps the times of lists and objects as times

    def check(self, output: Output) -> None:
        """Raise Rejected with the column of a date or time that the system does not have."""
        import pyarrow as pa

        for name, kind, least, most in self._extremes(output):
            if pa.types.is_date(kind):
                fits = self.days[0] * _DAY <= least and most <= self.days[1] * _DAY
            else:
                fits = self.seconds[0] * _SECOND <= least and most < self.seconds[1] * _SECOND
            if not fits:
                raise Rejected(
                    f"Column {name!r} holds a date or time that lies beyond {self.system}'s calendar.",
                    context={"column": name},
                )

    def _extremes(self, output: Output) -> Iterator[tuple[str, pa.DataType, int, int]]:
        """Yield the least and the most of each column, and of its parts, in nanoseconds since 1970."""
        import pyarrow.parquet as pq

        scanned = []
        with pq.ParquetFile(output.path) as file:
            place = 0
            for field in output.schema:
                noted = _noted(file, place) if _is_moment(field.type) else []
                if noted is None or (self.nested and not _is_moment(field.type) and _has_moment(field.type)):
                    scanned.append(field.name)
                yield from ((field.name, field.type, *edges) for edges in noted or ())
                place += _leaves(field.type)
        for batch in output.batches() if scanned else ():
            for name in scanned:
                for part in _moments(batch.column(name)):
                    yield from ((name, part.type, *edges) for edges in _edges(part))


def _noted(file: pq.ParquetFile, place: int) -> list[tuple[int, int]] | None:
    """Return the least and the most of each row group, of those that have any; None where it is not noted."""
    noted = json.loads(file.schema.column(place).logical_type.to_json())
    factor = _NANOSECONDS[noted["timeUnit"]] if "timeUnit" in noted else _DAY
    found = []
    for number in range(file.metadata.num_row_groups):
        chunk = file.metadata.row_group(number).column(place)
        statistics = chunk.statistics
        if statistics is None or (not statistics.has_min_max and statistics.null_count < chunk.num_values):
            return None
        if statistics.has_min_max:
            found.append((statistics.min_raw * factor, statistics.max_raw * factor))
    return found


def _edges(array: pa.Array) -> Iterator[tuple[int, int]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.min_max(array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())).as_py()
    factor = _DAY if pa.types.is_date(array.type) else _UNITS[array.type.unit]
    if found["min"] is not None:
        yield found["min"] * factor, found["max"] * factor


def _is_moment(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _has_moment(kind: pa.DataType) -> bool:
    return _is_moment(kind) or any(map(_has_moment, _inner(kind)))


def _leaves(kind: pa.DataType) -> int:
    """Return how many columns a type has in Parquet."""
    return sum(map(_leaves, _inner(kind))) or 1


def _inner(kind: pa.DataType) -> list[pa.DataType]:
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _inner(kind.storage_type)
    return [kind.field(index).type for index in range(kind.num_fields)]


def _moments(array: pa.Array) -> Iterator[pa.Array]:
    """Yield the arrays of dates and times within an array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if _is_moment(kind):
        yield array
    elif pa.types.is_map(kind):
        pairs = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
        yield from _moments(pc.list_flatten(array.cast(pairs)))
    elif pa.types.is_struct(kind):
        for part in array.flatten():
            yield from _moments(part)
    elif _has_moment(kind):
        yield from _moments(pc.list_flatten(array))
