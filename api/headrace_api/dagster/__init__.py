"""The API's only way to Dagster: GraphQL over HTTP.

Start at `client.DagsterClient`. The other modules hold what it returns (`runs`, `health`, `log`) and how it
asks (`graphql`, with the queries in `queries/`).
"""
