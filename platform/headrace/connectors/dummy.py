"""Made-up records, for first steps and for tests: the same each time, as many and as slow as asked."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from headrace.connectors import Cursor, ReadRequest, Source, Stream, SyncMode, Unreadable
from headrace.connectors.kit.http.authentication import Authentication

_FIRST_CHANGE = datetime(2024, 1, 1, tzinfo=UTC)
_PAGE = 100
_NAMES = {
    "creatures": (
        ("Basilisk", "reptile", 12.5),
        ("Griffin", "bird", 180.0),
        ("Kraken", "mollusc", 9000.0),
        ("Phoenix", "bird", 7.25),
        ("Selkie", "mammal", 61.0),
    ),
    "plants": (
        ("Bramble", "shrub", 1.5),
        ("Cedar", "tree", 40.0),
        ("Fern", "fern", 0.8),
        ("Mandrake", "herb", 0.3),
        ("Moss", "moss", 0.05),
    ),
}


class DummySource(Source):
    """Creatures and plants that do not exist."""

    name: ClassVar[str] = "dummy"
    title: ClassVar[str] = "Dummy"
    summary: ClassVar[str] = "Made-up records, to try a pipeline out."

    authentication: Authentication | None = Field(None, description="Accepted and not used.")
    records: int = Field(5, ge=0, description="How many records each stream has.")
    sleep: float = Field(
        0.0, ge=0, le=60, description=f"Seconds to wait before each page of {_PAGE} records."
    )
    fail_after: int | None = Field(None, ge=0, description="Fail once this many records were read.")

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """Two streams of the same shape."""
        return tuple(
            Stream(
                name=name,
                sync_modes=(SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL),
                primary_key=("id",),
                cursor_field="updated_at",
            )
            for name in _NAMES
        )

    def read(self, request: ReadRequest) -> Iterator[list[dict[str, Any]]]:
        """Yield pages of records; record `n` was last changed `n` seconds after the first."""
        after = _moment(request.cursor) if request.cursor else _FIRST_CHANGE
        # The first record's change is a second after _FIRST_CHANGE, so that "after" leaves none out.
        first = int((after - _FIRST_CHANGE).total_seconds())
        for start in range(first, self.records, _PAGE):
            time.sleep(self.sleep)
            numbers = range(start, min(start + _PAGE, self.records))
            if self.fail_after is not None and numbers.stop > self.fail_after:
                raise Unreadable(f"The source was asked to fail after {self.fail_after} records.")
            yield [_record(request.stream, number) for number in numbers]


def _moment(cursor: Cursor) -> datetime:
    """Return the time that a client may have set as anything."""
    try:
        return datetime.fromisoformat(str(cursor)).astimezone(UTC)
    except ValueError:
        raise Unreadable("The cursor is not an ISO 8601 time.") from None


def _record(stream: str, number: int) -> dict[str, Any]:
    names = _NAMES[stream]
    name, family, size = names[number % len(names)]
    return {
        "id": number + 1,
        "name": name,
        "family": family,
        "size": size,
        "is_rare": number % 3 == 0,
        "updated_at": _FIRST_CHANGE + timedelta(seconds=number + 1),
    }
