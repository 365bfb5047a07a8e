"""Small pages made into larger ones, where the source is quick: each conversion to Arrow has its own cost."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

_QUICK_SECONDS = (
    0.02  # a wait for the next item: a source that takes longer is not waited for with rows in hand
)
_LONGEST_SECONDS = 0.1  # what can be decoded in this time is little
_END = object()


def joined(items: Iterable[Any], records: int = 2_000) -> Iterator[Any]:
    """Yield the items in order; lists that come in quick succession as one, until it has `records` or more.

    Nothing that came is kept back while a slow source is waited for, nor across anything but a list.
    """
    iterator = iter(items)
    kept: list[list[Any]] = []
    count, began = 0, 0.0
    while True:
        asked = time.monotonic()
        item = next(iterator, _END)
        now = time.monotonic()
        is_list = isinstance(item, list)
        if is_list:
            began = began if kept else now
            kept.append(item)  # type: ignore[arg-type]
            count += len(item)  # type: ignore[arg-type]
            if count < records and now - asked < _QUICK_SECONDS and now - began < _LONGEST_SECONDS:
                continue
        if kept:
            yield kept[0] if len(kept) == 1 else [record for page in kept for record in page]
            kept, count = [], 0
        if item is _END:
            return
        if not is_list:
            yield item
