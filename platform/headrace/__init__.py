"""Headrace's core: pipelines, runs, connectors and the engine. It knows neither Dagster nor Starlette."""
