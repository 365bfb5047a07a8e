"""The process that runs the code of transforms. It holds no secret and can only answer its worker.

It exchanges frames (`engine/frames`) with the worker over a socket that is its standard input. The first
frame has the steps as JSON, each further one a batch. The answer to a batch is a frame of `B` and the
resulting batch, or of `E` and a `Failure` as JSON.
"""

import builtins
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from headrace.engine.arrow.arrowize import NotRecords, arrowize
from headrace.engine.transforms.frames import decoded, encoded, receive, send
from headrace.engine.transforms.sandbox import NotConfined, confine
from headrace.pipeline.transforms import MODULES

_FILE = "<transform>"
_NOT_OFFERED = {
    "open",
    "eval",
    "exec",
    "compile",
    "input",
    "breakpoint",
    "help",
    "exit",
    "quit",
    "__import__",
}
_LAZY = ("_strptime", "encodings.idna", "encodings.cp1252", "encodings.utf_16", "encodings.utf_8_sig")
_DUCKDB: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # do not look up table names among Python variables
    "temp_directory": "",
    "memory_limit": "512MB",
    "threads": "1",
}
Step = Callable[[pa.RecordBatch], pa.RecordBatch]


class Failure(msgspec.Struct):
    """Why a step failed, without any value of the record."""

    step: int  # index among the steps of this process
    first: int  # number of the record, counted from 1 over all records of the step
    last: int
    reason: str
    line: int = 0  # of the code; 0: not known


class StepFailed(Exception):
    """A step failed on a batch."""

    def __init__(self, reason: str, *, row: int | None = None, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.row = row  # None: not known which
        self.line = line


def main() -> None:
    """Answer batches until the worker closes the connection."""
    steps = [_step(each) for each in json.loads(_receive())]
    _warm_up()
    try:
        confine()
    except NotConfined as error:
        return _send(b"E" + msgspec.json.encode(Failure(step=-1, first=0, last=0, reason=str(error))))
    seen = [0] * len(steps)
    while True:
        _send(_answered(steps, seen, _receive()))


def _answered(steps: list[Step], seen: list[int], frame: bytearray) -> bytes:
    batch = decoded(frame)
    for index, step in enumerate(steps):
        first, seen[index] = seen[index] + 1, seen[index] + batch.num_rows
        try:
            batch = step(batch)
        except StepFailed as error:
            failed = (first, seen[index]) if error.row is None else (first + error.row,) * 2
            failure = Failure(
                step=index, first=failed[0], last=failed[1], reason=error.reason, line=error.line
            )
            return b"E" + msgspec.json.encode(failure)
    return b"B" + encoded(batch)


def _step(step: Mapping[str, Any]) -> Step:
    return python_step(step["python"]) if step.get("python") is not None else sql_step(step["sql"])


def python_step(source: str) -> Step:
    """Return a step that runs code on each record. The step raises StepFailed."""
    code = compile(source, _FILE, "exec", dont_inherit=True)
    offered = {name: value for name, value in vars(builtins).items() if name not in _NOT_OFFERED}
    offered["__import__"] = _import

    def run(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.num_rows == 0:
            return batch
        results = []
        for row, record in enumerate(_records(batch)):
            names = {"__builtins__": offered, "__name__": "transform", "data": record}
            try:
                exec(code, names)  # noqa: S102 - what this process is for
            except BaseException as error:
                raise StepFailed(_name(error), row=row, line=_line(error)) from None
            result = names.get("data")
            if isinstance(result, dict):
                results.append(result)
            elif result is not None:
                raise StepFailed("`data` is no record afterwards", row=row)
        return _settled(results, batch.schema)

    return run


def sql_step(query: str) -> Step:
    """Return a step that runs a query on each batch, as the table `data`. The step raises StepFailed."""
    import duckdb  # here, since few pipelines have a query

    connection = duckdb.connect(":memory:", config=_DUCKDB)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")

    def run(batch: pa.RecordBatch) -> pa.RecordBatch:
        if not batch.schema.names:
            return batch
        connection.register("data", pa.Table.from_batches([batch]))
        try:
            table = _storable(connection.sql(query).to_arrow_table())
            return table.combine_chunks().to_batches()[0] if len(table) else _none(table.schema)
        except StepFailed:
            raise
        except (duckdb.BinderException, duckdb.CatalogException) as error:
            # Raised before any row is read: it quotes names and the query, and no record.
            raise StepFailed(str(error).partition("\n")[0]) from None
        except Exception as error:
            raise StepFailed(type(error).__name__) from None
        finally:
            connection.unregister("data")

    return run


def _storable(table: pa.Table) -> pa.Table:
    """Convert types that the output file does not support. Raises StepFailed."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # of DuckDB's ENUM
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
        elif pa.types.is_interval(field.type) or pa.types.is_union(field.type):
            raise StepFailed(f"the column {field.name!r} is an interval or a union: cast it to VARCHAR")
    return table


def _records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows. Times with a zone are in UTC: other zones would need a file of the system."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            in_utc = batch.column(index).cast(pa.timestamp(field.type.unit, "UTC"))
            batch = batch.set_column(index, field.name, in_utc)
    try:
        records: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError):
        raise StepFailed("Python has no form for a value") from None
    return records


def _settled(records: list[dict[str, Any]], given: pa.Schema) -> pa.RecordBatch:
    """Turn records into a batch. A column keeps the type that it came with if that holds the values."""
    if not records:
        return _none(given)
    try:
        batch = arrowize(records)
    except (NotRecords, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        reason = "`data` has keys that are no text" if isinstance(error, NotRecords) else _name(error)
        raise StepFailed(reason) from None
    for index, field in enumerate(batch.schema):
        if field.name not in given.names:
            continue
        before = given.field(field.name)
        if field.type.equals(before.type):
            batch = batch.set_column(index, before, batch.column(index))
        elif _is_same_kind(field.type, before.type):
            try:
                batch = batch.set_column(index, before, batch.column(index).cast(before.type))
            except pa.ArrowInvalid:  # a value is too large for the type
                continue
    return batch


def _is_same_kind(found: pa.DataType, before: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_timestamp, pa.types.is_time)
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(before):
        return (found.tz is None) == (before.tz is None)
    return pa.types.is_null(found) or any(kind(found) and kind(before) for kind in kinds)


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _import(name: str, *arguments: Any, **named: Any) -> Any:
    if name not in MODULES and name not in _LAZY:  # datetime.strptime imports through this function, too
        raise ImportError(name)
    return importlib.__import__(name, *arguments, **named)


def _name(error: BaseException) -> str:
    """Return the name of a built-in error's class. Other names are withheld: code can put a value in one."""
    return type(error).__name__ if type(error).__module__ == "builtins" else "an error of its own"


def _line(error: BaseException) -> int:
    lines, trace = [0], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1]


def _warm_up() -> None:
    """Import modules and start threads before the sandbox forbids it."""
    for module in (*MODULES, *_LAZY):
        importlib.import_module(module)
    pa.set_cpu_count(1)
    sample = pa.nulls(1, pa.timestamp("us", "UTC")).fill_null(0)
    batch = pa.RecordBatch.from_arrays([sample, pa.array(["x"])], ["time", "text"])
    encoded(_settled(_records(decoded(encoded(batch))), batch.schema))


def _receive() -> bytearray:
    return receive(_read, most=sys.maxsize)  # the worker is trusted


def _read(size: int) -> bytes:
    part = os.read(0, size)
    if not part:
        sys.exit(0)  # the worker has hung up
    return part


def _send(payload: bytes) -> None:
    send(lambda rest: os.write(0, rest), payload)


if __name__ == "__main__":
    main()
