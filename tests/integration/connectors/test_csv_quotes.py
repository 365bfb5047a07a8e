"""Quotes in CSV: a file is read only where a strict reader and pyarrow's agree on what it says."""

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.connectors import ReadRequest
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.files.csv_text import QuoteCheck
from headrace.connectors.files.formats import NotWhole

_PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", "a", " ", "b c", "é"]), max_size=14).map(
    "".join
)


def _strict(text: str) -> list[list[str]] | None:
    """Return the rows by Python's strict reader; None where it refuses."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None


def _regular(text: str, sizes: list[int]) -> bool:
    check, content = QuoteCheck(","), text.encode()
    for size in sizes:
        check.see(content[:size]) if content[:size] else None
        content = content[size:]
    if content:
        check.see(content)
    check.see(b"\n")
    return check.is_regular


@given(text=_PIECES, sizes=st.lists(st.integers(1, 4), max_size=6))
@example(text='"a"b\n', sizes=[])
@example(text='a"b"\n', sizes=[1])
@example(text='"a""b"\n', sizes=[3])
@example(text='a","', sizes=[])
@settings(max_examples=examples(500))
def test_quotes_that_are_regular_are_so_for_a_strict_reader_too(text: str, sizes: list[int]) -> None:
    rows = _strict(text + "\n")

    if _regular(text, sizes):
        # Not closed is another matter: the row that is added at the end tells.
        assert rows is not None or text.count('"') % 2
    assert _regular(text, sizes) == _regular(text, [])


@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('",\r\n ab'), max_size=4), min_size=2, max_size=2), max_size=5
    )
)
@settings(max_examples=examples(100))
def test_quotes_as_a_writer_sets_them_are_regular(rows: list[list[str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["x", "y"], *rows])

    assert _regular(buffer.getvalue(), [3, 1, 4, 1, 5])


@given(body=_PIECES)
@settings(max_examples=examples(150))
def test_a_file_is_read_as_a_strict_reader_reads_it_or_not_at_all(body: str) -> None:
    text = "x,y\n" + body
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(text.encode())
        found = _rows(path)

    strict = _strict(text)
    if found is not None:
        assert strict is not None
        assert found == [row for row in strict[1:] if row]


def _rows(path: Path) -> list[list[str]] | None:
    config: dict[str, Any] = {"paths": [str(path)], "infer_types": False}
    try:
        batches = list(FilesSource.model_validate(config).read(ReadRequest(stream="things")))
    except NotWhole:
        return None
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)
    return [[value or "" for value in row.values()] for batch in batches for row in batch.to_pylist()]  # type: ignore[union-attr] # they are


def test_a_quoted_field_longer_than_what_python_reads_by_default_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'x,y\n"{"a" * 200_000}",5" pipe\n')

    assert _rows(path) == [["a" * 200_000, '5" pipe']]


@pytest.mark.parametrize("text", ['x,y\n1,"a\n', 'x,y\n1,"a"b\n'])
def test_what_a_strict_reader_refuses_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)

    assert _rows(tmp_path / "a.csv") is None
