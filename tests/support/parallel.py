"""How `pytest --numprocesses auto` distributes the tests among processes, and in which order they run.

`HEADRACE_TEST_SHUFFLE=7` puts the groups, and the tests of each group, into a random order: tests that depend
on an order fail. The number repeats the order.
"""

import os
import random
import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

_MOST = 4
# The long groups come first, or one process would work alone at the end. Acceptance tests mostly wait and the
# others mostly compute: mixing them keeps the processors busy and starts few platforms at the same time.
_ORDER = (
    r"^tests/acceptance/test_control_plane\.py",
    r"^tests/exact/",
    r"^tests/acceptance/.*\[sqlite\b",
    r"^tests/(contract|integration/connectors)/",
    r"^tests/acceptance/.*\[postgres\b",
    r"^tests/acceptance/",
    r"",
)
_PLATFORMS = {
    "tests/acceptance/test_control_plane.py": r"",  # its two platforms wait for the same minutes
    "tests/acceptance/": r"\[(sqlite|postgres)\b",
    "tests/exact/": r"\[\d+",
    "tests/integration/http/": r"\[(sqlite|postgresql)\b",
    "tests/integration/headrace_dagster/": r"/test_live",
}


class ByPlatform(LoadScopeScheduling):
    """Runs all tests of a group in one process, in their order, so that a group's servers start once.

    Groups start in the order of their first tests.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the group of a test: its file, or the platform that it shares with other files of its folder."""
    file = nodeid.partition("::")[0]
    pattern = next((pattern for start, pattern in _PLATFORMS.items() if file.startswith(start)), "")
    shared = re.search(pattern, nodeid) if pattern else None
    return f"{Path(file).parent}{shared[0]}" if shared else file


def ordered(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order in which they are to run."""
    if seed := os.environ.get("HEADRACE_TEST_SHUFFLE"):
        return _shuffled(items, random.Random(seed))
    return sorted(items, key=lambda item: _place_of(item.nodeid))


def _shuffled(items: list[pytest.Item], dice: random.Random) -> list[pytest.Item]:
    groups: dict[str, list[pytest.Item]] = {}
    for item in dice.sample(items, len(items)):
        groups.setdefault(group_of(item.nodeid), []).append(item)
    return [item for group in groups.values() for item in group]


def _place_of(nodeid: str) -> int:
    return next(place for place, pattern in enumerate(_ORDER) if re.search(pattern, nodeid))


def number_of_processes() -> int:
    """Return two more than there are processors, because many tests wait; at most four, to save memory."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available + 2, _MOST)
