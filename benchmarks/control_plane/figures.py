"""Figures, and the tables that they are printed in."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of a table: what was measured, how often, and what came out."""

    name: str
    unit: str
    p50: float
    p99: float | None = None  # None: there was one measurement
    count: int = 1
    note: str = ""


def timed(name: str, samples: Sequence[float], unit: str = "s", note: str = "") -> Figure:
    """Summarize samples; the 99th percentile of fewer than 100 is their largest."""
    ordered = sorted(samples)
    return Figure(
        name=name,
        unit=unit,
        p50=_percentile(ordered, 0.50),
        p99=_percentile(ordered, 0.99),
        count=len(ordered),
        note=note,
    )


def single(name: str, value: float, unit: str, note: str = "") -> Figure:
    """One measurement."""
    return Figure(name=name, unit=unit, p50=value, note=note)


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest rank's value, never one that was not measured."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Report:
    """The tables of a whole run, printed as they come and kept for a file."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._tables: list[dict[str, object]] = []

    def refuse(self, name: str, error: BaseException) -> None:
        """Print that there are no more figures of a peer, and why."""
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            raise error  # a signal's
        print(f"\n{name}: no further figures. {type(error).__name__}: {error}", flush=True)
        self._tables.append({"title": f"{name}: no further figures", "figures": [], "reason": str(error)})
        if self._file:
            self._file.write_text(json.dumps(self._tables, indent=1))

    def add(self, title: str, figures: Sequence[Figure]) -> None:
        """Print a table, and write all tables so far."""
        print(f"\n{title}")
        for figure in figures:
            print(_line(figure), flush=True)
        self._tables.append({"title": title, "figures": [asdict(figure) for figure in figures]})
        if self._file:
            self._file.write_text(json.dumps(self._tables, indent=1))


def _line(figure: Figure) -> str:
    p99 = f"p99 {_number(figure.p99)}" if figure.p99 is not None else ""
    times = f"n={figure.count}" if figure.count > 1 else ""
    line = f"  {figure.name:<46}{_number(figure.p50):>9} {figure.unit:<10}{p99:<14}{times:<8}{figure.note}"
    return line.rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"
