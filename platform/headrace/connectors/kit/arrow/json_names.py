"""A name for the member of a JSON object that has none: no destination has a column without a name."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from headrace.connectors.kit.arrow.json_text import JsonRecords

UNNAMED = "unnamed"
_EMPTY_KEY = re.compile(rb'""\s*:')


def with_names(records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the records, themselves where no key is empty; else `unnamed` or `unnamed_2` ... is the key."""
    if isinstance(records, JsonRecords) and not any(map(_EMPTY_KEY.search, records.lists)):
        return records
    if not any("" in record for record in records):
        return records
    rows = list(records)
    name = next(name for name in names() if not any(name in row for row in rows))
    return [{name if key == "" else key: value for key, value in row.items()} for row in rows]


def names() -> Iterator[str]:
    """Yield the names that are given, in order."""
    yield UNNAMED
    number = 2
    while True:
        yield f"{UNNAMED}_{number}"
        number += 1
