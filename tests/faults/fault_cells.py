"""The cells of the matrix: each point with each fault, and the lines on which those of a load are played."""

from collections.abc import Iterator
from dataclasses import dataclass

from fault_scenarios import SCENARIOS

from headrace.failpoint_list import POINTS

PAUSED_SECONDS = 13.0
"""Longer than a lease, and than the reaper takes to see that it has run out."""
FAULTS = ("kill", "raise", "hang", "full", "lose", "pause")
_REMOVER = ("removing", "history_removed", "output_removed", "forgotten")
_RACERS = ("relaunching", "relaunched", "reconciled", "reaped", "asked_to_stop")
"""Points that a run may pass by, when somebody else is faster: the worker, or another loop."""
_DISPATCHERS = ("leased", "launching", "launched", "recorded", "postponed")
_SLOTS = ("slots_due", "slots_taken", "slot_taken", "admitted")
ALONE = ("slots_due", "slots_taken", "admitted")
"""Points that only one pipeline of a platform reaches in a minute."""
_COMMON = ("locked", "staged", "noted", "loaded", "landed")
_FILES = ("file_written", "file_published")
# On the first line the points of every worker, on all of them those of the destination.
LINES: dict[tuple[str, str], tuple[str, ...]] = {
    ("postgres", "append"): (
        "claiming", "claimed", "renewing", "extracting", "writing", "publishing", "written", "committed",
        "ended", "failed", "telling", "told", *_COMMON,
    ),
    ("postgres", "full_refresh"): _COMMON,
    ("mysql", "append"): _COMMON,
    ("mysql", "full_refresh"): (*_COMMON, "swapped", "swap_noted"),
    ("sqlite", "append"): _COMMON,
    ("sqlite", "full_refresh"): _COMMON,
    ("duckdb", "append"): _COMMON,
    ("duckdb", "full_refresh"): _COMMON,
    ("parquet", "append"): (*_COMMON, *_FILES, "files_recorded"),
    ("parquet", "full_refresh"): (*_COMMON, *_FILES),
}  # fmt: skip
FIRST_LOADS = ("postgres", "mysql", "sqlite", "duckdb", "parquet")
"""Destinations whose first load meets a fault, too: only there the table is claimed and made."""
_FIRST = ("table_claimed", "staged", "loaded", "landed")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point with one fault; of a load also the destination and the write mode."""

    point: str
    fault: str
    target: str = ""
    mode: str = ""
    is_first: bool = False  # the pipeline has not loaded anything before

    @property
    def name(self) -> str:
        """What the runner prints and takes."""
        where = (
            f" on {self.target}/{self.mode}{', first load' if self.is_first else ''}" if self.target else ""
        )
        return f"{self.point}:{self.fault}{where}"

    @property
    def part(self) -> str:
        """Which process meets the fault."""
        return POINTS[self.point].part

    @property
    def is_violent(self) -> bool:
        """Whether it takes a process or a loop of the platform away, so that it is played alone."""
        if self.part in ("worker", "destination"):
            return False
        if self.point in _RACERS:
            return True
        if self.fault == "hang" and self.part == "control loops" and self.point not in _DISPATCHERS:
            return True  # there is one thread for it
        return self.fault in ("kill", "pause") or POINTS[self.point].subject == "platform"

    @property
    def group(self) -> str:
        """Which part of the matrix it belongs to: each has a platform of its own."""
        if self.target:
            return "loads"
        if self.point in _REMOVER:
            return "removals"
        if self.point in _SLOTS:
            return "slots"
        return "violent" if self.is_violent else "gentle"

    @property
    def action(self) -> str:
        """The fault as a process reads it."""
        if self.fault == "pause":
            return f"pause {PAUSED_SECONDS:g}"
        if self.fault == "hang" and self.part in ("REST service", "control loops"):
            return "hang 35"  # longer than the lease of a launch
        return self.fault


def cells() -> Iterator[Cell]:
    """Yield the whole matrix, for one database."""
    for point in SCENARIOS:
        yield from (Cell(point=point, fault=fault) for fault in FAULTS)
    for (target, mode), points in LINES.items():
        for point in points:
            yield from (Cell(point=point, fault=fault, target=target, mode=mode) for fault in FAULTS)
    for target in FIRST_LOADS:
        for point in _FIRST:
            if point != "table_claimed" or target != "parquet":
                yield from (
                    Cell(point=point, fault=fault, target=target, mode="append", is_first=True)
                    for fault in FAULTS
                )


def without_a_cell() -> set[str]:
    """Return the points of the list that no cell plays."""
    return set(POINTS) - {cell.point for cell in cells()}
