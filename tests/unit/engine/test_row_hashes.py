"""Rows are known again by their values, whatever type a page or a batch has them in."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from headrace.engine.cursors.row_hashes import row_hashes

_MOMENT = 1_700_000_000


def _hash(value: Any, kind: pa.DataType) -> bytes:
    return row_hashes(pa.RecordBatch.from_pydict({"value": pa.array([value], kind)}))[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((Decimal("1.50"), pa.decimal128(9, 2)), (Decimal("1.5"), pa.decimal128(20, 1))),
        ((Decimal("-100"), pa.decimal128(9, 0)), (Decimal("-100.0000000000"), pa.decimal128(30, 10))),
        ((Decimal(0), pa.decimal128(38, 38)), (Decimal(0), pa.decimal256(50, 2))),
        ((Decimal(7), pa.decimal128(9, 3)), (7, pa.int64())),
        ((7, pa.int8()), (7.0, pa.float64())),
        ((10**15, pa.int64()), (1e15, pa.float64())),
        ((0.0, pa.float64()), (-0.0, pa.float64())),
        ((0.5, pa.float32()), (0.5, pa.float64())),
        ((_MOMENT, pa.timestamp("s")), (_MOMENT * 10**6, pa.timestamp("us"))),
        ((_MOMENT * 10**3, pa.timestamp("ms", "+02:00")), (_MOMENT * 10**9, pa.timestamp("ns", "UTC"))),
        ((20_000, pa.date32()), ("2024-10-04", pa.string())),
    ],
)
def test_a_value_has_one_hash_in_every_type_that_holds_it(
    one: tuple[Any, pa.DataType], other: tuple[Any, pa.DataType]
) -> None:
    assert _hash(*one) == _hash(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((Decimal("1.5"), pa.decimal128(9, 1)), (Decimal("1.05"), pa.decimal128(9, 2))),
        ((Decimal("10"), pa.decimal128(9, 0)), (Decimal("1"), pa.decimal128(9, 0))),
        ((2.0**60, pa.float64()), (2.0**61, pa.float64())),
        ((0.1, pa.float64()), (0.1 + 2**-55, pa.float64())),
        ((float("nan"), pa.float64()), (None, pa.float64())),
        ((_MOMENT, pa.timestamp("s")), (_MOMENT + 1, pa.timestamp("s"))),
    ],
)
def test_other_values_have_other_hashes(one: tuple[Any, pa.DataType], other: tuple[Any, pa.DataType]) -> None:
    assert _hash(*one) != _hash(*other)
