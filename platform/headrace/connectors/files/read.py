"""A read of files: which are due, in which order, and what of their rows their folders and notes tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from headrace.connectors import Checkpoint, ReadRequest, RunWarning, SyncMode, Unreadable
from headrace.connectors.files import folders, formats
from headrace.connectors.files.config import FilesConfig
from headrace.connectors.files.csv import Dialect
from headrace.connectors.files.found import Found, Place
from headrace.connectors.files.notes import Notes
from headrace.connectors.files.places import matches, opened_places
from headrace.connectors.files.position import Position

Rows: TypeAlias = pa.RecordBatch | Sequence[dict[str, Any]]
_FUTURE = "The position was a time in the future; files from now on are read. Reset it to read all of them."


def read(config: FilesConfig, request: ReadRequest) -> Iterator[Rows | Checkpoint]:
    """Yield the files' rows, and when incremental a checkpoint after each file."""
    incremental = request.sync_mode is SyncMode.INCREMENTAL
    position = Position(request.cursor, timedelta(seconds=config.lookback_seconds))
    if position.was_in_the_future:
        request.warn(RunWarning(code="source.position_in_the_future", detail=_FUTURE))
    with opened_places(config) as places:
        files = _due(places, position if incremental else None)
        reader = _Reader(config, request, files)
        for found in files:
            request.log.info("Reading %s", found.name)
            request.check()
            yield from reader.rows(found)
            if incremental:
                position.add(found.name, found.modified, found.version)
                yield Checkpoint(cursor=position.cursor)


def _due(places: list[tuple[str, Place]], position: Position | None) -> list[Found]:
    found: dict[str, Found] = {}  # two patterns may match the same file
    for path, place in places:
        for one in matches(path, place, with_times=position is not None):
            found.setdefault(one.name, one)
    if position is None:
        return list(found.values())
    new = [one for one in found.values() if position.is_new(one.name, one.modified, one.version)]
    return sorted(new, key=lambda one: (one.modified, one.name))


class _Reader:
    """Reads one file after the other."""

    def __init__(self, config: FilesConfig, request: ReadRequest, files: list[Found]) -> None:
        self._config = config
        self._request = request
        self._notes = Notes()
        self._types = folders.folder_types(files) if config.partition_columns else {}

    def rows(self, found: Found) -> Iterator[Rows]:
        """Yield a file's rows. Raises ConnectorError."""
        kind = self._config.format or formats.format_of(found.name)
        if kind is None:
            raise Unreadable(
                f"The format of {found.name} cannot be told by its ending: name it with `format`."
            )
        values = folders.folder_values(found) if self._config.partition_columns else {}
        with found.opened(self._request.check) as path:
            noted = self._noted(found, path, kind, values)
            types = {**self._types, **({field.name: field.type for field in noted} if noted else {})}
            own = _without(noted, values) if noted and self._is_of_text(kind) else None
            for rows in formats.read(path, kind, self._dialect(found.name), self._request.warn, own):
                yield self._completed(rows, found, values, types, noted)

    def _completed(
        self,
        rows: Rows,
        found: Found,
        values: folders.Values,
        types: Mapping[str, pa.DataType],
        noted: pa.Schema | None,
    ) -> Rows:
        if values:
            rows = folders.with_values(rows, values, types)
        if noted is not None and isinstance(rows, pa.RecordBatch):
            rows = folders.in_order(rows, noted.names)
        named: Rows = formats.with_column(rows, self._config.file_column, found.name)
        return named

    def _noted(self, found: Found, path: Path, kind: str, values: folders.Values) -> pa.Schema | None:
        """Return the columns with which `file` has written the file, where something depends on them."""
        return self._notes.schema(found, path) if values or self._is_of_text(kind) else None

    def _is_of_text(self, kind: str) -> bool:
        """Whether the format says less of the types than a note, and the configuration nothing else."""
        config = self._config
        is_csv_as_written = (
            config.infer_types
            and config.header
            and not config.column_names
            and config.delimiter in (None, ",")
            and config.encoding == "utf-8"
        )
        return kind == "jsonl" or (kind == "csv" and is_csv_as_written)

    def _dialect(self, name: str) -> Dialect:
        is_tabbed = any(part.lower() == "tsv" for part in name.split(".")[-2:])
        return Dialect(
            delimiter=self._config.delimiter or ("\t" if is_tabbed else ","),
            encoding=self._config.encoding,
            infer_types=self._config.infer_types,
            header=self._config.header,
            names=self._config.column_names,
        )


def _without(schema: pa.Schema, columns: Mapping[str, object]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name not in columns])
