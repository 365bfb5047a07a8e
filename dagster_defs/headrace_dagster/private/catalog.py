"""An entry of Dagster's catalog that no code location defines."""

from collections.abc import Mapping, Sequence

from dagster import AssetKey
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.remote_representation.external_data import AssetNodeSnap

Entry = AssetNodeSnap


def external_asset(
    key: Sequence[str], *, description: str, group: str, owners: Sequence[str], tags: Mapping[str, str]
) -> Entry:
    """Return the entry of an asset that Dagster cannot materialize, so the UI offers no way to start it."""
    return AssetNodeSnap(
        asset_key=AssetKey(key),
        parent_edges=[],
        execution_type=AssetExecutionType.UNEXECUTABLE,
        description=description,
        group_name=group,
        owners=owners,
        tags=tags,
        metadata={},
    )
