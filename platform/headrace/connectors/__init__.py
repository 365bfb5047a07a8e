"""The public API for people who write connectors: what a source and a destination are.

A connector is a class whose fields are its configuration; `headrace.connectors.kit` has what connectors of
the same kind share. docs/adding-a-connector.md shows how to write one.
Modules of connectors import their drivers and pyarrow inside the methods that connect: the REST service
validates configurations with these classes and never moves a row.
"""

from headrace.connectors.contract.destination import (
    Destination,
    Loaded,
    LoadRequest,
    LoadResult,
    Output,
    SchemaChange,
    SchemaContract,
    WriteDisposition,
)
from headrace.connectors.contract.errors import (
    ConnectorError,
    CutShort,
    MovedOn,
    OutOfSpace,
    Rejected,
    SchemaConflict,
    SchemaFrozen,
    TableOwned,
    Unauthorized,
    Unreachable,
    Unreadable,
    Untrusted,
)
from headrace.connectors.contract.section import Connector, Section, json_schema, plain_values
from headrace.connectors.contract.source import Checkpoint, ReadRequest, Source
from headrace.connectors.contract.streams import Cursor, Stream, SyncMode, cursor_text
from headrace.connectors.contract.warnings import RunWarning

__all__ = [
    "Checkpoint",
    "Connector",
    "ConnectorError",
    "Cursor",
    "CutShort",
    "Destination",
    "LoadRequest",
    "LoadResult",
    "Loaded",
    "MovedOn",
    "OutOfSpace",
    "Output",
    "ReadRequest",
    "Rejected",
    "RunWarning",
    "SchemaChange",
    "SchemaConflict",
    "SchemaContract",
    "SchemaFrozen",
    "Section",
    "Source",
    "Stream",
    "SyncMode",
    "TableOwned",
    "Unauthorized",
    "Unreachable",
    "Unreadable",
    "Untrusted",
    "WriteDisposition",
    "cursor_text",
    "json_schema",
    "plain_values",
]
