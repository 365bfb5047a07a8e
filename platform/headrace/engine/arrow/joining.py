"""Small pages made into larger ones, where the source is quick: each conversion to Arrow has its own cost."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from headrace.connectors.kit.arrow.json_text import JsonRecords

_QUICK_SECONDS = (
    0.02  # a wait for the next item: a source that takes longer is not waited for with rows in hand
)
_LONGEST_SECONDS = 0.1  # what can be decoded in this time is little
_END = object()


def joined(items: Iterable[Any], records: int = 2_000) -> Iterator[Any]:
    """Yield the items in order; pages that come in quick succession as one, until it has `records` or more.

    Pages are lists, or JsonRecords; those of the two kinds are not joined. Nothing that came is kept back
    while a slow source is waited for, nor across anything but a page.
    """
    iterator = iter(items)
    kept: list[Any] = []
    count, began = 0, 0.0
    while True:
        asked = time.monotonic()
        item = next(iterator, _END)
        now = time.monotonic()
        if kept and type(item) is not type(kept[0]):
            yield _one(kept)
            kept, count = [], 0
        if item is _END:
            return
        if not isinstance(item, list | JsonRecords):
            yield item
            continue
        began = began if kept else now
        kept.append(item)
        count += len(item)
        if count >= records or now - asked >= _QUICK_SECONDS or now - began >= _LONGEST_SECONDS:
            yield _one(kept)
            kept, count = [], 0


def _one(pages: list[Any]) -> Any:
    if len(pages) == 1:
        return pages[0]
    if isinstance(pages[0], JsonRecords):
        return JsonRecords.joined(pages)
    return [record for page in pages for record in page]
