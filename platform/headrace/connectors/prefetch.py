"""Fetching the next page while the last one is being worked on."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
_CHECK_SECONDS = 0.2


class _Producer(threading.Thread):
    """Takes items out of an iterator until it ends or fails, or until nobody wants them any more."""

    def __init__(self, items: Iterator[object], depth: int) -> None:
        # A daemon: a server that keeps a read waiting must not keep the process from ending.
        super().__init__(name="headrace-prefetch", daemon=True)
        self._items = items
        self.made: queue.Queue[object] = queue.Queue(maxsize=depth)
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

    While an item is waited for, `check` is called five times a second; what it raises ends the iteration, and
    the other thread once its present item is made.
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
            yield item  # type: ignore[misc]
    finally:
        producer.unwanted.set()
