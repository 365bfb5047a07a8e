"""A pipeline's data as an entry of Dagster's catalog. Its plots come from what the runs report.

Only the webserver has the entries. As assets of the code location, 5,000 pipelines would take minutes to
load.
"""

import re

from headrace.naming import LOCATION, asset_key, job_name
from headrace.records import JobCard
from headrace_dagster.pipelines import describe, kinds_of, owners_of
from headrace_dagster.private import catalog

_NOT_GROUP = re.compile(r"\W+")
_NO_DOMAIN = "default"


def catalog_entry(card: JobCard, *, api_address: str) -> catalog.Entry:
    """Return the entry, grouped by domain, with the connectors as kinds and the owners."""
    job = f"[Job and runs](/locations/{LOCATION}/jobs/{job_name(card.pipeline_id)})"
    return catalog.external_asset(
        asset_key(card.pipeline_id, card.source, card.stream),
        description=f"{describe(card, api_address)} · {job}",
        group=_group(card.domain_name),
        owners=owners_of(card),
        tags=kinds_of(card),
    )


def _group(domain: str | None) -> str:
    return _NOT_GROUP.sub("_", domain or "").strip("_").lower() or _NO_DOMAIN
