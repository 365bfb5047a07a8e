"""What a folder of files knows of its loads: a record for each pipeline, and an owner for each table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from headrace.connectors import Cursor, Loaded, LoadRequest, Rejected, TableOwned
from headrace.connectors.file.folder import Folder

_RECORDS = "_headrace"
_OWNERS = f"{_RECORDS}/owners"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was last loaded for a pipeline: the file that commits a load by being replaced."""

    table: str
    load_id: str
    cursor: Cursor | None
    identity: str
    files: tuple[str, ...]  # below the destination's folder
    columns: dict[str, str]  # what kind of values each has


def loaded(record: Record | None, folder: Folder) -> Loaded | None:
    """Return the record as the engine knows it."""
    if record is None:
        return None
    return Loaded(
        load_id=record.load_id,
        cursor=record.cursor,
        identity=record.identity,
        table=record.table,
        table_exists=not record.files or next(folder.list(record.table), None) is not None,
    )


def read_record(folder: Folder, pipeline_id: str) -> Record | None:
    """Return the pipeline's record. Raises Rejected for a file that is none."""
    content = folder.read(record_name(pipeline_id))
    if content is None:
        return None
    try:
        found = json.loads(content)
        if found["version"] != _VERSION or found["pipeline_id"] != pipeline_id:
            raise ValueError
        return Record(
            table=found["table"],
            load_id=found["load_id"],
            cursor=found["cursor"],
            identity=found.get("identity", ""),
            files=tuple(map(str, found["files"])),
            columns=dict(found["columns"]),
        )
    except (ValueError, KeyError, TypeError):
        where = folder.location(record_name(pipeline_id))
        raise Rejected(f"{where} is no record of this pipeline's loads: remove it to start anew.") from None


def write_record(folder: Folder, record: Record, pipeline_id: str) -> None:
    """Replace the pipeline's record, which commits its load."""
    content = {
        "version": _VERSION,
        "pipeline_id": pipeline_id,
        "table": record.table,
        "load_id": record.load_id,
        "cursor": record.cursor,
        "identity": record.identity,
        "columns": record.columns,
        "files": record.files,
    }
    folder.write(record_name(pipeline_id), [json.dumps(content, indent=1).encode()], tag(pipeline_id))


def check_owner(folder: Folder, name: str, request: LoadRequest) -> None:
    """Raise TableOwned if a file, or a folder of files, belongs to another pipeline.

    Two first loads at the same moment may both pass: a folder has no locks. What an older release wrote has
    no owner until its pipeline's next load.
    """
    held = _owner(folder, name)
    if held is not None and not _may_load(held, request):
        known = f"{held['pipeline_name']!r} " if held.get("pipeline_name") else ""
        where = folder.location(name)
        raise TableOwned(f"{where} belongs to the pipeline {known}({held['pipeline_id']}).")


def sweep(folder: Folder, pipeline_id: str) -> None:
    """Remove records that a killed load of the pipeline has not finished."""
    folder.sweep(_RECORDS, tag(pipeline_id), below=True)


def take(folder: Folder, name: str, request: LoadRequest) -> None:
    """Make the pipeline the owner, unless it shares with one that is. Raises TableOwned."""
    check_owner(folder, name, request)
    held = _owner(folder, name)
    if held is None or (held["pipeline_id"] != request.pipeline_id and not request.shared):
        owner = {"pipeline_id": request.pipeline_id, "pipeline_name": request.pipeline_name}
        folder.write(_owner_name(name), [json.dumps(owner).encode()], tag(request.pipeline_id))


def _may_load(owner: dict[str, str], request: LoadRequest) -> bool:
    return owner["pipeline_id"] == request.pipeline_id or request.shared or request.adopt


def _owner_name(name: str) -> str:
    return f"{_OWNERS}/{safe(name)}.json"


def _owner(folder: Folder, name: str) -> dict[str, str] | None:
    try:
        found = json.loads(folder.read(_owner_name(name)) or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("pipeline_id"), str) else None


def record_name(pipeline_id: str) -> str:
    """Return the name of a pipeline's record."""
    return f"{_RECORDS}/{safe(pipeline_id)}.json"


def safe(name: str) -> str:
    """A name that stays inside its folder, for whatever a stream or a run is called."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".")[:150] or "stream"


def tag(pipeline_id: str) -> str:
    """What the names of a pipeline's files begin with, so that it never takes another's for its own."""
    return hashlib.blake2s(pipeline_id.encode(), digest_size=6).hexdigest()
