"""Facts about Arrow types that connectors and the engine share."""

DECIMAL_DIGITS = 38
"""Digits of Arrow's decimal128. DuckDB and BigQuery read no wider decimal exactly."""

TYPE_KEY = b"headrace:postgres_type"
"""Metadata of an Arrow field: the column's type in PostgreSQL, where the Arrow type does not tell it."""
