"""Fetching the next pages while the last ones are being worked on."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from headrace.connectors.kit.arrow.json_text import JsonRecords

T = TypeVar("T")
_CHECK_SECONDS = 0.2
_TEXT_AHEAD = 8 * 1024 * 1024  # bytes


class _Pages(queue.Queue[object]):
    """Holds at most `depth` items, or more where they are pages of text: as many as are 8 MB in all."""

    def __init__(self, depth: int) -> None:
        super().__init__(maxsize=_TEXT_AHEAD)
        self._most = _TEXT_AHEAD // depth
        self._weight = 0

    def _qsize(self) -> int:
        return self._weight

    def _put(self, item: object) -> None:
        super()._put(item)
        self._weight += self._weight_of(item)

    def _get(self) -> object:
        item = super()._get()
        self._weight -= self._weight_of(item)
        return item

    def _weight_of(self, item: object) -> int:
        return min(item.size, self._most) if isinstance(item, JsonRecords) else self._most


class _Producer(threading.Thread):
    """Takes items out of an iterator until it ends or fails, or until nobody wants them any more."""

    def __init__(self, items: Iterator[object], depth: int) -> None:
        # A daemon: a server that keeps a read waiting must not keep the process from ending.
        super().__init__(name="headrace-prefetch", daemon=True)
        self._items = items
        self.made = _Pages(depth)
        self.unwanted = threading.Event()

    def run(self) -> None:
        try:
            for item in self._items:
                self._hand_over(item)
                if self.unwanted.is_set():
                    return
            self._hand_over(_END)
        except BaseException as error:  # raised again where the items are used
            self._hand_over(_Failure(error))

    def _hand_over(self, item: object) -> None:
        while not self.unwanted.is_set():
            with contextlib.suppress(queue.Full):
                self.made.put(item, timeout=_CHECK_SECONDS)
                return


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def ahead(items: Iterator[T], check: Callable[[], None], depth: int = 2) -> Iterator[T]:
    """Yield the items, made by another thread that is at most `depth` + 1 of them ahead.

    Of pages of text it is as many ahead as are 8 MB in all, where that is more. While an item is waited
    for, `check` is called five times a second; what it raises ends the iteration, and the other thread once
    its present item is made.
    """
    producer = _Producer(items, depth)
    producer.start()
    try:
        while True:
            try:
                item = producer.made.get(timeout=_CHECK_SECONDS)
            except queue.Empty:
                check()
                continue
            if item is _END:
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]  # what else the producer hands over is dealt with above
    finally:
        producer.unwanted.set()
