"""What the Python function of a history yields. Its module lies in the platform's folder of connectors."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from cursor_forms import FORMS


def rows_of(path: str, cursor: Any) -> Iterator[Any]:
    """Yield the rows at or after the cursor and those without one, in the shape that was written."""
    form, shape, cursors, data = pickle.loads(Path(path).read_bytes())
    order = FORMS[form].order
    new = [
        index
        for index, value in enumerate(cursors)
        if cursor is None or value is None or order(value) >= order(cursor)
    ]
    if shape == "arrow":
        yield data.take(pa.array(new, pa.int64()))
    elif shape == "lists":
        yield [data[index] for index in new[:7]]
        yield [data[index] for index in new[7:]]
    else:
        yield from (data[index] for index in new)
