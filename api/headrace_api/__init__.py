"""Headrace over REST: the Pipelines API as a Starlette application."""
