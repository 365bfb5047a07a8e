"""The suite for sources: each check is one promise of `headrace.connectors.contract.Source`."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.conformance import configuration, runs
from headrace.conformance.cases import Broken, Check, NotApplicable, SourceCase, require
from headrace.connectors import Checkpoint, ReadRequest, SyncMode
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.cursors.followers import as_json
from headrace.errors import HeadraceError

_PLACES = 5  # how many of many checkpoints or cursors are resumed from


class _Cancelled(Exception):
    """Stands for a user's cancel."""


def streams_are_described(case: SourceCase, folder: Path) -> None:
    """Every stream has a name of its own, and the case's stream can be described."""
    names = [stream.name for stream in case.connector.streams()]
    require(len(set(names)) == len(names), "Two streams have one name.")
    described = case.connector.describe(case.stream)
    require(described.name == case.stream, f"describe() answers with another stream, {described.name!r}.")
    is_known = case.connector.dynamic_streams or case.stream in names
    require(is_known, f"streams() leaves out {case.stream!r}, and the source's streams are fixed.")


def a_full_read_can_be_repeated(case: SourceCase, folder: Path) -> None:
    """Reading again gives the same rows or more."""
    first = runs.full(case, folder)
    require(bool(first.rows), "The stream is empty: the suite needs rows to look at.")
    lost = runs.missing(first.rows, runs.full(case, folder).rows, _key(case))
    require(lost == 0, f"{lost} of {len(first.rows)} rows were missing from the second read.")


def every_record_arrives(case: SourceCase, folder: Path) -> None:
    """All records reach the run's file, whatever their types and however they drift from page to page."""
    yielded = sum(len(page) for page in _pages(case))
    arrived = len(runs.full(case, folder).rows)
    require(arrived == yielded, f"{yielded} records were yielded and {arrived} arrived.")


def a_first_incremental_read_is_complete(case: SourceCase, folder: Path) -> None:
    """Without a cursor an incremental read brings what a full one does, and leaves a cursor."""
    everything, first = runs.full(case, folder), runs.incremental(case, folder)
    lost = runs.missing(everything.rows, first.rows, _key(case))
    require(lost == 0, f"{lost} of {len(everything.rows)} rows were missing.")
    require(first.cursor is not None, "The read left no cursor to go on from.")


def nothing_new_is_read_twice(case: SourceCase, folder: Path) -> None:
    """After the last cursor comes nothing; with a primary key, rows at the cursor itself may come again."""
    first = runs.incremental(case, folder)
    again = runs.incremental(case, folder, first.cursor)
    field = _cursor_field(case)
    last = max((row[field] for row in first.rows if row.get(field) is not None), default=None)
    older = [row for row in again.rows if row.get(field) is None or row[field] != last]
    repeated = older if _key(case) else again.rows
    require(not repeated, f"{len(repeated)} rows came again after the last cursor.")
    if not again.rows:
        require(again.cursor == first.cursor, "An empty read moved the cursor.")


def a_read_resumes_from_every_checkpoint(case: SourceCase, folder: Path) -> None:
    """What was yielded before a checkpoint, and what is read from it, are together everything."""
    runs.syncing(case)
    seen, places = list[dict[str, Any]](), list[tuple[Any, int]]()
    for item in case.connector.read(_request(case)):
        if isinstance(item, Checkpoint):
            places.append((item.cursor, len(seen)))
        else:
            seen += _rows(item)
    if not places:
        raise NotApplicable("the stream has no checkpoints: its cursor is a field's highest value")
    for cursor, count in _spread(places):
        rest = runs.incremental(case, folder, cursor)
        lost = runs.missing(seen, [*seen[:count], *rest.rows], _key(case))
        require(lost == 0, f"{lost} rows were lost by resuming after {count} of {len(seen)} rows.")


def a_read_resumes_from_every_cursor(case: SourceCase, folder: Path) -> None:
    """From any value of the cursor field, every row with a higher value is read."""
    runs.syncing(case)
    items = list(case.connector.read(_request(case)))
    if any(isinstance(item, Checkpoint) for item in items):
        raise NotApplicable("the stream resumes from its checkpoints")
    field, rows = _cursor_field(case), runs.incremental(case, folder).rows
    values = sorted({row[field] for row in rows if row.get(field) is not None})
    for value in _spread(values):
        cursor = as_json(arrowize([{field: value}]).column(0)[0])
        rest = runs.incremental(case, folder, cursor)
        expected = [row for row in rows if row.get(field) is not None and row[field] > value]
        lost = runs.missing(expected, rest.rows, _key(case))
        require(lost == 0, f"{lost} of {len(expected)} rows were lost by resuming after a cursor.")


def a_cancelled_read_stops_and_publishes_nothing(case: SourceCase, folder: Path) -> None:
    """A cancel ends the read at the next batch: no output, nothing loaded."""

    def cancel() -> None:
        raise _Cancelled

    attempt = runs.Attempt(case=case, folder=folder, check=cancel)
    try:
        attempt.finish()
    except _Cancelled:
        require(not attempt.output_path.exists(), "The output was published.")
        require(not attempt.destination.requests, "The destination was loaded.")
    else:
        raise Broken("The run went on to its end.")


def an_unknown_stream_is_refused(case: SourceCase, folder: Path) -> None:
    """A stream that does not exist is told in words that are fit for a user's eyes."""
    unknown = SourceCase(connector=case.connector, stream="headrace_no_such_stream")
    if case.connector.dynamic_streams:
        raise NotApplicable("any stream's name may be valid")
    try:
        case.connector.describe(unknown.stream)
    except HeadraceError as error:
        require(bool(error.detail), "The error says nothing.")
    else:
        raise Broken("It was accepted.")


def secrets_stay_secret(case: SourceCase, folder: Path) -> None:
    """No text, log line or error of the source holds a secret, whether it reads or fails."""
    for stream in (case.stream, "headrace_no_such_stream"):
        request = ReadRequest(stream=stream)

        def read(log: logging.Logger, request: ReadRequest = request) -> None:
            list(case.connector.read(replace(request, log=log)))

        configuration.require_discretion(case.connector, read)


SOURCE_CHECKS: Sequence[Check[SourceCase]] = (
    configuration.is_described_and_strict,
    configuration.declares_its_secrets,
    configuration.check_is_a_sentence,
    streams_are_described,
    a_full_read_can_be_repeated,
    every_record_arrives,
    a_first_incremental_read_is_complete,
    nothing_new_is_read_twice,
    a_read_resumes_from_every_checkpoint,
    a_read_resumes_from_every_cursor,
    a_cancelled_read_stops_and_publishes_nothing,
    an_unknown_stream_is_refused,
    secrets_stay_secret,
)


def _request(case: SourceCase) -> ReadRequest:
    return ReadRequest(
        stream=case.stream, sync_mode=SyncMode.INCREMENTAL, cursor_field=_cursor_field(case) or None
    )


def _cursor_field(case: SourceCase) -> str:
    return case.cursor_field or case.connector.describe(case.stream).cursor_field or ""


def _key(case: SourceCase) -> Sequence[str]:
    return case.connector.describe(case.stream).primary_key


def _pages(case: SourceCase) -> list[list[dict[str, Any]]]:
    items = case.connector.read(ReadRequest(stream=case.stream))
    return [_rows(item) for item in items if not isinstance(item, Checkpoint)]


def _rows(item: Any) -> list[dict[str, Any]]:
    return item.to_pylist() if isinstance(item, pa.RecordBatch) else list(item)


def _spread(places: Sequence[Any]) -> Sequence[Any]:
    """The first, the last and some of those in between."""
    if len(places) <= _PLACES:
        return places
    return [places[index * (len(places) - 1) // (_PLACES - 1)] for index in range(_PLACES)]
