"""Python functions as a source; `stream` marks those of installed packages."""

from headrace.connectors.python.mark import stream

__all__ = ["stream"]
