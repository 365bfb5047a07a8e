"""How Dagster records the error of a failed run.

A stack of Dagster's own frames would bury the coded error that a failed run starts with.
"""

from typing import Any

from dagster._core.execution import api
from dagster._core.execution.plan import objects
from dagster._utils.error import serializable_error_info_from_exc_info


def record_without_stack(*errors: type[BaseException]) -> None:
    """Make this process record these errors of runs by their text alone, without a stack."""

    def error_info(raised: Any, *options: Any) -> Any:
        recorded = serializable_error_info_from_exc_info(raised, *options)
        kind, error, _ = raised
        if not isinstance(error, errors):
            return recorded
        return recorded._replace(
            message=f"{error}\n", stack=[], cls_name=kind.__name__, cause=None, context=None
        )

    replacement: Any = error_info
    api.serializable_error_info_from_exc_info = replacement  # type: ignore[attr-defined]  # not exported
    objects.serializable_error_info_from_exc_info = replacement  # type: ignore[attr-defined]  # not exported
