"""Reading what dlt's resources yield. Imports dlt, which takes 1.4 s: only what connects imports it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import dlt
from dlt.extract.incremental.exceptions import IncrementalCursorInvalidCoercion
from dlt.extract.reference import SourceFactory
from dlt.extract.resource import DltResource

from headrace.connectors import ConnectorError, ReadRequest, Stream, SyncMode, Unreadable
from headrace.connectors.dlt.config import arguments
from headrace.connectors.dlt.failures import bounded, causes, of_the_network
from headrace.connectors.dlt.log import relayed
from headrace.connectors.kit.arrow.batching import gathered

if TYPE_CHECKING:
    from headrace.connectors.dlt.config import DltSourceConfig


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


class _CursorOfAnotherKind(Exception):
    """The stored cursor was read as another kind of value than the resource's."""


def streams(source: "DltSourceConfig") -> list[Stream]:
    """Return the resources that the source selects, as streams."""
    with bounded(source.limits):
        return [_stream(name, resource) for name, resource in _resources(source).items()]


def read(source: "DltSourceConfig", request: ReadRequest) -> Iterator[Any]:
    """Yield the resource's records in lists, and its Arrow tables in batches."""
    with relayed(request.log), bounded(source.limits):
        resource = _resource(source, request.stream)
        if request.sync_mode is SyncMode.INCREMENTAL and request.cursor_field:
            yield from _after(source, request)
        else:
            yield from _items(resource)


def _after(source: "DltSourceConfig", request: ReadRequest) -> Iterator[Any]:
    """Yield what comes after the cursor, read as the kind of value that the resource's own ones are."""
    assert request.cursor_field is not None, "only such requests come here"
    for start in _readings(request.cursor):
        resource = _resource(source, request.stream)
        # dlt's own state, which knows what came at the cursor itself, is not kept: the engine knows it.
        bound: Literal["open", "closed"] = "closed" if request.inclusive else "open"
        window = dlt.sources.incremental(request.cursor_field, initial_value=start, range_start=bound)
        resource.apply_hints(incremental=window)
        try:
            return (yield from _items(resource))
        except _CursorOfAnotherKind:  # told at the first record, so nothing was yielded
            continue
    raise DltSourceFailed(
        f"The stored cursor cannot be compared with the values of {request.cursor_field!r}."
    )


def _items(resource: DltResource) -> Iterator[Any]:
    try:
        yield from gathered(resource)
    except Exception as error:
        found = list(causes(error))
        if any(isinstance(cause, IncrementalCursorInvalidCoercion) for cause in found):
            raise _CursorOfAnotherKind from None
        _raise_if_of_the_network(error, resource.name)
        raise DltSourceFailed(f"{resource.name} stopped with {type(found[-1]).__name__}.") from None


def _raise_if_of_the_network(error: Exception, name: str) -> None:
    if (fault := of_the_network(error, name)) is not None:
        raise fault from None


def _resource(source: "DltSourceConfig", stream: str) -> DltResource:
    resource = _resources(source).get(stream)
    if resource is None:
        raise Unreadable(f"{source.source} has no resource {stream!r}.")
    return resource


def _resources(source: "DltSourceConfig") -> Mapping[str, DltResource]:
    factory = _factory(source.source)
    try:
        made = factory(**arguments(source.params, source.secrets))
    except ConnectorError:
        raise
    except Exception as error:
        # dlt's texts quote what it was given.
        _raise_if_of_the_network(error, source.source)
        cause = list(causes(error))[-1]
        raise DltSourceUnusable(f"{source.source} refused its arguments: {type(cause).__name__}.") from None
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


def _readings(cursor: Any) -> Iterator[Any]:
    """What a stored cursor may stand for: itself, or what JSON has no form for and is stored as text."""
    yield cursor
    for kind in (datetime.fromisoformat, date.fromisoformat, Decimal) if isinstance(cursor, str) else ():
        with suppress(ValueError, InvalidOperation):
            yield kind(cursor)
