"""Arrow values as JSON text: how databases without a type for nested values keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa


def json_texts(array: pa.Array, decimals: Literal["number", "text"] = "number") -> pa.Array:
    """Write each value as JSON in UTF-8, as docs/types.md says for its type; a null stays a null.

    Raises ValueError where the values have parts within parts beyond 100 levels.
    """
    from headrace.connectors.kit.arrow.json_writer import nullable_json

    return nullable_json(array, decimals)
