"""How the tests are shared out among processes when pytest runs with `--numprocesses auto`."""

import os
import re
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_FEWEST, _MOST = 2, 4
_PLATFORMS = {
    "tests/acceptance/test_control_plane.py": r"",  # its two platforms wait for the same minutes
    "tests/acceptance/": r"\[(sqlite|postgres)\b",
    "tests/exact/": r"\[\d+",
    "tests/integration/http/": r"\[(sqlite|postgresql)\b",
}


class ByPlatform(LoadScopeScheduling):
    """Has one process run all tests of a group, in their order, so that none starts a group's servers anew.

    Groups begin in the order of their first tests: those of `tests/acceptance`, which take longest, at once.
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


def number_of_processes() -> int:
    """As many as there are processors; two at least, as tests wait; four at most, for memory."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(available, _FEWEST), _MOST)
