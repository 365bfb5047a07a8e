"""Notion's workspaces."""
