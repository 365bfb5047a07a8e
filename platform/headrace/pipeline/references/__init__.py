"""References to secrets: who resolves them. A package's own provider stands on `Provider`."""

from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved

__all__ = ["Provider", "ReferenceUnresolved"]
