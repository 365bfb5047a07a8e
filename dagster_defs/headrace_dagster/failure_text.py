"""What Dagster records of a failed run: a private part, see `internals`.

A stack of Dagster's own frames would bury the coded error that a failed run leads with.
"""

from typing import Any

from dagster._core.execution import api
from dagster._core.execution.plan import objects
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo


def tell_by_text_alone(*errors: type[BaseException]) -> None:
    """Have runs of this process record these errors, whose text says it all, without a stack of Dagster's."""

    def told(raised: Any, *options: Any) -> SerializableErrorInfo:
        kind, error, _ = raised
        if isinstance(error, errors):
            return SerializableErrorInfo(message=f"{error}\n", stack=[], cls_name=kind.__name__)
        return serializable_error_info_from_exc_info(raised, *options)

    for module in (api, objects):
        module.serializable_error_info_from_exc_info = told  # type: ignore[attr-defined]  # not exported there
