"""A pipeline's data as an entry of Dagster's catalog, whose plots come from what its runs report.

The entry is the hosts' own: as assets of the code location, 5,000 pipelines would take minutes to load. It is
external to Dagster, which therefore offers no second way to start the pipeline.
"""

import re

from dagster import AssetKey
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.remote_representation.external_data import AssetNodeSnap

from headrace.naming import LOCATION, asset_key, job_name
from headrace.records import JobCard
from headrace_dagster.pipelines import describe, kinds_of, owners_of

_NOT_GROUP = re.compile(r"\W+")
_NO_DOMAIN = "default"


def catalog_entry(card: JobCard, *, api_address: str) -> AssetNodeSnap:
    """Return the entry: grouped by domain, with the connectors as kinds and the owners."""
    job = f"[Job and runs](/locations/{LOCATION}/jobs/{job_name(card.pipeline_id)})"
    return AssetNodeSnap(
        asset_key=AssetKey(asset_key(card.pipeline_id, card.source, card.stream)),
        parent_edges=[],
        execution_type=AssetExecutionType.UNEXECUTABLE,
        description=f"{describe(card, api_address)} · {job}",
        group_name=_group(card.domain_name),
        owners=owners_of(card),
        tags=kinds_of(card),
        metadata={},
    )


def _group(domain: str | None) -> str:
    return _NOT_GROUP.sub("_", domain or "").strip("_").lower() or _NO_DOMAIN
