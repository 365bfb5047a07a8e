"""The kit's public part, for people who write connectors: HTTP, SQL names and loads, batches, JSON.

Importing this module imports urllib3 and pyarrow, also for what only describes a configuration.
"""

from headrace.connectors.kit.arrow.batching import gathered
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.connectors.kit.arrow.rendering import json_lines
from headrace.connectors.kit.http.authentication import Authentication
from headrace.connectors.kit.http.authorization import authenticated_client
from headrace.connectors.kit.http.client import Authorization, HttpClient
from headrace.connectors.kit.http.messages import Request, Response
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.kit.sql.batches import first_batches, with_checkpoint
from headrace.connectors.kit.sql.loads import Busy, check_columns, check_key, table_name
from headrace.connectors.kit.sql.names import listed, literal, quoted

__all__ = [
    "Authentication",
    "Authorization",
    "Busy",
    "HttpClient",
    "JsonRecords",
    "Limits",
    "Request",
    "Response",
    "authenticated_client",
    "check_columns",
    "check_key",
    "first_batches",
    "gathered",
    "json_lines",
    "listed",
    "literal",
    "quoted",
    "table_name",
    "with_checkpoint",
]
