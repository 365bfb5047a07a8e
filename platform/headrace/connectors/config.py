"""A pipeline's configuration: which stream goes from which source to which destination.

Checking connects to nothing. Each fault is reported at its own JSON pointer, never with the value, which may
be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from headrace.connectors import references, registry
from headrace.connectors.base import Connector, Destination, SchemaContract, Section, Source, SyncMode
from headrace.connectors.secrets import Path, addresses, leaves, secrets, secrets_within, with_values
from headrace.connectors.transforms import Transform
from headrace.errors import FieldError, Invalid

if TYPE_CHECKING:
    from headrace.settings import Settings

MASK = "**********"
_UNUSED = ("engine", "alerting", "monitoring", "secrets")
M = TypeVar("M", bound=BaseModel)
K = TypeVar("K", bound=Connector)


class InvalidConfig(Invalid):
    """The configuration cannot be run as it stands; `errors` says where and why."""

    code = "pipeline.invalid_config"
    title = "Invalid pipeline configuration"

    def __init__(self, errors: list[FieldError]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        first = f"{errors[0].pointer or '/'}: {errors[0].detail}"
        super().__init__(f"The configuration has {count}. {first}", errors=errors)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A configuration that was found valid: its connectors are made, and connected to nothing yet."""

    name: str
    source: Source
    source_name: str
    stream: str
    sync_mode: SyncMode
    cursor_field: str | None  # None: the stream's own, or none
    max_iterations: int | None
    destination: Destination
    destination_name: str
    transforms: tuple[Transform, ...] = ()
    schema_contract: SchemaContract = "evolve"
    unused: tuple[str, ...] = ()  # keys that other tools read, and that mean nothing here
    resolved: tuple[str, ...] = ()  # what references stand for: masked as secrets are


class _SourceKeys(BaseModel):
    """The keys of `source` that are not its connector's own."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    stream: str = Field(min_length=1, max_length=200)
    sync_mode: SyncMode = SyncMode.FULL_REFRESH
    cursor_field: str | None = Field(None, min_length=1, max_length=200)
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


class _Document(Section):
    """The top level. What lies in `source` and `destination` is checked apart: no fault hides another."""

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


class _Faults:
    """Collects the faults of one document."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def add(self, path: Path, code: str, detail: str) -> None:
        self.errors.append(FieldError(pointer=_pointer(path), code=code, detail=detail))

    def check(self, model: type[M], raw: Any, path: Path = ()) -> M | None:
        """Return the model made from `raw`; None after noting what is wrong with it."""
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for fault in error.errors(include_input=False, include_url=False):
                self.add((*path, *_document_path(raw, fault)), f"config.{fault['type']}", _detail(fault))
            return None

    def find(self, registered: Callable[[str], type[K]], name: Any, path: Path) -> type[K] | None:
        """Return the connector's class; None after noting that there is none."""
        if not isinstance(name, str) or not name:
            return None  # noted by the model of the section
        try:
            return registered(name)
        except Invalid as error:
            self.add(path, error.code, error.detail)
            return None


def parse_config(raw: Mapping[str, Any]) -> PipelineConfig:
    """Check a configuration and make its connectors.

    Raises InvalidConfig with every fault that was found, each with a pointer relative to `raw`.
    """
    faults = _Faults()
    document = faults.check(_Document, raw)
    source_keys, source = _read_source(raw, faults)
    destination_keys, destination = _read_destination(raw, faults)
    if document and destination and document.schema_contract not in destination.schema_contracts:
        detail = f"{destination.title} keeps no table whose schema could be held to."
        faults.add(("schema_contract",), "schema_contract.unsupported", detail)
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
        max_iterations=source_keys.max_iterations,
        destination=destination,
        destination_name=destination_keys.name,
        transforms=document.transforms,
        schema_contract=document.schema_contract,
        unused=tuple(key for key in _UNUSED if raw.get(key)),
    )


def resolve_config(raw: Mapping[str, Any], settings: Settings) -> PipelineConfig:
    """Make the connectors of a stored configuration with its references resolved: in a run's worker only.

    Raises InvalidConfig, and ReferenceUnresolved, which names the reference.
    """
    resolver, secret = references.Resolver(settings), _stored_secrets(raw)
    values = {
        path: resolver.resolve(text, is_secret=path in secret)
        for path, text in leaves(raw)
        if _may_refer(path)
    }
    try:
        config = parse_config(with_values(raw, values))
    except InvalidConfig as error:
        raise InvalidConfig([_without(resolver.values, fault) for fault in error.errors]) from None
    return replace(config, resolved=resolver.values)


def parse_connector(kind: registry.Kind, name: str, raw: Mapping[str, Any]) -> Connector:
    """Make one connector of its own keys alone, to try it out: none of them may be a reference.

    Raises UnknownConnector, and InvalidConfig with pointers relative to `raw`.
    """
    connector: type[Connector] = registry.source(name) if kind == "source" else registry.destination(name)
    faults = _Faults()
    made = faults.check(connector, raw)
    hidden = dict(secrets(made, raw)) if made else {}
    for path, text in leaves(raw):
        if references.refers(text, is_secret=path in hidden):
            detail = "References are resolved in runs only: give the value itself to try it out."
            faults.add(path, "config.reference_not_resolved", detail)
    if made is None or faults.errors:
        raise InvalidConfig(faults.errors)
    return made


def mask_secrets(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a configuration with a mask in the place of every secret; a reference to one is none itself.

    What cannot be understood (a connector that is gone, a section that other tools read) is masked whole.
    """
    hidden = [path for path, text in _stored_secrets(raw).items() if not references.is_reference(text)]
    return dict(with_values(raw, dict.fromkeys(hidden, MASK)))


def restore_secrets(submitted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Put the stored secrets where a submitted configuration has the mask.

    Raises InvalidConfig where nothing is stored for a mask, where the connector or a field that decides where
    the secret is sent has changed, and where the outcome is not a valid configuration.
    """
    known = _stored_secrets(stored)
    masked = [path for path, text in leaves(submitted) if text == MASK]
    restored = dict(with_values(submitted, {path: known[path] for path in masked if path in known}))
    faults = _Faults()
    for path in masked:
        if path not in known:
            faults.add(path, "config.nothing_stored", "There is no stored secret for this mask.")
    if masked and not faults.errors:
        _check_addresses(masked, restored, stored, faults)
    if faults.errors:
        raise InvalidConfig(faults.errors)
    return restored


def secret_values(config: PipelineConfig) -> tuple[str, ...]:
    """Return the secrets that a run of the pipeline holds, to be masked wherever it writes text."""
    holders = (config.source, config.destination, config.transforms)
    held = [secret for holder in holders for secret in secrets_within(holder)]
    return tuple(dict.fromkeys((*held, *config.resolved)))


def _read_source(raw: Mapping[str, Any], faults: _Faults) -> tuple[_SourceKeys | None, Source | None]:
    section = raw.get("source")
    if not isinstance(section, Mapping):
        return None, None  # noted by the model of the document
    keys = faults.check(_SourceKeys, section, ("source",))
    connector = faults.find(registry.source, section.get("name"), ("source", "name"))
    return keys, faults.check(connector, _own_keys(section), ("source",)) if connector else None


def _read_destination(
    raw: Mapping[str, Any], faults: _Faults
) -> tuple[_DestinationKeys | None, Destination | None]:
    section = raw.get("destination")
    if not isinstance(section, Mapping):
        return None, None  # noted by the model of the document
    keys = faults.check(_DestinationKeys, section, ("destination",))
    connector = faults.find(registry.destination, section.get("name"), ("destination", "name"))
    if not (keys and connector):
        return keys, None
    return keys, faults.check(connector, keys.config, ("destination", "config"))


def _own_keys(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in _SourceKeys.model_fields}


def _check_sync(keys: _SourceKeys, source: Source, destination: Destination | None, faults: _Faults) -> None:
    """Note a stream that the source lacks, and a sync mode that the stream or the destination lacks."""
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


def _models(raw: Mapping[str, Any]) -> dict[Path, Section | None]:
    """The parts of a document by the path of their own keys; None where they cannot be made."""
    faults = _Faults()
    _, source = _read_source(raw, faults)
    _, destination = _read_destination(raw, faults)
    found: dict[Path, Section | None] = {("source",): source, ("destination", "config"): destination}
    transforms = raw.get("transforms")
    for index, transform in enumerate(transforms if isinstance(transforms, list) else ()):
        found["transforms", index] = faults.check(Transform, transform)
    return found


def _stored_secrets(raw: Mapping[str, Any]) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for path, model in _models(raw).items():
        section = raw.get(str(path[0]))
        if path[0] == "transforms":
            step = raw["transforms"][path[1]]
            found |= dict(secrets(model, step, path) if model else leaves(step, path))
        elif model is None:
            found |= {where: text for where, text in leaves(section, path[:1]) if not _is_plain(where)}
        elif isinstance(section, Mapping):
            own = section.get("config", {}) if "config" in path else _own_keys(section)
            found |= dict(secrets(model, own, path))
    for key in _UNUSED:
        found |= dict(leaves(raw.get(key), (key,)))
    return found


def _is_plain(path: Path) -> bool:
    """Whether a value of a section that is not understood can hold no secret."""
    return len(path) == 2 and path[1] in _SourceKeys.model_fields


def _may_refer(path: Path) -> bool:
    """Whether a reference may stand at a place: not in a name, nor in code."""
    if path[0] == "source":
        return len(path) > 1 and path[1] not in _SourceKeys.model_fields
    return path[:2] == ("destination", "config") or path[2:] == ("columns", "hash", "salt")


def _without(values: tuple[str, ...], fault: FieldError) -> FieldError:
    detail = fault.detail
    for value in values:
        detail = detail.replace(value, MASK)
    return replace(fault, detail=detail)


def _check_addresses(
    masked: list[Path], restored: Mapping[str, Any], stored: Mapping[str, Any], faults: _Faults
) -> None:
    parse_config(restored)
    before, after = _models(stored), _models(restored)
    for section, model in after.items():
        old = before.get(section)
        kept = [path for path in masked if path[: len(section)] == section]
        if model is None or (type(old) is type(model) and addresses(old) == addresses(model)):
            continue
        for path in kept:
            detail = "Give the secret again: where it would be sent to has changed."
            faults.add(path, "config.address_changed", detail)


def _pointer(path: Path) -> str:
    """Write a path as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _document_path(raw: Any, fault: ErrorDetails) -> Path:
    """A fault's location in the document: pydantic also names the member of a union that it tried."""
    path: list[str | int] = []
    *parents, last = fault["loc"] or (None,)
    for step in parents:
        if _has(raw, step):
            path.append(step)
            raw = raw[step]
    if last is not None and (_has(raw, last) or fault["type"] == "missing"):
        path.append(last)
    if fault["type"] == "union_tag_invalid":
        path.append(fault["ctx"]["discriminator"].strip("'"))
    return tuple(path)


def _has(raw: Any, step: str | int) -> bool:
    if isinstance(raw, Mapping):
        return step in raw
    return isinstance(raw, list) and isinstance(step, int) and step < len(raw)


def _detail(fault: ErrorDetails) -> str:
    """Say what is wrong. Pydantic's own words, but where they quote the value."""
    if fault["type"] == "union_tag_invalid":
        return f"The type is not one of {fault['ctx']['expected_tags']}."
    if fault["type"] == "extra_forbidden":
        return "There is no such key."
    return fault["msg"]
