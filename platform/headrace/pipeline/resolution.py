"""Resolving the references of a stored configuration, in a run's worker only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.connectors.contract.secrets import Path, leaves, with_values
from headrace.errors import FieldError
from headrace.masking import MASK
from headrace.pipeline.document import PipelineConfig, SourceKeys, parse_config
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.references.resolver import Resolver
from headrace.pipeline.secrets import stored_secrets
from headrace.settings import Settings


def resolve_config(raw: Mapping[str, Any], settings: Settings) -> PipelineConfig:
    """Resolve the references of a stored configuration and create its connectors.

    Raises InvalidConfig, and ReferenceUnresolved, which names the reference.
    """
    resolver, secret = Resolver(settings), stored_secrets(raw)
    values = {
        path: resolver.resolve(text, is_secret=path in secret)
        for path, text in leaves(raw)
        if _may_refer(path)
    }
    try:
        config = parse_config(with_values(raw, values))
    except InvalidConfig as error:
        raise InvalidConfig([_without(resolver.values, fault) for fault in error.errors]) from None
    return replace(config, resolved=resolver.values)


def _may_refer(path: Path) -> bool:
    """Whether a reference is allowed at a path. It is not allowed in names and in code."""
    if path[0] == "source":
        return len(path) > 1 and path[1] not in SourceKeys.model_fields
    return path[:2] == ("destination", "config") or path[2:] == ("columns", "hash", "salt")


def _without(values: tuple[str, ...], fault: FieldError) -> FieldError:
    detail = fault.detail
    for value in values:
        detail = detail.replace(value, MASK)
    return replace(fault, detail=detail)
