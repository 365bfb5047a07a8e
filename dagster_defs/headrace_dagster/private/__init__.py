"""Everything that Headrace uses of Dagster beyond its public API. docs/dagster-internals.md lists it.

No other module may import `dagster._*`, `dagster_shared`, `dagster_graphql` or `dagster_webserver`.
tests/contract/test_dagster_internals.py says what a new version of Dagster has moved.
"""
