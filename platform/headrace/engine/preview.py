"""The first rows of a run, as text that may be shown and kept."""

import pyarrow as pa

from headrace.connectors import Output
from headrace.masking import MaskingFilter

Preview = list[dict[str, str | None]]
"""Rows as text, by column."""

_ROWS = 10
_CHARACTERS = 200


def preview(output: Output, masking: MaskingFilter) -> Preview:
    """Return the first rows as masked text: it may be kept where a secret may not."""
    for batch in output.batches(_ROWS):
        texts = [[_text(value) for value in column] for column in batch.columns]
        masked = [[text and masking.mask(text)[:_CHARACTERS] for text in column] for column in texts]
        return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*masked, strict=True)]
    return []


def _text(value: pa.Scalar) -> str | None:
    try:
        plain = value.as_py()
    except (OverflowError, ValueError):  # a time that Python's calendar does not reach
        plain = value.cast(pa.string()).as_py()
    return None if plain is None else str(plain)
