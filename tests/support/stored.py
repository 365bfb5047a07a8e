"""Rows that tests of the stores start from."""

from typing import Any, cast
from uuid import UUID, uuid4

from headrace.records import Pipeline
from headrace.store.database import Database
from headrace.store.lifecycle.queue import Limits
from headrace.store.pipelines import PipelineColumns, PipelineStore
from headrace.store.sealed import SealedConfig

LIMITS = Limits(total=1000)


def columns(**changes: Any) -> PipelineColumns:
    """Return the columns of a plausible pipeline, but for the changes."""
    plain = {
        "name": "Orders",
        "source": "postgres",
        "stream": "public.orders",
        "destination": "duckdb",
        "sync_mode": "full_refresh",
        "schedule": None,
        "timezone": "UTC",
        "enabled": True,
        "domain_id": None,
        "tags": (),
        "config": SealedConfig(sealed=b"sealed", key_id="0" * 16, revision=1),
    }
    return cast("PipelineColumns", plain | changes)


def store_pipeline(database: Database, organization_id: UUID, **changes: Any) -> Pipeline:
    """Store a pipeline and return it."""
    return PipelineStore(database, organization_id).create(uuid4(), columns(**changes))
