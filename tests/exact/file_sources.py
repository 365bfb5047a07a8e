"""Files as sources: one that is written anew, or a folder of which runs read what is new."""

import csv
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
from history_steps import Change, Delete, Drop, Mode, Plan, Put, Rename
from model import Row, Table
from oracle import ROWS_OF_A_FILE
from source_system import ALTERS, Place, SourceSystem, arrow, plain

_FIRST_TIME = dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp()


class FilesSource(SourceSystem):
    """JSON lines. A full refresh reads one file, incremental runs a folder with a file for each 8 rows."""

    name: ClassVar[str] = "files"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes"})
    has_cursor: ClassVar[bool] = False
    by_file: ClassVar[bool] = True
    ending: ClassVar[str] = "jsonl"

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.folder = place.folder / "source"
        self.folder.mkdir()
        self.touched = {0}  # the files to be written, by number
        self.writes = 0

    @classmethod
    def alters(cls, mode: Mode) -> frozenset[str]:
        """In one run files with a column and files without it would overwrite what is merged."""
        return ALTERS - {"Drop", "Rename"} if mode == "merge" else ALTERS

    def config(self) -> dict[str, Any]:
        paths = [str(self.folder / f"*.{self.ending}")]
        keys: dict[str, Any] = {"name": "files", "paths": paths, "stream": "things", "primary_key": self.key}
        return keys | ({"sync_mode": "incremental"} if self.plan.is_incremental else {})

    def note(self, table: Table, step: Change) -> None:
        """Mark the files that the change is in."""
        super().note(table, step)
        match step:
            case Put() | Delete():
                self.touched.add(self._file_of(step.number))
            case Drop() | Rename():
                self.touched |= {self._file_of(number) for number in table.rows}

    def write_all(self, table: Table) -> None:
        """Write the files that have changed, all with one new time; every third new file has an old time."""
        self.writes += 1
        for number in sorted(self.touched):
            path = self.folder / f"part{number}.{self.ending}"
            is_old = number % 3 == 1 and not path.exists()
            rows = [row for key, row in table.rows.items() if self._file_of(key) == number]
            self.write_rows(path, table, rows)
            moment = _FIRST_TIME + (number - 10_000 if is_old else 60 * self.writes)
            os.utime(path, (moment, moment))
        self.touched = set()

    def write_rows(self, path: Path, table: Table, rows: list[Row]) -> None:
        """Write one file."""
        lines = [json.dumps(plain(table, row)) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8", newline="")

    def _file_of(self, number: int) -> int:
        return number // ROWS_OF_A_FILE if self.plan.is_incremental else 0


class CsvSource(FilesSource):
    """The same as CSV; a null is an empty field, so that no text may be empty."""

    name: ClassVar[str] = "csv"
    ending: ClassVar[str] = "csv"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes", "text", "json"})

    def write_rows(self, path: Path, table: Table, rows: list[Row]) -> None:
        """Write one file with Python's own writer."""
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow([column.name for column in table.columns.values()])
            for row in rows:
                lines.writerow(["" if value is None else _csv(value) for value in plain(table, row).values()])


class ParquetSource(FilesSource):
    """The same as Parquet."""

    name: ClassVar[str] = "parquet"
    has_types: ClassVar[bool] = True
    ending: ClassVar[str] = "parquet"
    lacks: ClassVar[frozenset[str]] = frozenset()

    def write_rows(self, path: Path, table: Table, rows: list[Row]) -> None:
        """Write one file with the types of the columns."""
        pq.write_table(arrow(table, rows), path)


def _csv(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
