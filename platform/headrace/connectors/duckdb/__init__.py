"""DuckDB as a source and a destination."""
