"""What the process of transforms makes of a batch, without its walls: code, queries, types, failures."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.transforms.process import Step, StepFailed, python_step, sql_step


def applied(step: Step, given: list[dict[str, Any]] | pa.RecordBatch) -> pa.RecordBatch:
    return step(arrowize(given) if isinstance(given, list) else given)


def failure(step: Step, given: list[dict[str, Any]]) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        applied(step, given)
    assert caught.value.__cause__ is None
    return caught.value


# Python


def test_a_record_is_changed_replaced_or_left_out():
    code = """
if data["id"] == 1:
    data["name"] = data["name"].title()
elif data["id"] == 2:
    data = {"id": 20, "new": [data["name"]]}
else:
    data = None
"""

    changed = applied(python_step(code), [{"id": n, "name": "ada lovelace"} for n in (1, 2, 3)]).to_pylist()

    assert changed == [
        {"id": 1, "name": "Ada Lovelace", "new": None},
        {"id": 20, "name": None, "new": ["ada lovelace"]},
    ]


def test_code_may_define_functions_and_import_what_computes():
    code = """
import hashlib, json, re
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

def host(url):
    return urlsplit(url).hostname

data["host"] = host(data["url"])
data["day"] = datetime.strptime(data["at"], "%d.%m.%Y").date() + timedelta(days=1)
data["price"] = Decimal(data["price"])
data["digest"] = hashlib.sha256(data["url"].encode()).hexdigest()[:8]
data["words"] = re.findall(r"\\w+", data["at"])
data["extra"] = json.loads('{"a": 1}')
del data["url"], data["at"]
"""

    given = [{"url": "https://example.org/x", "at": "31.01.2024", "price": "1.50"}]

    changed = applied(python_step(code), given).to_pylist()

    assert changed == [
        {
            "price": Decimal("1.50"),
            "host": "example.org",
            "day": date(2024, 2, 1),
            "digest": hashlib.sha256(b"https://example.org/x").hexdigest()[:8],
            "words": ["31", "01", "2024"],
            "extra": {"a": 1},
        }
    ]


def test_values_come_as_python_s_own_and_keep_their_columns_types():
    given = pa.RecordBatch.from_pydict(
        {
            "small": pa.array([1], pa.int16()),
            "price": pa.array([Decimal("1.50")], pa.decimal128(12, 2)),
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "Europe/Paris")),
            "day": pa.array([date(2024, 1, 1)]),
            "nothing": pa.nulls(1),
            "raw": pa.array([b"\xff"]),
        }
    )
    code = "data['types'] = [str(type(v)) for v in data.values()]\ndata['at'] = data['at'].replace(hour=5)"

    changed = applied(python_step(code), given)

    assert [changed.schema.field(name).type for name in given.schema.names] == given.schema.types
    assert changed["at"][0].as_py().astimezone(UTC) == datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert [text.split("'")[1] for text in changed["types"][0].as_py()] == [
        "int", "decimal.Decimal", "datetime.datetime", "datetime.date", "NoneType", "bytes"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "reason", "line"),
    [
        ("raise ValueError(data['name'])", "ValueError", 2),
        ("class Own(Exception): pass\n  raise Own(data['name'])", "an error of its own", 3),
        ("raise type(data['name'], (Exception,), {})", "an error of its own", 2),
        ("exit(data['name'])", "NameError", 2),
        ("raise SystemExit(data['name'])", "SystemExit", 2),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 2),
        ("open('/etc/passwd')", "NameError", 2),
        ("eval('1')", "NameError", 2),
        ("def f(): f()\n  f()", "RecursionError", 2),
        ("data = [data['name']]", "`data` is no record afterwards", 0),
    ],
)
def test_a_failure_tells_its_record_its_line_and_no_value(code, reason, line):
    step = python_step(f"if data['id'] == 2:\n  {code}")

    failed = failure(step, [{"id": 1, "name": "s3cret"}, {"id": 2, "name": "s3cret"}])

    assert (failed.reason, failed.row, failed.line) == (reason, 1, line)


def test_a_record_whose_keys_are_no_text_is_told():
    failed = failure(python_step("data = {1: data['name']}"), [{"name": "s3cret"}])

    assert failed.reason == "`data` has keys that are no text"


def test_a_record_that_is_deleted_is_left_out():
    step = python_step("if data['id'] == 1:\n  del data")

    assert applied(step, [{"id": 1}, {"id": 2}]).to_pylist() == [{"id": 2}]


def test_code_starts_anew_for_each_record():
    code = "data['seen'] = 'memory' in globals()\nmemory = 1"

    assert applied(python_step(code), [{"id": 1}, {"id": 2}]).to_pylist() == [
        {"id": 1, "seen": False},
        {"id": 2, "seen": False},
    ]


# SQL


def test_a_query_reads_the_batch():
    query = "SELECT id, upper(name) AS name, price * 2 AS twice FROM data WHERE id > 1 ORDER BY id DESC"
    page = [{"id": n, "name": "ada", "price": Decimal("1.50")} for n in (1, 2, 3)]

    assert applied(sql_step(query), page).to_pylist() == [
        {"id": n, "name": "ADA", "twice": Decimal("3.00")} for n in (3, 2)
    ]


def test_a_query_keeps_the_types_of_what_it_passes_on():
    given = pa.RecordBatch.from_pydict(
        {
            "text": ["a\0b"],
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "local": pa.array([datetime(2024, 1, 1)], pa.timestamp("us")),  # noqa: DTZ001 - without a zone
            "price": pa.array([Decimal("1.50")], pa.decimal128(12, 2)),
            "nested": [{"a": [1, None]}],
            "nothing": pa.nulls(1),
            "raw": [b"\xff"],
        }
    )

    same = applied(sql_step("FROM data"), given)

    assert same.schema.types[:4] + same.schema.types[5:] == given.schema.types[:4] + given.schema.types[5:]
    assert same.to_pylist() == given.to_pylist()


def test_a_query_without_rows_has_its_columns():
    none = applied(sql_step("SELECT id, 'x' AS new FROM data WHERE id > 1"), [{"id": 1}])

    assert (none.num_rows, none.schema.names) == (0, ["id", "new"])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT nope FROM data", 'Referenced column "nope" not found'),
        ("SELECT * FROM other", "Table with name other does not exist"),
        ("SELECT name::INT FROM data", "ConversionException"),
        ("SELECT error(name) FROM data", "InvalidInputException"),
        ("SELECT INTERVAL 1 DAY AS gap FROM data", "the column 'gap' is an interval or a union"),
        ("SELECT * FROM read_csv('/etc/passwd')", "PermissionException"),
        ("SELECT * FROM read_text('/proc/self/environ')", "PermissionException"),
        ("SELECT * FROM '/etc/passwd.csv'", "PermissionException|IOException"),
        ("SELECT * FROM read_json('http://127.0.0.1:9/x')", "PermissionException|IOException"),
        ("SELECT * FROM glob('/etc/*')", "PermissionException"),
        ("SELECT getenv('HOME') FROM data", "name getenv does not exist"),
        ("SELECT * FROM code", "Table with name code does not exist"),
    ],
)
def test_a_query_reaches_nothing_but_the_batch_and_its_failures_tell_no_value(query, reason):
    failed = failure(sql_step(query), [{"id": 1, "name": "s3cret"}, {"id": 2, "name": "x"}])

    assert any(each in failed.reason for each in reason.split("|")), failed.reason
    assert failed.row is None
    assert "s3cret" not in failed.reason
