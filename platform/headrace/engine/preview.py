"""The first rows of a run, as text that may be shown and kept."""

from headrace.connectors import Output
from headrace.connectors.kit.arrow.rendering import texts
from headrace.masking import MaskingFilter

Preview = list[dict[str, str | None]]
"""Rows as text, by column."""

_ROWS = 10
_CHARACTERS = 200


def preview(output: Output, masking: MaskingFilter) -> Preview:
    """Return the first rows as masked text: it may be kept where a secret may not."""
    for batch in output.batches(_ROWS):
        columns = [texts(column).to_pylist() for column in batch.columns]
        masked = [[text and masking.mask(text)[:_CHARACTERS] for text in column] for column in columns]
        return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*masked, strict=True)]
    return []
