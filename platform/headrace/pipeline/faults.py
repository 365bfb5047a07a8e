"""The faults of a configuration, with their JSON pointers. They never quote a value: it may be a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headrace.connectors import Connector
from headrace.connectors.contract.secrets import Path
from headrace.errors import FieldError, Invalid, json_pointer

M = TypeVar("M", bound=BaseModel)
K = TypeVar("K", bound=Connector)


class InvalidConfig(Invalid):
    """The configuration is invalid. `errors` says where and why."""

    code = "pipeline.invalid_config"
    title = "Invalid pipeline configuration"

    def __init__(self, errors: list[FieldError]) -> None:
        count = "one fault" if len(errors) == 1 else f"{len(errors)} faults"
        first = f"{errors[0].pointer or '/'}: {errors[0].detail}"
        super().__init__(f"The configuration has {count}. {first}", errors=errors)


class Faults:
    """Collects the faults of one document."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def add(self, path: Path, code: str, detail: str) -> None:
        self.errors.append(FieldError(pointer=json_pointer(path), code=code, detail=detail))

    def check(self, model: type[M], raw: Any, path: Path = ()) -> M | None:
        """Return the model of `raw`. If it is invalid, note its faults and return None."""
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for fault in error.errors(include_input=False, include_url=False):
                self.add((*path, *_document_path(raw, fault)), f"config.{fault['type']}", _detail(fault))
            return None

    def find(self, registered: Callable[[str], type[K]], name: Any, path: Path) -> type[K] | None:
        """Return the connector's class. If there is none, note that and return None."""
        if not isinstance(name, str) or not name:
            return None  # noted by the model of the section
        try:
            return registered(name)
        except Invalid as error:
            self.add(path, error.code, error.detail)
            return None


def _document_path(raw: Any, fault: ErrorDetails) -> Path:
    """Return the path of a fault in the document. Pydantic's path also names union members that it tried."""
    path: list[str | int] = []
    *parents, last = fault["loc"] or (None,)
    for step in parents:
        if _has(raw, step):
            path.append(step)
            raw = raw[step]
    if last is not None and (_has(raw, last) or fault["type"] == "missing"):
        path.append(last)
    if fault["type"] == "union_tag_invalid":
        path.append(fault["ctx"]["discriminator"].strip("'"))
    return tuple(path)


def _has(raw: Any, step: str | int) -> bool:
    if isinstance(raw, Mapping):
        return step in raw
    return isinstance(raw, list) and isinstance(step, int) and step < len(raw)


def _detail(fault: ErrorDetails) -> str:
    """Return the text of a fault: pydantic's own, unless it quotes the value."""
    if fault["type"] == "union_tag_invalid":
        return f"The type is not one of {fault['ctx']['expected_tags']}."
    if fault["type"] == "extra_forbidden":
        return "There is no such key."
    return fault["msg"]
