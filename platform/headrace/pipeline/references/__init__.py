"""Resolvers of references to secrets. Packages add their own by subclassing `Provider`."""

from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved

__all__ = ["Provider", "ReferenceUnresolved"]
