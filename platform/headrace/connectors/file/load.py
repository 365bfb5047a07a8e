"""A load into files: one that is replaced as one, or a set of files with a record of what belongs to it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import (
    ConnectorError,
    Cursor,
    Loaded,
    LoadRequest,
    LoadResult,
    Rejected,
    SchemaConflict,
)
from headrace.connectors.file.folder import Folder
from headrace.connectors.file.rows import Part, chained, kind_of, parts, pieces

if TYPE_CHECKING:
    from headrace.connectors.file.config import FileConfig

_RECORDS = "_headrace"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was last loaded for a pipeline: the file that commits a load by being replaced."""

    table: str
    load_id: str
    cursor: Cursor | None
    files: tuple[str, ...]  # below the destination's folder
    columns: dict[str, str]  # what kind of values each has


def last_load(folder: Folder, pipeline_id: str) -> Loaded | None:
    """Return the load and cursor that the pipeline's record holds."""
    record = _read(folder, pipeline_id)
    return Loaded(load_id=record.load_id, cursor=record.cursor) if record else None


def load(folder: Folder, config: FileConfig, request: LoadRequest) -> LoadResult:
    """Publish a run's rows. Raises ConnectorError."""
    name = safe(config.file_name or request.table)
    is_set = bool(config.partition_by) or request.incremental or request.disposition == "append"
    if is_set:
        _load_set(folder, config, request, name)
    else:
        name = f"{name}.{config.format}"
        folder.write(name, chained(pieces(request.output, config.format), request.before_commit))
    return LoadResult(rows=request.output.rows, location=folder.location(name))


def safe(name: str) -> str:
    """A name that stays inside its folder, for whatever a stream or a run is called."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".")[:150] or "stream"


def _load_set(folder: Folder, config: FileConfig, request: LoadRequest, table: str) -> None:
    """Write new files, then the record that they belong to the set, then remove what does not any more.

    A kill before the record leaves files that are in no record, one after it old files that were replaced:
    the next load of the pipeline removes either.
    """
    record = _read(folder, request.pipeline_id)
    if record and record.load_id == request.load_id and request.disposition == "append":
        return  # a worker before this one got as far as here
    before = record if record and record.table == table else None
    kept = before.files if before else ()
    adds_to = before.columns if before and request.disposition == "append" else {}
    columns = adds_to | _kinds(request, config.partition_by, adds_to)
    with parts(request.output, config.format, config.partition_by) as new:
        request.before_commit()
        _remove_strays(folder, request.pipeline_id, table, kept)
        files = _write(folder, config, request, table, new, kept)
    all_files = (*kept, *files) if request.disposition == "append" else files
    record = Record(
        table=table,
        load_id=request.load_id,
        cursor=request.cursor,
        files=tuple(all_files),
        columns=columns,
    )
    folder.write(_record_name(request.pipeline_id), [_written(record, request.pipeline_id)])
    folder.delete(name for name in kept if name not in set(all_files))


def _write(
    folder: Folder,
    config: FileConfig,
    request: LoadRequest,
    table: str,
    new: list[Part],
    kept: tuple[str, ...],
) -> tuple[str, ...]:
    """Write the load's files and return their names. Takes back what it wrote if it cannot go on."""
    start = f"{_tag(request.pipeline_id)}-{safe(request.load_id)}"
    names: list[str] = []
    try:
        for number, part in enumerate(new):
            request.progress(int(request.output.rows * number / len(new)))
            path = [table, part.folder, f"{start}-{number:05}.{config.format}"]
            names.append("/".join(filter(None, path)))
            folder.write(names[-1], part.pieces())
        request.before_commit()
    except BaseException:
        with suppress(ConnectorError, OSError):
            folder.delete(name for name in names if name not in kept)
        raise
    return tuple(names)


def _kinds(request: LoadRequest, left_out: tuple[str, ...], before: dict[str, str]) -> dict[str, str]:
    """The kinds of the new rows' columns. Raises SchemaConflict where no reader could put both together.

    Files stay as they are, so a column cannot be converted; text is what a reader can make of anything.
    """
    kinds: dict[str, str] = {}
    for column in request.output.schema:
        new = kind_of(column.type)
        old = before.get(column.name, new)
        if column.name in left_out or new == "nothing":
            continue
        if "text" not in (old, new) and old != new:
            raise SchemaConflict(column.name, f"holds {old} in earlier files and {new} in this load.")
        kinds[column.name] = "text" if "text" in (old, new) else new
    return kinds


def _remove_strays(folder: Folder, pipeline_id: str, table: str, kept: tuple[str, ...]) -> None:
    """Remove the pipeline's files that no load has recorded, or that a load has replaced."""
    start, known = f"{_tag(pipeline_id)}-", set(kept)
    strays = [
        name for name in folder.list(table) if name.rpartition("/")[2].startswith(start) and name not in known
    ]
    folder.delete(strays)


def _tag(pipeline_id: str) -> str:
    """What the names of a pipeline's files begin with, so that it never takes another's for its own."""
    return hashlib.blake2s(pipeline_id.encode(), digest_size=6).hexdigest()


def _record_name(pipeline_id: str) -> str:
    return f"{_RECORDS}/{safe(pipeline_id)}.json"


def _read(folder: Folder, pipeline_id: str) -> Record | None:
    content = folder.read(_record_name(pipeline_id))
    if content is None:
        return None
    try:
        found = json.loads(content)
        if found["version"] != _VERSION or found["pipeline_id"] != pipeline_id:
            raise ValueError
        files = tuple(map(str, found["files"]))
        return Record(
            table=found["table"],
            load_id=found["load_id"],
            cursor=found["cursor"],
            files=files,
            columns=dict(found["columns"]),
        )
    except (ValueError, KeyError, TypeError):
        where = folder.location(_record_name(pipeline_id))
        raise Rejected(f"{where} is no record of this pipeline's loads: remove it to start anew.") from None


def _written(record: Record, pipeline_id: str) -> bytes:
    content = {
        "version": _VERSION,
        "pipeline_id": pipeline_id,
        "table": record.table,
        "load_id": record.load_id,
        "cursor": record.cursor,
        "columns": record.columns,
        "files": record.files,
    }
    return json.dumps(content, indent=1).encode()
