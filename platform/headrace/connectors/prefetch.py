"""Fetching the next pages while the last ones are being worked on."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from headrace.connectors.json_text import JsonRecords

T = TypeVar("T")
_CHECK_SECONDS = 0.2
_TEXT_AHEAD = 8 * 1024 * 1024  # bytes


class _Producer(threading.Thread):
    """Takes items out of an iterator until it ends or fails, or until nobody wants them any more."""

    def __init__(self, items: Iterator[object], depth: int) -> None:
        # A daemon: a server that keeps a read waiting must not keep the process from ending.
        super().__init__(name="headrace-prefetch", daemon=True)
        self._items, self._depth = items, depth
        self._made: deque[object] = deque()
        self._changed = threading.Condition()
        self._unwanted = False

    def run(self) -> None:
        try:
            for item in self._items:
                if not self._hand_over(item):
                    return
            self._hand_over(_END)
        except BaseException as error:  # raised again where the items are used
            self._hand_over(_Failure(error))

    def take(self, seconds: float) -> object:
        """Return the next item, or _NONE when there is none after so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._made, seconds):
                return _NONE
            self._changed.notify()
            return self._made.popleft()

    def stop(self) -> None:
        """End the thread, once its present item is made."""
        with self._changed:
            self._unwanted = True
            self._changed.notify()

    def _hand_over(self, item: object) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._unwanted or self._has_room())
            self._made.append(item)
            self._changed.notify()
            return not self._unwanted

    def _has_room(self) -> bool:
        if len(self._made) < self._depth:
            return True
        return sum(map(_size, self._made)) < _TEXT_AHEAD


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()
_NONE = object()


def ahead(items: Iterator[T], check: Callable[[], None], depth: int = 2) -> Iterator[T]:
    """Yield the items, made by another thread that is at most `depth` + 1 of them ahead.

    Of pages that are text it is as many ahead as are 8 MB in all, where that is more. While an item is waited
    for, `check` is called five times a second; what it raises ends the iteration, and the other thread once
    its present item is made.
    """
    producer = _Producer(items, depth)
    producer.start()
    try:
        while True:
            item = producer.take(_CHECK_SECONDS)
            if item is _NONE:
                check()
                continue
            if item is _END:
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]  # what else the producer hands over is dealt with above
    finally:
        producer.stop()


def _size(item: object) -> int:
    return item.size if isinstance(item, JsonRecords) else _TEXT_AHEAD
