"""Parquet as CSV (RFC 4180) and as JSON lines, batch by batch, so that memory does not grow with the file.

pyarrow is imported with the first conversion: a service that only takes orders does without its 60 MB.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

_ROWS = 4096


def csv_lines(path: Path) -> Iterator[bytes]:
    """Yield a header and the rows. Null is an empty field; lists and structs are written as JSON."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    for number, (names, rows) in enumerate(_batches(path)):
        if number == 0:
            writer.writerow(names)
        writer.writerows([_field(row[name]) for name in names] for row in rows)
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def json_lines(path: Path) -> Iterator[bytes]:
    """Yield an object for each row.

    Times are ISO 8601, decimals are text, binary is base64; NaN and infinity are null.
    """
    for _, rows in _batches(path):
        lines = (json.dumps(_plain(row), ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
        yield "".join(lines).encode()


def _batches(path: Path) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """Yield the column names with a part of the rows; at least once, so that an empty file has its header."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        yield names, []
        for batch in file.iter_batches(batch_size=_ROWS):
            yield names, batch.to_pylist()


def _field(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, str):
        return plain
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Return the value as JSON has it."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
