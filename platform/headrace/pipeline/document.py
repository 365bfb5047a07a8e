"""A pipeline's configuration: which stream goes from which source to which destination.

Checking a configuration connects to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Connector, Destination, SchemaContract, Section, Source, SyncMode, registry
from headrace.connectors.contract.order import CursorType
from headrace.connectors.contract.references import refers
from headrace.connectors.contract.secrets import leaves, secrets
from headrace.pipeline.faults import Faults, InvalidConfig
from headrace.pipeline.transforms import Transform

UNUSED = ("engine", "alerting", "monitoring", "secrets")
"""Keys of other tools, which are accepted and ignored."""


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A valid configuration with its connectors, which have not connected yet."""

    name: str
    source: Source
    source_name: str
    stream: str
    sync_mode: SyncMode
    cursor_field: str | None  # None: the stream's own, if it has one
    cursor_type: CursorType | None = None  # the order of its values; None: found in them
    lookback: float | None = None  # how far below the cursor to read again, in seconds or in units of numbers
    max_iterations: int | None
    destination: Destination
    destination_name: str
    transforms: tuple[Transform, ...] = ()
    schema_contract: SchemaContract = "evolve"
    shared: bool = False  # other pipelines may fill the destination's table, too
    adopt: bool = False  # the destination's table may be one that Headrace did not make
    unused: tuple[str, ...] = ()  # keys of other tools, which are ignored
    resolved: tuple[str, ...] = ()  # the values of references, which are masked like secrets


class SourceKeys(BaseModel):
    """The keys of `source` that do not belong to its connector."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    stream: str = Field(min_length=1, max_length=200)
    sync_mode: SyncMode = SyncMode.FULL_REFRESH
    cursor_field: str | None = Field(None, min_length=1, max_length=200)
    cursor_type: CursorType | None = None
    lookback: float | None = Field(None, ge=0, le=1e12, allow_inf_nan=False)
    max_iterations: int | None = Field(None, ge=1)

    @field_validator("sync_mode", mode="before")
    @classmethod
    def _refuse_endless_runs(cls, value: object) -> object:
        if value == "stream":
            raise PydanticCustomError(
                "stream_mode_unsupported",
                "A run has an end, so the mode 'stream' is not offered: "
                "use 'incremental' with a schedule as frequent as every minute.",
            )
        return value


class _DestinationKeys(Section):
    """The keys of `destination`."""

    takes_references: ClassVar[bool] = False

    name: str = Field(min_length=1)
    config: dict[str, Any] = Field({})
    shared: bool = Field(False, description="Other pipelines may fill the table, too.")
    adopt: bool = Field(False, description="Take over a table that Headrace did not make, or another's.")


class _Document(Section):
    """The top level. `source` and `destination` are checked separately, so no fault hides another."""

    takes_references: ClassVar[bool] = False

    name: str = Field(min_length=1, max_length=200)
    source: dict[str, Any]
    destination: dict[str, Any]
    transforms: tuple[Transform, ...] = Field((), max_length=50)
    schema_contract: SchemaContract = "evolve"
    engine: Any = None
    alerting: Any = None
    monitoring: Any = None
    secrets: Any = None


def parse_config(raw: Mapping[str, Any]) -> PipelineConfig:
    """Check a configuration and create its connectors.

    Raises InvalidConfig with every fault that was found, each with a pointer relative to `raw`.
    """
    faults = Faults()
    document = faults.check(_Document, raw)
    source_keys, source = read_source(raw, faults)
    destination_keys, destination = read_destination(raw, faults)
    if document and destination and document.schema_contract not in destination.schema_contracts:
        detail = f"{destination.title} keeps no table, so it has no schema to freeze."
        faults.add(("schema_contract",), "schema_contract.unsupported", detail)
    if destination_keys and source_keys and destination_keys.shared:
        _check_shared(source_keys, faults)
    if source_keys and source:
        _check_sync(source_keys, source, destination, faults)
    if faults.errors or not (document and source_keys and source and destination_keys and destination):
        raise InvalidConfig(faults.errors)
    return PipelineConfig(
        name=document.name,
        source=source,
        source_name=source_keys.name,
        stream=source_keys.stream,
        sync_mode=source_keys.sync_mode,
        cursor_field=source_keys.cursor_field,
        cursor_type=source_keys.cursor_type,
        lookback=source_keys.lookback,
        max_iterations=source_keys.max_iterations,
        destination=destination,
        destination_name=destination_keys.name,
        transforms=document.transforms,
        schema_contract=document.schema_contract,
        shared=destination_keys.shared,
        adopt=destination_keys.adopt,
        unused=tuple(key for key in UNUSED if raw.get(key)),
    )


def parse_connector(kind: registry.Kind, name: str, raw: Mapping[str, Any]) -> Connector:
    """Create one connector from its own keys, to try it out. References are not allowed.

    Raises UnknownConnector, and InvalidConfig with pointers relative to `raw`.
    """
    connector: type[Connector] = registry.source(name) if kind == "source" else registry.destination(name)
    faults = Faults()
    made = faults.check(connector, raw)
    hidden = dict(secrets(made, raw)) if made else {}
    for path, text in leaves(raw):
        if refers(text, is_secret=path in hidden):
            detail = "References are only resolved in runs. Give the value itself."
            faults.add(path, "config.reference_not_resolved", detail)
    if made is None or faults.errors:
        raise InvalidConfig(faults.errors)
    return made


def read_source(raw: Mapping[str, Any], faults: Faults) -> tuple[SourceKeys | None, Source | None]:
    section = raw.get("source")
    if not isinstance(section, Mapping):
        return None, None  # noted by the model of the document
    keys = faults.check(SourceKeys, section, ("source",))
    connector = faults.find(registry.source, section.get("name"), ("source", "name"))
    return keys, faults.check(connector, own_keys(section), ("source",)) if connector else None


def read_destination(
    raw: Mapping[str, Any], faults: Faults
) -> tuple[_DestinationKeys | None, Destination | None]:
    section = raw.get("destination")
    if not isinstance(section, Mapping):
        return None, None  # noted by the model of the document
    keys = faults.check(_DestinationKeys, section, ("destination",))
    connector = faults.find(registry.destination, section.get("name"), ("destination", "name"))
    if not (keys and connector):
        return keys, None
    return keys, faults.check(connector, keys.config, ("destination", "config"))


def own_keys(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in SourceKeys.model_fields}


def _check_shared(keys: SourceKeys, faults: Faults) -> None:
    """Note a full refresh of a shared table: it would delete what other pipelines have loaded."""
    if keys.sync_mode is SyncMode.FULL_REFRESH:
        detail = "A full refresh replaces the whole table: only incremental pipelines can share one."
        faults.add(("destination", "shared"), "destination.shared_replaces", detail)


def _check_sync(keys: SourceKeys, source: Source, destination: Destination | None, faults: Faults) -> None:
    """Note an unknown stream, and a sync mode that the stream or the destination does not support."""
    stream = source.declared(keys.stream)
    if stream is None:
        names = ", ".join(known.name for known in source.known_streams())
        detail = f"{source.title} has no such stream" + (f"; it has {names}." if names else ".")
        return faults.add(("source", "stream"), "stream.unknown", detail)
    if keys.sync_mode not in stream.sync_modes:
        detail = f"The stream supports {', '.join(stream.sync_modes)}."
        return faults.add(("source", "sync_mode"), "sync_mode.unsupported", detail)
    if keys.sync_mode is SyncMode.FULL_REFRESH:
        return None
    fixed = stream.cursor_field
    for key in ("cursor_type", "lookback"):
        if stream.checkpointed and getattr(keys, key) is not None:
            faults.add(("source", key), f"{key}.unsupported", "The source keeps its own position.")
    if stream.checkpointed and keys.cursor_field is not None:
        faults.add(("source", "cursor_field"), "cursor_field.fixed", "The source keeps its own position.")
    elif fixed is None and keys.cursor_field is None and not stream.checkpointed:
        faults.add(("source", "cursor_field"), "cursor_field.missing", "Name the field to sync by.")
    if fixed is not None and keys.cursor_field not in (None, fixed):
        faults.add(("source", "cursor_field"), "cursor_field.fixed", f"The stream syncs by {fixed!r}.")
    if destination and not {"append", "merge"} & set(destination.dispositions):
        detail = f"{destination.title} takes whole streams only: use 'full_refresh'."
        faults.add(("source", "sync_mode"), "sync_mode.unsupported", detail)
    return None
