"""What many ask at once is asked once."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Asked:
    at: float = field(default_factory=time.monotonic)
    answer: "Future[Any]" = field(default_factory=Future)


class SharedPolls:
    """Answers to polls, each shared by all who ask the same within `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asked: dict[Hashable, _Asked] = {}

    def get(self, key: Hashable, ask: Callable[[], T], *, is_final: Callable[[T], bool]) -> T:
        """Return what `ask` returns, or what it returned to another just now. Raises what it raises.

        A final answer is not kept: whoever sees the end may look again at once, and must see what is new.
        """
        mine, asked = self._entry(key)
        if mine:
            try:
                found = ask()
            except BaseException as error:
                self._drop(key, asked)
                asked.answer.set_exception(error)
                raise
            if is_final(found):
                self._drop(key, asked)
            asked.answer.set_result(found)
        answer: T = asked.answer.result()
        return answer

    def _entry(self, key: Hashable) -> tuple[bool, _Asked]:
        """Return the entry for a question, and whether the caller is to answer it."""
        oldest = time.monotonic() - self._seconds
        with self._lock:
            self._asked = {
                known: asked
                for known, asked in self._asked.items()
                if asked.at > oldest or not asked.answer.done()
            }
            if key in self._asked:
                return False, self._asked[key]
            self._asked[key] = asked = _Asked()
            return True, asked

    def _drop(self, key: Hashable, asked: _Asked) -> None:
        with self._lock:
            if self._asked.get(key) is asked:
                del self._asked[key]
