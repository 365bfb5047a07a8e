"""Every Arrow type that Parquet holds, into every SQL system: it arrives, or its column's name is refused."""

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from systems import SYSTEMS, System, started

from headrace.connectors import Rejected

UUID = uuid.UUID(int=5)
LARGE = 2**64 - 1
FAR = 400_000_000_000  # seconds: a day of the year 14645
TENSOR = pa.FixedShapeTensorArray.from_storage(
    pa.fixed_shape_tensor(pa.int64(), [2]), pa.array([[1, 2]], pa.list_(pa.int64(), 2))
)

# Of each array: what a system holds of its one value, as text; None: it is refused. `*` is for all others.
ARRIVALS: dict[str, tuple[pa.Array, dict[str, str | None]]] = {
    "int8": (pa.array([-1], pa.int8()), {"*": "-1"}),
    "uint64": (pa.array([LARGE], pa.uint64()), {"*": f"{LARGE}", "bigquery": f"{LARGE}.000000000"}),
    "half": (pa.array([1.5], pa.float16()), {"*": "1.5"}),
    "nan": (pa.array([float("nan")]), {"*": "nan", "mysql": None, "sqlite": None}),
    "infinity": (pa.array([float("-inf")]), {"*": "-inf", "mysql": None}),
    "decimal64": (pa.array([Decimal("1.5")], pa.decimal64(15, 2)), {"*": "1.50", "bigquery": "1.500000000"}),
    "zero of many digits": (
        pa.array([Decimal(0)], pa.decimal128(20, 10)),
        {"*": "0E-10", "sqlite": "0.0000000000", "bigquery": "0E-18"},  # by Python, but for SQLite's text
    ),
    "decimal of 76 digits": (
        pa.array([Decimal("1E-40")], pa.decimal256(76, 40)),
        {"*": "0.0000000000000000000000000000000000000001", "postgres": "1E-40", "duckdb": None},
    ),
    "string view": (pa.array(["a"], pa.string_view()), {"*": "a"}),
    "large string": (pa.array(["a"], pa.large_string()), {"*": "a"}),
    "binary view": (pa.array([b"a\xff"], pa.binary_view()), {"*": "b'a\\xff'"}),
    "fixed binary": (pa.array([b"abc"], pa.binary(3)), {"*": "b'abc'"}),
    "date64": (pa.array([dt.date(2024, 1, 2)], pa.date64()), {"*": "2024-01-02"}),
    "date of a late year": (
        pa.array([5_000_000], pa.date32()),
        {"*": "15659-07-15", "bigquery": None, "mysql": None, "sqlite": "+15659-07-15"},
    ),
    "time32": (pa.array([dt.time(1, 2, 3)], pa.time32("s")), {"*": "01:02:03", "mysql": "1:02:03"}),
    "seconds": (
        pa.array([1], pa.timestamp("s")),
        {"*": "1970-01-01 00:00:01", "sqlite": "1970-01-01T00:00:01"},
    ),
    "late year": (
        pa.array([FAR], pa.timestamp("s")),
        {
            "*": "14645-06-30 15:06:40", "bigquery": None, "mysql": None,
            "sqlite": "+14645-06-30T15:06:40",
        },
    ),
    "zone": (
        pa.array([0], pa.timestamp("us", "Europe/Berlin")),
        {
            "*": "1970-01-01 00:00:00+00",
            "mysql": "1970-01-01 00:00:00",
            "sqlite": "1970-01-01T01:00:00+01:00",
        },
    ),
    "duration": (
        pa.array([1500], pa.duration("ms")),
        {"*": "0:00:01.500000", "mysql": "1500000", "bigquery": "1500000", "sqlite": "PT1.5S"},
    ),
    "duration of a nanosecond": (
        pa.array([1], pa.duration("ns")),
        {"*": None, "duckdb": "1", "sqlite": "PT0.000000001S"},
    ),
    "list view": (
        pa.array([[1, None]], pa.list_view(pa.int64())),
        {"*": "[1,null]", "postgres": "[1, None]", "duckdb": "[1, None]"},
    ),
    "tensor": (TENSOR, {"*": "[1,2]", "postgres": "[1, 2]", "duckdb": "[1, 2]"}),
    "map with a key twice": (
        pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())),
        {"*": '[["k",1],["k",2]]', "postgres": "[['k', 1], ['k', 2]]", "duckdb": None},
    ),
    "maps in a list": (
        pa.array([[[("k", 1)], [("k", 1)]]], pa.list_(pa.map_(pa.string(), pa.int64()))),
        {"*": '[{"k":1},{"k":1}]', "postgres": "[{'k': 1}, {'k': 1}]", "duckdb": "[{'k': 1}, {'k': 1}]"},
    ),
    "dictionary of numbers": (pa.array([5]).dictionary_encode(), {"*": "5"}),
    "uuid": (pa.array([UUID.bytes], pa.uuid()), {"*": str(UUID)}),
    "bool8": (pa.array([1], pa.bool8()), {"*": "1", "bigquery": "True"}),
    "nothing": (pa.nulls(1), {"*": "None"}),
}  # fmt: skip


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    with started(request.param, tmp_path, request) as made:
        yield made


def test_each_type_arrives_or_is_refused_by_its_columns_name(system: System) -> None:
    arrived: dict[str, str | None] = {}

    for number, (name, (array, _)) in enumerate(ARRIVALS.items()):
        table, rows = f"t{number}", pa.table({"id": [1], "v": array})
        try:
            system.load(rows, table=table, pipeline_id=name)
        except Rejected as refused:
            arrived[name] = None if "'v'" in refused.detail else refused.detail
        else:
            arrived[name] = _text(system, table)

    expected = {name: texts.get(system.name, texts["*"]) for name, (_, texts) in ARRIVALS.items()}
    assert arrived == expected


def _text(system: System, table: str) -> str:
    """Return the value as Python writes it; times as the system does, which knows more years."""
    is_moment = system.types(table)["v"].lower().startswith(("date", "timestamp"))
    column = {"postgres": "v::text", "duckdb": "v::varchar", "bigquery": "v::varchar"}.get(system.name, "v")
    ((value,),) = system.run(f"SELECT {column if is_moment else 'v'} FROM {table}")
    return str(value)
