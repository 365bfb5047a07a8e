"""Loading a run's output by dlt. Imports dlt, which takes 1.4 s: only what connects imports it."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

# Set before dlt reads it: what a platform moves is nobody else's business.
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")

import dlt
import dlt.destinations
from dlt.common.destination import Destination as DltFactory
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.libs.pyarrow import get_column_type_from_py_arrow

from headrace.connectors import (
    ConnectorError,
    Loaded,
    LoadRequest,
    Rejected,
    SchemaConflict,
    cursor_text,
)
from headrace.connectors.dlt.config import arguments
from headrace.connectors.dlt.failures import bounded, of_the_network
from headrace.connectors.dlt.log import relayed
from headrace.connectors.kit.loading.load import Load

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.connectors.dlt.config import DltDestinationConfig

_STATE = "headrace"
_TAKEN_BY = {"bigint": ("double", "decimal", "wei"), "date": ("timestamp",)}
"""What types of dlt's keep the values of another; text keeps those of all."""


class DltDestinationFailed(Rejected):
    """dlt did not load the data; its error's text may hold a secret and is withheld."""

    code = "dlt.destination_failed"
    title = "dlt could not load"
    hint = "Try the destination with dlt itself to see the whole error."


def check(destination: "DltDestinationConfig") -> str:
    """Connect, and say so."""
    with _pipeline(destination, "check") as pipeline, pipeline.destination_client() as client:
        client.is_storage_initialized()
    return f"dlt reaches {destination.destination}."


@dataclass(kw_only=True)
class DltLoad(Load):
    """A load by dlt, whose own write modes do the work. Its state in the destination is the ledger."""

    destination: "DltDestinationConfig"
    pipeline: Any = field(init=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Bring dlt's state here. There is nothing to lock: dlt runs no transaction over all of a load."""
        with relayed(self.request.log), _pipeline(self.destination, self.request.pipeline_id) as pipeline:
            self.pipeline = pipeline
            pipeline.sync_destination()
            yield

    def last(self) -> Loaded | None:
        """Read dlt's state."""
        return _loaded(self.pipeline)

    def publish(self) -> None:
        """Write the files that dlt loads, and the note with them."""
        if self.request.disposition != "replace":
            _require_fitting(self.pipeline, self.table, self.request.output.schema)
        self.pipeline.extract(_rows(self.request, self.table))
        self.pipeline.normalize()

    def note(self) -> None:
        """Nothing is left to do: the state is among the files."""

    def keeps(self) -> bool:
        """Whether dlt's state is of this table. dlt does not say whether the table is still there."""
        found = _loaded(self.pipeline)
        return found is not None and found.table == self.table

    def note_alone(self) -> None:
        """Write the files of an empty table: the state comes with them."""
        self.publish()

    def commit(self) -> None:
        """Have dlt load table after table, and its state at last."""
        self.pipeline.load(raise_on_failed_jobs=True)

    def location(self) -> str:
        """Name the destination, the dataset and the table."""
        return f"{self.destination.destination}: {self.destination.dataset_name}.{self.table}"


def last_load(destination: "DltDestinationConfig", pipeline_id: str) -> Loaded | None:
    """Return what the state in the destination says of the pipeline."""
    with _pipeline(destination, pipeline_id) as pipeline:
        pipeline.sync_destination()
        return _loaded(pipeline)


def _require_fitting(pipeline: Any, table: str, schema: "pa.Schema") -> None:
    """Raise SchemaConflict for a column that dlt's table cannot take: dlt would convert it, with a loss."""
    for name in pipeline.schemas:
        naming = pipeline.schemas[name].naming
        tables = pipeline.schemas[name].tables
        columns = tables.get(naming.normalize_table_identifier(table), {}).get("columns", {})
        for column in schema:
            held = columns.get(naming.normalize_identifier(column.name), {}).get("data_type")
            given = get_column_type_from_py_arrow(column.type).get("data_type")
            if held and given and held not in (given, *_TAKEN_BY.get(given, ()), "text"):
                raise SchemaConflict(column.name, f"holds {held} in dlt's table, and the data has {given}.")


def _rows(request: LoadRequest, table: str) -> Any:
    def rows() -> "Iterator[pa.Table]":
        import pyarrow as pa

        dlt.current.source_state()[_STATE] = {
            "load_id": request.load_id,
            "cursor": cursor_text(request.cursor),
            "identity": request.identity,
            "table": table,
        }
        schema = pa.schema([field.with_type(_widest(field.type)) for field in request.output.schema])
        yield schema.empty_table()
        for batch in request.output.batches():
            yield pa.Table.from_batches([batch]).cast(schema)

    key = list(request.primary_key)
    return dlt.resource(rows, name=table, write_disposition=request.disposition, primary_key=key)


def _widest(kind: "pa.DataType") -> "pa.DataType":
    """The widest type of a number's kind: dlt makes no column wider that is there."""
    import pyarrow as pa

    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_floating(kind) else kind


def _loaded(pipeline: Any) -> Loaded | None:
    for state in pipeline.state.get("sources", {}).values():
        if _STATE in state:
            held = state[_STATE]
            return Loaded(
                load_id=held["load_id"],
                cursor=json.loads(held["cursor"]),
                identity=held.get("identity", ""),
                table=held.get("table"),
            )
    return None


@contextmanager
def _pipeline(destination: "DltDestinationConfig", pipeline_id: str) -> Iterator[Any]:
    """A pipeline of dlt's whose working folder goes with it: all that lasts is in the destination."""
    with (
        tempfile.TemporaryDirectory(prefix="headrace-dlt-") as folder,
        _errors(),
        bounded(destination.limits),
    ):
        yield dlt.pipeline(
            pipeline_name=f"headrace_{pipeline_id.replace('-', '')}",
            pipelines_dir=folder,
            destination=_factory(destination),
            dataset_name=destination.dataset_name,
        )


def _factory(destination: "DltDestinationConfig") -> Any:
    found = getattr(dlt.destinations, destination.destination, None)
    if not (isinstance(found, type) and issubclass(found, DltFactory)):
        raise DltDestinationFailed(f"dlt has no destination {destination.destination!r}.")
    given = arguments(destination.params, destination.secrets)
    factory = found(**given)
    if "insert-from-staging" in _replace_strategies(factory.capabilities()):
        given.setdefault("replace_strategy", "insert-from-staging")  # one statement, for readers
        factory = found(**given)
    return factory


def _replace_strategies(capabilities: DestinationCapabilitiesContext) -> Sequence[str]:
    """What the destination offers for a plain table: a folder of files, for one, replaces less well."""
    offered = capabilities.supported_replace_strategies or ()
    select = capabilities.replace_strategies_selector
    return select(offered, table_schema={}) if select and offered else offered


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ConnectorError:
        raise
    except Exception as error:
        if (fault := of_the_network(error, "dlt")) is not None:
            raise fault from None
        if not type(error).__module__.startswith(("dlt.", "builtins")):
            raise
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__  # type: ignore[assignment]
        raise DltDestinationFailed(f"dlt stopped with {type(cause).__name__}.") from None
