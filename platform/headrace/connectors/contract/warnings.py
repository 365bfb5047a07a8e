"""Warnings: what a run left out, changed or could not promise, counted in its receipt."""

import logging
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunWarning:
    """One thing that a reader of the data must know. Warnings of the same code and detail are added up."""

    code: str  # stable and dotted, as an error's code
    detail: str  # fit for a user's eyes; holds no secret and no value of the data
    count: int = 1  # rows, files or pages that it concerns


Warn = Callable[[RunWarning], None]


def log_warning(warning: RunWarning) -> None:
    """Write a warning to the connectors' logger: the default where no run collects warnings."""
    logging.getLogger("headrace.connector").warning("%s (%d)", warning.detail, warning.count)
