"""The REST service's own log. Every message in it is masked, tracebacks included."""

import logging
import traceback

from headrace.errors import HeadraceError
from headrace.masking import MaskingFilter

_masking = MaskingFilter(())


def log_to_stderr(level: str) -> None:
    """Send the log to stderr, from this level up."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_masking)
    logging.basicConfig(level=level, handlers=[handler])
    # The HTTP client that talks to Dagster logs a line for every request, and the control loops poll.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def describe(error: Exception) -> str:
    """Return a masked text for the log: one line for an error of ours, a traceback for any other."""
    if isinstance(error, HeadraceError):
        notes = getattr(error, "__notes__", [])
        return _masking.mask(" ".join([f"{error.code}: {error.detail}", *notes]))
    return _masking.mask("".join(traceback.format_exception(error)))
