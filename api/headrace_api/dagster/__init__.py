"""The only way to Dagster: GraphQL. `client` is the door; nothing else here is called from outside."""
