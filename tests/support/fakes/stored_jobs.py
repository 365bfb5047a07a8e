"""Stored pipelines in memory, as the Dagster code location reads them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from headrace.records import JobCard


def a_card(**changes: Any) -> JobCard:
    """Return the card of an enabled pipeline that runs hourly, but for `changes`."""
    card = JobCard(
        pipeline_id=uuid4(),
        name="Orders to the warehouse",
        source="postgres",
        stream="public.orders",
        destination="duckdb",
        sync_mode="full_refresh",
        schedule="0 * * * *",
        timezone="UTC",
        enabled=True,
        domain_name="Marketing",
        tags=("daily",),
        revision=1,
        updated_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return replace(card, **changes)


class FakeJobs:
    """What `headrace.service.jobs.Jobs` is, without a database."""

    def __init__(self, *cards: JobCard) -> None:
        self.cards = {card.pipeline_id: card for card in cards}
        self.sequence = len(cards)
        self._changed = {card.pipeline_id: at for at, card in enumerate(cards, 1)}
        self.taken: list[tuple[UUID, datetime]] = []
        self.answer = "Some run has this slot."

    def put(self, card: JobCard) -> None:
        """Create or change a pipeline."""
        self.cards[card.pipeline_id] = card
        self._count(card.pipeline_id)

    def remove(self, pipeline_id: UUID) -> None:
        """Delete a pipeline."""
        del self.cards[pipeline_id]
        self._count(pipeline_id)

    def stamp(self) -> tuple[int]:
        return (self.sequence,)

    def changed_after(self, sequence: int) -> tuple[int, list[JobCard], list[UUID]]:
        changed = [pipeline_id for pipeline_id, at in self._changed.items() if at > sequence]
        kept = [self.cards[pipeline_id] for pipeline_id in changed if pipeline_id in self.cards]
        return self.sequence, kept, [gone for gone in changed if gone not in self.cards]

    def get(self, pipeline_id: UUID) -> JobCard | None:
        return self.cards.get(pipeline_id)

    def take_slot(self, pipeline_id: UUID, slot: datetime) -> str:
        self.taken.append((pipeline_id, slot))
        return self.answer

    def _count(self, pipeline_id: UUID) -> None:
        self.sequence += 1
        self._changed[pipeline_id] = self.sequence
