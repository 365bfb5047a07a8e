"""The configurations of dlt's sources and destinations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from headrace.connectors import ConnectorError, Section
from headrace.connectors.kit.network.limits import NetworkLimits

_PARAMS = "Its arguments, by name."
_SECRETS = "Further arguments, kept secret. A dot leads into `params`: `credentials.password`."


class DltSourceConfig(Section):
    """A source or resource of dlt's, and its arguments."""

    address_fields: ClassVar[tuple[str, ...]] = ("source", "params")

    source: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        max_length=300,
        description="`module:name` of what is decorated with @dlt.source or @dlt.resource, such as "
        "`dlt.sources.sql_database:sql_database`.",
    )
    params: dict[str, Any] = Field({}, description=_PARAMS)
    secrets: dict[str, SecretStr] = Field({}, description=_SECRETS)
    limits: NetworkLimits = NetworkLimits()


class DltDestinationConfig(Section):
    """A destination of dlt's, and its arguments."""

    address_fields: ClassVar[tuple[str, ...]] = ("destination", "params")

    destination: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="Its name in dlt, such as `snowflake`."
    )
    params: dict[str, Any] = Field({}, description=_PARAMS)
    secrets: dict[str, SecretStr] = Field({}, description=_SECRETS)
    limits: NetworkLimits = NetworkLimits()
    dataset_name: str = Field("headrace", min_length=1, description="Schema or dataset of the tables.")
    table: str | None = Field(None, min_length=1, description="The table; the stream's name when absent.")


def arguments(params: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> dict[str, Any]:
    """Return the arguments of both, each secret at the place that its dotted name leads to."""
    merged = _copied(params)
    for path, secret in secrets.items():
        *parents, name = path.split(".")
        place = merged
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConnectorError(f"`params` has no section {parent!r} for a secret.")
            place = inner
        place[name] = secret.get_secret_value()
    return merged


def _copied(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in section.items()}
