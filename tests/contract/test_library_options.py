"""Every option of a library's reader or writer is on docs/library-options.md, with the choice."""

import inspect
import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from pyarrow import csv, ipc

_PAGE = (Path(__file__).parents[2] / "docs" / "library-options.md").read_text()
_NOT_OPTIONS = {"self", "source", "where", "options"}


def _attributes(options: Any) -> set[str]:
    names = (name for name in dir(options) if not name.startswith("_"))
    return {name for name in names if not callable(getattr(options, name))}


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - _NOT_OPTIONS - {"schema"}


def _parquet_reader_of_duckdb() -> set[str]:
    with duckdb.connect() as connection:
        query = "SELECT parameters FROM duckdb_functions() WHERE function_name = 'read_parquet'"
        return {name for (names,) in connection.execute(query).fetchall() for name in names}


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("pyarrow: CSV", _attributes(csv.ReadOptions())),
        ("pyarrow: CSV", _attributes(csv.ParseOptions())),
        ("pyarrow: CSV", _attributes(csv.ConvertOptions())),
        ("pyarrow: Parquet, reading", _parameters(pq.ParquetFile.__init__)),
        ("pyarrow: Parquet, reading", _parameters(pq.ParquetFile.iter_batches)),
        ("pyarrow: Parquet, writing", _parameters(pq.ParquetWriter.__init__)),
        ("pyarrow: Arrow files", _attributes(ipc.IpcReadOptions())),
        ("DuckDB: reading a run's output", _parquet_reader_of_duckdb()),
    ],
)
def test_each_option_is_named_with_the_choice(section: str, options: set[str]) -> None:
    text = _PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]

    assert options - set(re.findall(r"`(\w+)`", text)) == set()


def test_each_test_that_the_page_names_is_there() -> None:
    tests = "".join(path.read_text() for path in (Path(__file__).parents[1]).rglob("test_*.py"))

    for start in re.findall(r"`(test_\w+)…`", _PAGE):
        assert f"def {start}" in tests, start
