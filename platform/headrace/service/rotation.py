"""Key rotation: wraps stored secrets with the current key.

Only the data key of each value is wrapped again, 32 bytes a row; the value itself stays. A kill leaves some
rows under the new key and others under the old one. Both can be opened, and the next rotation continues.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from headrace.encryption.envelope import CannotOpen
from headrace.service.platform import Platform
from headrace.store.sealed import PLACES, Place, SealedValue, SealedValues

ROWS_AT_ONCE = 100
"""Small batches delay concurrent writers by milliseconds only."""
PASSES = 5
"""Repetitions, for values that processes without the new key have stored in the meantime."""


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """The result of a rotation."""

    rewrapped: int
    unopened: tuple[
        tuple[str, UUID], ...
    ]  # table and row of the values that no key opens; they stay as they are


def rotate(platform: Platform) -> Rotated:
    """Wrap all stored secrets with the current key. Safe with concurrent writers and rotations."""
    values = SealedValues(platform.database)
    rewrapped = 0
    unopened: set[tuple[str, UUID]] = set()
    for _ in range(PASSES):
        seen = 0
        for place in PLACES:
            for batch in _batches(values, place, platform.envelope.current_key_id):
                opened = [value for value in batch if (place.table.name, value.row_id) not in unopened]
                changes, failed = _rewrapped(platform, place, opened)
                unopened |= {(place.table.name, row_id) for row_id in failed}
                rewrapped += values.replace(place, changes)
                seen += len(changes)
        if not seen:
            break
    return Rotated(rewrapped=rewrapped, unopened=tuple(sorted(unopened)))


def _batches(values: SealedValues, place: Place, key_id: str) -> Iterator[list[SealedValue]]:
    after: UUID | None = None
    while batch := list(values.under_other_keys(place, key_id, after=after, limit=ROWS_AT_ONCE)):
        yield batch
        after = batch[-1].row_id


def _rewrapped(
    platform: Platform, place: Place, batch: list[SealedValue]
) -> tuple[list[tuple[SealedValue, bytes, str]], list[UUID]]:
    """Return the wrapped values with the key's id, and the rows that could not be opened."""
    changes, failed = [], []
    for value in batch:
        binding = place.binding(value.organization_id, value.row_id, value.revision)
        try:
            sealed = platform.envelope.rewrap(value.sealed, binding)
        except CannotOpen:
            failed.append(value.row_id)
        else:
            changes.append((value, sealed, platform.envelope.key_id(sealed)))
    return changes, failed
