"""What the files source does with files that are not what they seem: it fails, or warns, by stated rules."""

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from headrace.connectors import ReadRequest, RunWarning, Unreadable
from headrace.connectors.files.columnar import TimesBeyondRange
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.files.csv_columns import AmbiguousHeader
from headrace.connectors.files.folders import AmbiguousFolders
from headrace.connectors.files.formats import NotWhole
from headrace.connectors.kit.arrow.rendering import texts
from headrace.engine.arrow.arrowize import arrowize


class Source:
    """Reads files, and keeps the types and the warnings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.types: dict[str, str] = {}
        self.warnings: list[RunWarning] = []

    def write(self, content: str | bytes, name: str = "things.csv") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def read(self, path: Path, **config: Any) -> list[dict[str, Any]]:
        source = FilesSource.model_validate({"paths": [str(path)], **config})
        rows: list[dict[str, Any]] = []
        for batch in source.read(ReadRequest(stream="things", warn=self.warnings.append)):
            if isinstance(batch, pa.RecordBatch):
                self.types |= {field.name: str(field.type) for field in batch.schema}
                rows += batch.to_pylist()
            else:
                rows += arrowize(list(batch)).to_pylist()
        return rows

    @property
    def codes(self) -> list[str]:
        return [warning.code for warning in self.warnings]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        'id,name\n1,"open\n2,b\n3,c\n',
        'id,name\n,\n,"open',
        'id,name\n1,a\n2,"',
        'id,"name\n1,a\n',
        'name\n"open',
        'name\n"a"\n"',
        'id,name\r\n1,"open\r\n',
        'id,name\n1,"a"b\n',
        'id,name\n1,"a" \n',
        'id,name\n1,"a, " b"\n',
    ],
)
@pytest.mark.parametrize("config", [{}, {"infer_types": False}], ids=["typed", "text"])
def test_a_quote_that_never_closes_or_closes_too_early_fails_the_file(
    source: Source, text: str, config: dict[str, Any]
) -> None:
    with pytest.raises(NotWhole):
        source.read(source.write(text), **config)


def test_a_quote_that_never_closes_is_found_beyond_the_first_block(source: Source) -> None:
    rows = "".join(f'{number},"name {number}"\n' for number in range(150_000))

    with pytest.raises(NotWhole):
        source.read(source.write("id,name\n" + rows + '1,"open\n'))


@pytest.mark.parametrize("value", ['5" pipe', 'a "b" c', '""', "it''s"])
def test_quotes_within_a_field_that_has_none_around_it_are_part_of_it(source: Source, value: str) -> None:
    assert source.read(source.write(f"id,name\n1,x{value}\n")) == [{"id": 1, "name": f"x{value}"}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_blank_line_is_a_null_where_there_is_one_column_and_nothing_where_there_are_several(
    source: Source, end: str, closed: bool
) -> None:
    last = end if closed else ""

    one = source.write(end.join(["a", "x", "", '""', "y"]) + last)
    two = source.write(end.join(["a,b", "x,1", "", "y,2"]) + last, "two.csv")

    assert [row["a"] for row in source.read(one)] == ["x", None, "", "y"]
    assert [row["a"] for row in source.read(two)] == ["x", "y"]


def test_line_ends_may_be_mixed(source: Source) -> None:
    assert source.read(source.write("a,b\r\n1,2\n3,4\r5,6")) == [
        {"a": 1, "b": 2},
        {"a": 3, "b": 4},
        {"a": 5, "b": 6},
    ]


def test_a_column_without_values_has_no_type_yet(source: Source) -> None:
    assert source.read(source.write("id,amount\n1,\n2,\n")) == [
        {"id": 1, "amount": None},
        {"id": 2, "amount": None},
    ]
    assert source.types == {"id": "int64", "amount": "null"}


def test_a_header_without_rows_still_tells_the_columns(source: Source) -> None:
    for text in ("a,b\n", "a,b"):
        assert source.read(source.write(text)) == []
        assert source.types == {"a": "null", "b": "null"}


def test_columns_without_a_name_get_one_and_are_warned_of(source: Source) -> None:
    assert source.read(source.write(",a,,unnamed\n0,x,1,2\n")) == [
        {"unnamed_2": 0, "a": "x", "unnamed_3": 1, "unnamed": 2}
    ]
    assert source.codes == ["source.column_unnamed"]


@pytest.mark.parametrize("name", ["things.json", "things.jsonl", "things.parquet", "things.arrow"])
def test_a_column_without_a_name_gets_one_in_every_format(source: Source, name: str) -> None:
    path = source.folder / name
    if "json" in name:
        path.write_text('{"": 1, "a": ""}')
    elif name.endswith("parquet"):
        pq.write_table(pa.table({"": [1], "a": [""]}), path)
    else:
        with pa.ipc.new_file(str(path), pa.schema({"": pa.int64(), "a": pa.string()})) as writer:
            writer.write_table(pa.table({"": [1], "a": [""]}))

    assert source.read(path) == [{"unnamed": 1, "a": ""}]


def test_two_columns_of_one_name_are_refused_by_it_and_can_be_named(source: Source) -> None:
    path = source.write("a,a\n1,2\n")

    with pytest.raises(AmbiguousHeader, match="'a'"):
        source.read(path)
    assert source.read(path, column_names=["x", "y"]) == [{"x": 1, "y": 2}]
    with pytest.raises(AmbiguousHeader, match="2 columns"):
        source.read(path, column_names=["x"])


@pytest.mark.parametrize("names", [["a", "a"], ["a", ""]])
def test_names_of_columns_must_tell_them_apart(names: list[str]) -> None:
    with pytest.raises(ValidationError):
        FilesSource(paths=("a.csv",), column_names=tuple(names))


def test_a_file_without_a_header_is_read_as_such_and_a_header_of_numbers_is_warned_of(source: Source) -> None:
    path = source.write("1,x\n2,y\n")

    assert source.read(path, header=False) == [
        {"column_1": 1, "column_2": "x"},
        {"column_1": 2, "column_2": "y"},
    ]
    assert source.read(path, header=False, column_names=["id", "name"])[0] == {"id": 1, "name": "x"}
    assert source.codes == []
    source.read(source.write("1,2\n3,4\n"))
    assert source.codes == ["source.header_of_numbers"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "source.file_empty"),
        ("\r\n\n", "source.file_empty"),
        ("id;name\n1;x\n", "source.one_column"),
        ("id,name\n1,x\0\n\0,\n", "source.nul_characters"),
    ],
)
def test_what_may_be_meant_otherwise_is_warned_of(source: Source, text: str, code: str) -> None:
    source.read(source.write(text))

    assert source.codes == [code]


def test_nul_characters_are_counted_and_kept(source: Source) -> None:
    assert source.read(source.write("a,b\nx\0,\0\n")) == [{"a": "x\0", "b": "\0"}]
    assert source.warnings[0].count == 2


def test_a_text_of_utf_16_that_is_read_as_utf_8_is_refused(source: Source) -> None:
    text = 'id,name\n1,"é\ny"\n'

    for encoding in ("utf-16", "utf-16-le"):
        with pytest.raises(Unreadable, match="encoding"):
            source.read(source.write("id,name\n1,x\n".encode(encoding)))
        assert source.read(source.write(text.encode(encoding)), encoding=encoding) == [
            {"id": 1, "name": "é\ny"}
        ]
    with pytest.raises(NotWhole):
        source.read(source.write(text.encode("utf-16")[:-1]), encoding="utf-16")


@pytest.mark.parametrize("text", ["näme\n1\n", "id,name\n1,é\n"], ids=["header", "row"])
@pytest.mark.parametrize("config", [{}, {"infer_types": False}, {"encoding": "utf-16"}], ids=str)
def test_a_text_in_another_encoding_is_refused_by_the_name_of_the_one_that_was_tried(
    source: Source, text: str, config: dict[str, Any]
) -> None:
    with pytest.raises(NotWhole, match=f"no text in {config.get('encoding', 'utf-8')}: name its `encoding`"):
        source.read(source.write(text.encode("latin-1")), **config)
    assert len(source.read(source.write(text.encode("latin-1")), encoding="latin-1")) == 1


_PAGE = "<!DOCTYPE html>\n<html><body>Please sign in</body></html>\n"


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.parquet", "a.arrow"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_PAGE.encode(), "web page"),
        (b"\n  <HTML lang=en>", "web page"),
        (gzip.compress(_PAGE.encode()), "web page"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b"PK\x03\x04rest", "zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
    ids=["page", "upper case", "compressed page", "xml", "zip", "lfs"],  # gzip notes the time: no stable name
)
def test_a_file_that_is_plainly_something_else_is_refused(
    source: Source, name: str, content: bytes, told: str
) -> None:
    with pytest.raises(NotWhole, match=told):
        source.read(source.write(content, name))


@pytest.mark.parametrize("text", ['{"error": "not found"}', '[{"id": 1}]', "{}"])
def test_json_in_the_place_of_csv_is_refused(source: Source, text: str) -> None:
    with pytest.raises(NotWhole, match="JSON"):
        source.read(source.write(text))


@pytest.mark.parametrize("header", ["<TICKER>,<PER>", "[id],[name]", "{id},{name}"])
def test_a_header_of_odd_names_is_a_header(source: Source, header: str) -> None:
    assert list(source.read(source.write(f"{header}\n1,2\n"))[0]) == header.split(",")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1', '{"a": 1} x', "{'a': 1}"])
def test_json_that_is_none_is_refused(source: Source, name: str, text: str) -> None:
    with pytest.raises(Unreadable):
        list(source.read(source.write(text, name)))


@pytest.mark.parametrize("text", ["", " \n", "\ufeff"])
def test_a_json_document_without_a_value_is_none(source: Source, text: str) -> None:
    with pytest.raises(NotWhole, match="no value"):
        source.read(source.write(text, "a.json"))
    assert source.read(source.write(text, "a.jsonl")) == []


def test_the_line_of_broken_json_lines_is_told_in_a_later_block(source: Source) -> None:
    lines = "\n".join(json.dumps({"a": "x" * 1000}) for _ in range(9_000))

    with pytest.raises(NotWhole, match="after line"):
        source.read(source.write(lines + "\n{broken\n", "a.jsonl"))


def _int96(path: Path, times: list[Any], unit: str = "us") -> Path:
    table = pa.table({"id": range(len(times)), "t": pa.array(times, pa.timestamp(unit))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    return path


def test_int96_times_beyond_nanoseconds_are_read_as_microseconds(source: Source) -> None:
    moments = ["9999-12-31T23:59:59.000005", None, "2024-01-01", "0001-01-01"]
    times = [text and datetime.fromisoformat(text) for text in moments]

    rows = source.read(_int96(source.folder / "a.parquet", times))

    assert [row["t"] for row in rows] == times
    assert source.types["t"] == "timestamp[us]"


def test_int96_times_keep_their_nanoseconds_where_all_fit(source: Source) -> None:
    path = _int96(source.folder / "a.parquet", [1_704_067_200_123_456_789, None], "ns")
    (empty, batch) = FilesSource(paths=(str(path),)).read(ReadRequest(stream="things"))

    assert empty.num_rows == 0
    assert texts(batch.column("t")).to_pylist() == ["2024-01-01T00:00:00.123456789", None]


def test_int96_times_that_no_one_type_holds_are_refused_by_name(source: Source) -> None:
    path = source.folder / "a.parquet"
    table = pa.table({"t": pa.array([0, 1], pa.timestamp("ns"))})
    pq.write_table(
        table, path, use_deprecated_int96_timestamps=True, use_dictionary=False, compression="none"
    )
    first, second = (nanoseconds.to_bytes(8, "little") + _JULIAN_1970 for nanoseconds in (0, 1))
    beyond = (0).to_bytes(8, "little") + _JULIAN_9999
    path.write_bytes(path.read_bytes().replace(first + second, beyond + second))

    with pytest.raises(TimesBeyondRange, match="'t'"):
        source.read(path)


_JULIAN_1970 = (2_440_588).to_bytes(4, "little")
_JULIAN_9999 = (5_373_484).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array([pa.MonthDayNano([1, 2, 3]), None]), "string", ["P1M2DT0.000000003S", None]),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2]), pa.array(["a"])), "string", ["a", "a"]),
        (pa.array(["a", None], pa.string_view()), "string", ["a", None]),
        (pa.array([[1], None], pa.list_view(pa.int64())), "list<item: int64>", ["[1]", None]),
        (pa.array([0.5, None], pa.float16()), "float", ["0.5", None]),
        (
            pa.ListArray.from_arrays([0, 1, 2], pa.array(["a", "b"]).dictionary_encode()),
            "list<item: string>",
            ['["a"]', '["b"]'],
        ),
        (
            pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["x", "y"])]),
            "string",
            ["1", "y"],
        ),
    ],
    ids=lambda value: str(getattr(value, "type", ""))[:30],
)
def test_arrow_types_that_parquet_lacks_become_others_with_the_same_values(
    source: Source, array: pa.Array, kind: str, values: list[str]
) -> None:
    path = source.folder / "a.arrow"
    with pa.ipc.new_file(str(path), pa.schema({"v": array.type})) as writer:
        writer.write_batch(pa.record_batch([array], ["v"]))

    (_, batch) = FilesSource(paths=(str(path),)).read(ReadRequest(stream="things"))

    assert str(batch.schema.field("v").type) == kind
    assert texts(batch.column("v")).to_pylist() == values


def test_text_that_is_no_utf_8_in_parquet_is_refused(source: Source) -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"\xff"]).buffers()[1:]])
    pq.write_table(pa.table({"a": broken}), source.folder / "a.parquet")

    with pytest.raises(NotWhole):
        source.read(source.folder / "a.parquet")


def test_folders_below_a_patterns_fixed_part_are_columns(source: Source) -> None:
    for folder, text in {"year=2024/country=DE": "1", "year=2025/country=F%2FR": "2"}.items():
        source.write(f"id\n{text}\n", f"tenant=acme/{folder}/a.csv")
    source.write("id\n3\n", "tenant=acme/year=2025/country=__HIVE_DEFAULT_PARTITION__/a.csv")

    rows = source.read(source.folder / "tenant=acme" / "**" / "*.csv")

    assert sorted(rows, key=lambda row: int(row["id"])) == [
        {"id": 1, "year": 2024, "country": "DE"},
        {"id": 2, "year": 2025, "country": "F/R"},
        {"id": 3, "year": 2025, "country": None},
    ]


def test_folders_types_are_found_over_all_files(source: Source) -> None:
    for code in ("1", "2", "007"):
        source.write(f"id\n{code[-1]}\n", f"code={code}/a.csv")

    assert {row["code"] for row in source.read(source.folder / "*" / "a.csv")} == {"1", "2", "007"}


def test_a_files_own_column_stays_what_it_is_and_folders_may_be_left_alone(source: Source) -> None:
    path = source.write('{"id": 1, "country": "beta"}\n', "country=DE/year=2024/a.jsonl")
    pattern = source.folder / "**" / "*.jsonl"

    assert source.read(pattern) == [{"id": 1, "country": "beta", "year": 2024}]
    assert source.read(pattern, partition_columns=False) == [{"id": 1, "country": "beta"}]
    assert source.read(path) == [{"id": 1, "country": "beta"}]


def test_folders_that_contradict_each_other_are_refused(source: Source) -> None:
    source.write("id\n1\n", "a=1/a=2/a.csv")

    with pytest.raises(AmbiguousFolders, match="'a'"):
        source.read(source.folder / "**" / "*.csv")


def test_the_records_of_the_file_destination_are_no_data(source: Source) -> None:
    source.write('{"id": 1}\n', "things/a.json")
    source.write('{"version": 1}\n', "_headrace/pipeline.json")

    assert source.read(source.folder / "**" / "*.json") == [{"id": 1}]
