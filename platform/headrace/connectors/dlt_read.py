"""Reading what dlt's resources yield. Imports dlt, which takes 1.4 s: only what connects imports it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dlt
from dlt.extract.reference import SourceFactory
from dlt.extract.resource import DltResource

from headrace.connectors.base import ConnectorError, ReadRequest, Stream, SyncMode, Unreadable
from headrace.connectors.dlt import arguments
from headrace.connectors.gathering import gathered

if TYPE_CHECKING:
    from headrace.connectors.dlt import DltSource


class DltSourceUnusable(ConnectorError):
    """There is no such dlt source, or it does not take what is configured."""

    code = "dlt.source_unusable"
    title = "dlt source cannot be used"
    hint = "Name what is decorated with @dlt.source or @dlt.resource, and give what it takes in `params`."


class DltSourceFailed(ConnectorError):
    """The source raised an error; its text may hold a secret and is withheld."""

    code = "dlt.source_failed"
    title = "dlt source failed"
    hint = "Try the source with dlt itself to see the whole error."


def streams(source: "DltSource") -> list[Stream]:
    """Return the resources that the source selects, as streams."""
    return [_stream(name, resource) for name, resource in _resources(source).items()]


def read(source: "DltSource", request: ReadRequest) -> Iterator[Any]:
    """Yield the resource's records in lists, and its Arrow tables in batches."""
    resource = _resources(source).get(request.stream)
    if resource is None:
        raise Unreadable(f"{source.source} has no resource {request.stream!r}.")
    if request.sync_mode is SyncMode.INCREMENTAL and request.cursor_field:
        start = _cursor(resource, request.cursor_field, request.cursor)
        # Open at its start, as dlt's own state, which knows what came at the cursor itself, is not kept.
        window = dlt.sources.incremental(request.cursor_field, initial_value=start, range_start="open")
        resource.apply_hints(incremental=window)
    try:
        yield from gathered(resource)
    except Exception as error:
        raise DltSourceFailed(f"{request.stream} stopped with {_innermost(error)}.") from None


def _resources(source: "DltSource") -> Mapping[str, DltResource]:
    factory = _factory(source.source)
    try:
        made = factory(**arguments(source.params, source.secrets))
    except ConnectorError:
        raise
    except Exception as error:
        # dlt's texts quote what it was given.
        raise DltSourceUnusable(f"{source.source} refused its arguments: {_innermost(error)}.") from None
    if isinstance(made, DltResource):
        return {made.name: made}
    resources: Mapping[str, DltResource] = made.resources.selected
    return resources


def _factory(reference: str) -> Any:
    """Only what is made for dlt is called, and not just any function that a configuration names."""
    module_name, _, name = reference.partition(":")
    try:
        found = getattr(import_module(module_name), name, None)
    except ImportError as error:
        raise DltSourceUnusable(f"{module_name} cannot be imported: no {error.name}.") from None
    if not isinstance(found, SourceFactory | DltResource):
        raise DltSourceUnusable(f"{reference} is no source or resource of dlt's.")
    return found


def _stream(name: str, resource: DltResource) -> Stream:
    columns = resource.compute_table_schema().get("columns", {})
    incremental = getattr(resource.incremental, "_incremental", resource.incremental)
    return Stream(
        name=name,
        sync_modes=(SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL),
        primary_key=tuple(column for column, hints in columns.items() if hints.get("primary_key")),
        cursor_field=getattr(incremental, "cursor_path", None),
    )


def _cursor(resource: DltResource, field: str, cursor: Any) -> Any:
    """The stored cursor as the resource compares it: a time where its column or first value is one."""
    known = resource.compute_table_schema().get("columns", {}).get(field, {}).get("data_type")
    first = getattr(
        getattr(resource.incremental, "_incremental", resource.incremental), "initial_value", None
    )
    is_time = known == "timestamp" or isinstance(first, datetime)
    return datetime.fromisoformat(cursor) if is_time and isinstance(cursor, str) else cursor


def _innermost(error: BaseException) -> str:
    """The kind of the error that dlt's own was raised for."""
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__
