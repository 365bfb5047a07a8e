"""How Dagster records the error of a failed run.

A stack of Dagster's own frames would bury the coded error that a failed run starts with.
"""

from typing import Any

from dagster._core.execution import api
from dagster._core.execution.plan import objects
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo


def record_without_stack(*errors: type[BaseException]) -> None:
    """Make this process record these errors of runs by their text alone, without a stack."""

    def error_info(raised: Any, *options: Any) -> SerializableErrorInfo:
        kind, error, _ = raised
        if isinstance(error, errors):
            return SerializableErrorInfo(message=f"{error}\n", stack=[], cls_name=kind.__name__)
        return serializable_error_info_from_exc_info(raised, *options)

    for module in (api, objects):
        module.serializable_error_info_from_exc_info = error_info  # type: ignore[attr-defined]  # not exported
