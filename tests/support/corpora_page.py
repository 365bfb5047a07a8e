"""What becomes of files that nobody here wrote; run as a script it writes docs/corpora.md anew."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from corpora import CORPORA

from headrace.connectors import ReadRequest
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.kit.arrow.plain_types import plain
from headrace.connectors.kit.arrow.rendering import texts
from headrace.engine.arrow.arrowize import arrowize
from headrace.errors import HeadraceError

PAGE = Path(__file__).parents[2] / "docs" / "corpora.md"
_INTRODUCTION = """# Files that nobody here wrote

Test suites of other projects, read by the `files` source. Each file is read exactly, or refused for a stated
reason; none crashes the connector. `tests/contract/test_corpora.py` holds this page to what happens, and
`tests/support/corpora_page.py` writes it anew.

- [CSV](#csv): csv-spectrum and csv-test-data, whose right values are given. Where they are not, Python's
  `csv` module is the second reader.
- [Parquet](#parquet): apache/parquet-testing. DuckDB is the second reader: a column is compared where both
  give it one type.
- JSON: JSONTestSuite, on [a page of its own](json-cases.md).
"""


def page() -> str:
    """Return what docs/corpora.md must hold."""
    tables = [
        ("CSV", "| File | Outcome |\n|---|---|\n", _csv_lines()),
        ("Parquet", "| File | Outcome |\n|---|---|\n", _parquet_lines()),
    ]
    return _INTRODUCTION + "".join(
        f"\n## {title}\n\n{head}" + "".join(f"{line}\n" for line in lines) for title, head, lines in tables
    )


def rows_of(path: Path, **config: Any) -> list[pa.RecordBatch] | str:
    """Return a file's batches, or why it is refused. Anything else that is raised is a crash."""
    source = FilesSource.model_validate({"paths": [str(path)], **config})
    try:
        items = source.read(ReadRequest(stream="corpus", warn=lambda warning: None))
        return [item if isinstance(item, pa.RecordBatch) else arrowize(list(item)) for item in items]
    except HeadraceError as error:
        return str(error)


def _csv_lines() -> Iterator[str]:
    for path in sorted([*CORPORA.glob("csv-spectrum/csvs/*.csv"), *CORPORA.glob("csv-test-data/csv/*.csv")]):
        yield f"| `{path.relative_to(CORPORA)}` | {_csv_outcome(path)} |"


def _csv_outcome(path: Path) -> str:
    found = rows_of(path, infer_types=False)
    if isinstance(found, str):
        return f"refused: {found}"
    got = [{name: text or "" for name, text in row.items()} for batch in found for row in batch.to_pylist()]
    answer = (path.parent.parent / "json" / path.name).with_suffix(".json")
    if answer.exists() and got == _right_values(answer):
        return f"exact, {len(got)} rows"
    lines = list(csv.reader(io.StringIO(path.read_text(errors="replace"), newline="")))
    seconds = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]] if lines else []
    differs = "; other values than are given as right" if answer.exists() else ""
    return (
        f"{len(got)} rows, as Python reads them{differs}"
        if got == seconds
        else f"{len(got)} rows, unlike Python's"
    )


def _right_values(path: Path) -> list[dict[str, str]]:
    values = json.loads(path.read_bytes().decode(errors="replace"))
    if isinstance(values, dict):
        return [values]
    if values and isinstance(values[0], list):
        return [dict(zip(values[0], row, strict=True)) for row in values[1:]]
    return list(values)


def _parquet_lines() -> Iterator[str]:
    for path in sorted([*CORPORA.glob("parquet/*.parquet"), *CORPORA.glob("parquet-bad/*.parquet")]):
        yield f"| `{path.relative_to(CORPORA)}` | {_parquet_outcome(path)} |"


def _parquet_outcome(path: Path) -> str:
    found = rows_of(path)
    if isinstance(found, str):
        return f"refused: {found}"
    table = pa.Table.from_batches(found)
    try:
        with duckdb.connect() as connection:
            query = "SELECT * FROM read_parquet(?, hive_partitioning = false)"
            other = connection.sql(query, params=[str(path)]).to_arrow_table()
    except duckdb.Error:
        return f"{table.num_rows} rows; DuckDB refuses it"
    same = [name for name in table.schema.names if _agree(table, other, name)]
    unlike = [name for name in table.schema.names if name not in same and _comparable(table, other, name)]
    rest = f"; unlike DuckDB: {', '.join(unlike)}" if unlike else ""
    return f"{table.num_rows} rows, as DuckDB reads {len(same)} of {table.num_columns} columns{rest}"


def _comparable(one: pa.Table, other: pa.Table, name: str) -> bool:
    return name in other.schema.names and _plain(one, name).type == _plain(other, name).type


def _agree(one: pa.Table, other: pa.Table, name: str) -> bool:
    if not _comparable(one, other, name):
        return False
    mine, theirs = _plain(one, name), _plain(other, name)
    # Equal values have equal texts, which of one of the files are gigabytes. NaN equals nothing.
    return bool(mine.equals(theirs)) or bool(texts(mine).equals(texts(theirs)))


def _plain(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return plain(column)


if __name__ == "__main__":
    if not CORPORA.is_dir():
        raise SystemExit(f"{CORPORA} is not there.")
    PAGE.write_text(page())
