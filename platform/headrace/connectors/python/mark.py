"""The mark on functions of installed packages that pipelines may name."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Iterable[Any]])
_MARK = "__headrace_stream__"


def stream(function: F) -> F:
    """Mark a function of an installed package as one that pipelines may name."""
    setattr(function, _MARK, True)
    return function


def is_marked(function: Callable[..., Any]) -> bool:
    """Whether the function was marked with `stream`."""
    return getattr(function, _MARK, False) is True
