"""A load into files: one that is replaced as one, or a set of files with a record of what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from headrace.connectors import ConnectorError, Loaded, LoadRequest, MovedOn, SchemaConflict
from headrace.connectors.file.folder import Folder
from headrace.connectors.file.records import (
    Record,
    check_owner,
    loaded,
    read_record,
    safe,
    sweep,
    tag,
    take,
    write_record,
)
from headrace.connectors.file.rows import chained, kind_of, parts, pieces
from headrace.connectors.kit.arrow import noted_types
from headrace.connectors.kit.loading.load import Load
from headrace.failpoints import reach

if TYPE_CHECKING:
    from headrace.connectors.file.config import FileConfig


def last_load(folder: Folder, pipeline_id: str) -> Loaded | None:
    """Return the load and cursor that the pipeline's record holds."""
    return loaded(read_record(folder, pipeline_id), folder)


@dataclass(kw_only=True)
class FileLoad(Load):
    """A load into one file that is replaced as one."""

    folder: Folder
    config: FileConfig

    @contextmanager
    def held(self) -> Iterator[None]:
        """There is nothing to lock in a folder of files."""
        yield

    def last(self) -> Loaded | None:
        """One file keeps no record."""
        return None

    def own(self) -> None:
        """Look for the file's owner."""
        check_owner(self.folder, self._name(), self.request)

    def publish(self) -> None:
        """Remove what a killed load has left. The file stays until all of the new one is written."""
        self.request.before_commit()
        sweep(self.folder, self.request.pipeline_id)
        self.folder.sweep("", tag(self.request.pipeline_id), below=False)

    def note(self) -> None:
        """Take the file; there is no record of loads."""
        take(self.folder, self._name(), self.request)

    def commit(self) -> None:
        """Write a new file and put it in the place of the old one."""
        digest = noted_types.Digest()
        written = digest.passed(pieces(self.request.output, self.config.format))
        publishing = chained(written, lambda: self._before_publishing(digest))
        self.folder.write(self._name(), publishing, tag(self.request.pipeline_id))

    def _before_publishing(self, digest: noted_types.Digest) -> None:
        """Note the types that text does not tell, then ask whether the file may be published.

        The note of the file that is there is kept: a kill before the file is published leaves both.
        """
        if self.config.format != "parquet":
            name = noted_types.note_of(self._name(), self.table)
            before = self.folder.read(name)
            note = noted_types.written(self.request.output.schema, digest.text, before)
            self.folder.write(name, [note], tag(self.request.pipeline_id))
        self.request.before_commit()

    def location(self) -> str:
        """Name the file."""
        return self.folder.location(self._name())

    def _name(self) -> str:
        return f"{self.table}.{self.config.format}"


@dataclass(kw_only=True)
class SetLoad(Load):
    """A load into a set of files, and the record of what belongs to it.

    New files come first, then the record that they belong to the set; what does not any more is removed last.
    A kill before the record leaves files that are in no record, one after it old files that were replaced:
    the next load of the pipeline removes either.
    """

    folder: Folder
    config: FileConfig
    record: Record | None = field(init=False, default=None)  # of the pipeline's last load
    noted: Record = field(init=False)  # of this load
    written: list[str] = field(init=False, default_factory=list)
    columns: dict[str, str] = field(init=False, default_factory=dict)  # what kind of values each has
    is_recorded: bool = field(init=False, default=False)  # the record may say that the new files belong to it

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take back what was written if the load cannot go on.

        Not once the record was sent: it may name the files, or come to name them, though its answer was lost.
        """
        try:
            yield
        except BaseException:
            if not self.is_recorded:
                with suppress(ConnectorError, OSError):
                    self.folder.delete(name for name in self.written if name not in self.kept)
                    self._remove_notes(self.kept)
            raise

    def last(self) -> Loaded | None:
        """Read the pipeline's record."""
        self.record = read_record(self.folder, self.request.pipeline_id)
        self.columns = self.record.columns if self.record else {}
        return loaded(self.record, self.folder)

    def keeps(self) -> bool:
        """Whether the record is of this folder, and the folder is there."""
        found = loaded(self.record, self.folder)
        return found is not None and found.table == self.table and found.table_exists

    @property
    def kept(self) -> tuple[str, ...]:
        """The files that the set is made of before this load."""
        return self.record.files if self.record and self.record.table == self.table else ()

    def own(self) -> None:
        """Look for the folder's owner."""
        check_owner(self.folder, self.table, self.request)

    def tidy(self) -> None:
        """Remove the files that no record names, and those that were not finished."""
        sweep(self.folder, self.request.pipeline_id)
        self.folder.sweep(self.table, tag(self.request.pipeline_id), below=True)
        _remove_strays(self.folder, self.request.pipeline_id, self.table, self.kept)
        self._remove_notes(self.kept)

    def publish(self) -> None:
        """Write the new files beside the old ones."""
        request, config = self.request, self.config
        self.columns = self._columns()
        # Of two attempts of one run each has names of its own: one that wakes up late writes over nothing.
        writer = tag(request.pipeline_id)
        start = f"{writer}-{safe(request.load_id)}-{uuid4().hex[:8]}"
        with parts(request.output, config.format, config.partition_by) as new:
            request.before_commit()
            self.tidy()
            if config.format != "parquet" or config.partition_by:
                note = noted_types.note_of(f"{start}-00000.{config.format}", self.table)
                self.folder.write(note, [noted_types.written(request.output.schema)], writer)
            for number, part in enumerate(new):
                request.progress(int(request.output.rows * number / len(new)))
                path = [self.table, part.folder, f"{start}-{number:05}.{config.format}"]
                self.written.append("/".join(filter(None, path)))
                self.folder.write(self.written[-1], part.pieces(), writer)

    def note(self) -> None:
        """Take the folder, and say what belongs to the set."""
        take(self.folder, self.table, self.request)
        before = self.kept if self.request.disposition == "append" else ()
        self.noted = Record(
            table=self.table,
            load_id=self.request.load_id,
            cursor=self.request.cursor,
            identity=self.request.identity,
            files=(*before, *self.written),
            columns=self.columns,
        )

    def commit(self) -> None:
        """Replace the record, then remove what does not belong to the set any more."""
        # A folder has no locks: this is the last moment at which another load can be seen.
        if read_record(self.folder, self.request.pipeline_id) != self.record:
            raise MovedOn("Another load of this pipeline was recorded while this one wrote its files.")
        # An error from here on tells nothing: the store may have taken the record and lost its answer. The
        # pipeline's next load removes files that no record names.
        self.is_recorded = True
        write_record(self.folder, self.noted, self.request.pipeline_id)
        reach("files_recorded", self.request.pipeline_id)
        try:
            self.folder.delete(name for name in self.kept if name not in set(self.noted.files))
            self._remove_notes(self.noted.files)
        except (ConnectorError, OSError) as error:
            self.request.log.warning(
                "Old files stay until the next load: removing them failed with %s", type(error).__name__
            )

    def _remove_notes(self, files: tuple[str, ...]) -> None:
        """Remove the pipeline's notes of types that none of the files needs."""
        needed = {noted_types.note_of(name.rpartition("/")[2], self.table) for name in files}
        folder = f"{noted_types.FOLDER}/{self.table}"
        start = f"{folder}/{tag(self.request.pipeline_id)}-"
        notes = [name for name in self.folder.list(folder) if name.startswith(start)]
        self.folder.delete(name for name in notes if name not in needed)

    def location(self) -> str:
        """Name the folder."""
        return self.folder.location(self.table)

    def _columns(self) -> dict[str, str]:
        adds = self.record is not None and self.record.table == self.table
        before = self.record.columns if self.record and adds and self.request.disposition == "append" else {}
        return before | _kinds(self.request, self.config.partition_by, before)


def load_for(folder: Folder, config: FileConfig, request: LoadRequest) -> Load:
    """Return the load that the configuration and the run ask for."""
    table = safe(config.file_name or request.table)
    is_set = bool(config.partition_by) or request.incremental or request.disposition == "append"
    kind = SetLoad if is_set else FileLoad
    return kind(request=request, table=table, folder=folder, config=config)


def _kinds(request: LoadRequest, left_out: tuple[str, ...], before: dict[str, str]) -> dict[str, str]:
    """Return the kinds of the new rows' columns.

    Raises SchemaConflict where no reader could put old and new rows together. Files stay as they are, so a
    column cannot be converted; text is what a reader can make of anything.
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
    start, known = f"{tag(pipeline_id)}-", set(kept)
    strays = [
        name for name in folder.list(table) if name.rpartition("/")[2].startswith(start) and name not in known
    ]
    folder.delete(strays)
