"""The endpoints, one module a noun, each with a `routes` that the application serves."""
