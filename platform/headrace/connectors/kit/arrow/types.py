"""Facts about Arrow types that connectors and the engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

DECIMAL_DIGITS = 38
"""Digits of Arrow's decimal128. DuckDB and BigQuery read no wider decimal exactly."""

TYPE_KEY = b"headrace:postgres_type"
"""Metadata of an Arrow field: the column's type in PostgreSQL, where the Arrow type does not tell it."""


def stored(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values that `flat_texts.resolved` gives for an array of the type."""
    import pyarrow as pa

    if isinstance(kind, pa.DictionaryType | pa.RunEndEncodedType):
        return stored(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and not is_uuid(kind):
        return pa.bool_() if kind.extension_name == "arrow.bool8" else stored(kind.storage_type)
    return kind


def is_uuid(kind: pa.DataType) -> bool:
    """Whether the values are UUIDs."""
    import pyarrow as pa

    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def is_bytes(kind: pa.DataType) -> bool:
    """Whether the values are bytes of any kind."""
    import pyarrow as pa

    is_a = pa.types
    kinds = (is_a.is_binary, is_a.is_large_binary, is_a.is_binary_view, is_a.is_fixed_size_binary)
    return any(test(kind) for test in kinds)
