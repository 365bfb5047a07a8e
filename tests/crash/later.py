"""What must become true in time, and is looked at while further histories play."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(kw_only=True)
class Later:
    """Something that must become true in time, and is looked at while further histories play."""

    what: str
    look: Callable[[], str]  # what is still wrong; empty: nothing
    then: Callable[[], None] = lambda: None
    deadline: float


def settle(later: list[Later], *, wait: bool) -> list[str]:
    """Look at what must become true in time; return what has not, at its deadline or while waiting for it."""
    problems = []
    while later:
        for one in list(later):
            wrong = one.look()
            if not wrong:
                later.remove(one)
                one.then()
            elif time.monotonic() > one.deadline:
                later.remove(one)
                problems.append(f"{one.what}: {wrong}")
        if not wait:
            break
        time.sleep(0.5)
    return problems
