"""Reduces a history that fails to the steps that it needs for that: delta debugging.

Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002: halves, quarters and so on are
left out as long as the history still fails.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from history_steps import Script, Step


def shrunk(script: Script, fails: Callable[[Script], bool], *, seconds: float) -> list[int]:
    """Return the places of the steps that are needed to fail, or what was reached in the time."""
    deadline = time.monotonic() + seconds
    kept = list(range(len(script.steps)))
    size = max(len(kept) // 2, 1)
    while time.monotonic() < deadline:
        before = len(kept)
        start = 0
        while start < len(kept) and time.monotonic() < deadline:
            rest = kept[:start] + kept[start + size :]
            if fails(only(script, rest)):
                kept = rest
            else:
                start += size
        if size == 1 and len(kept) == before:
            return kept
        size = max(size // 2, 1)
    return kept


def only(script: Script, kept: Sequence[int]) -> Script:
    """Return the history with these steps alone."""
    steps: list[Step] = [script.steps[place] for place in kept]
    return replace(script, steps=tuple(steps))


def written(places: Sequence[int]) -> str:
    """Write places as `0-3,7`."""
    parts: list[list[int]] = []
    for place in places:
        if parts and place == parts[-1][1] + 1:
            parts[-1][1] = place
        else:
            parts.append([place, place])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def read(text: str) -> list[int]:
    """Read what `written` has written."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
