"""Stored pipelines as live Dagster jobs and schedules."""
