"""Output of the commands: tables for people, JSON for programs, errors on standard error."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# In a pipe, each row is one line, as `grep` and `awk` expect.
OUT = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)

_STYLES = {"success": "green", "failed": "red", "running": "cyan", "cancelled": "yellow"}


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print rows as a table; `columns` maps keys to headings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(key)) for key in columns))
    OUT.print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one pair a line, without the pairs that have no value."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value is not None and value != []:
            grid.add_row(Text(name, style="dim"), cell(value))
    OUT.print(grid)


def cell(value: Any) -> Text:
    """Return a value as text for people."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text(", ".join(str(item) for item in value))
    return Text(str(value), style=_STYLES.get(str(value), ""))


def rows_text(count: int | None) -> str:
    """Return a number of rows, with thousands separators."""
    return f"{count or 0:,} rows"


def size_text(count: int | None) -> str:
    """Return a number of bytes in a suitable unit; 1 kB is 1,000 bytes."""
    size = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_text(seconds: float) -> str:
    """Return a duration such as `6.7 s`, `42 s` or `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def run_time(run: Mapping[str, Any]) -> str | None:
    """Return how long a run took, in whole seconds like its times; None unless it started and ended."""
    if not run.get("started_at") or not run.get("finished_at"):
        return None
    began, ended = (datetime.fromisoformat(run[key]) for key in ("started_at", "finished_at"))
    seconds = max(0.0, (ended - began).total_seconds())  # the clock may have been set back meanwhile
    return duration_text(seconds) if seconds >= 10 else f"{seconds:.0f} s" if seconds else "under 1 s"
